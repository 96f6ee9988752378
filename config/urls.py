"""Map addresses: evaluators under ``/e/`` and ``/j/``, study admins under ``/console/``, admin, health."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.generic import RedirectView

from evenhand.studies.rating.urls import enrolment


def healthz(request: HttpRequest) -> HttpResponse:
    """Answer without a login and without the database."""
    return HttpResponse("ok\n", content_type="text/plain")


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="console:studies")),
    path("healthz", healthz, name="healthz"),
    path("e/", include("evenhand.studies.rating.urls")),
    path("j/", include(enrolment)),
    path("console/", include("evenhand.studies.console.urls")),
    path("admin/", admin.site.urls),
]

handler400 = "evenhand.studies.error_pages.bad_request"
handler403 = "evenhand.studies.error_pages.not_allowed"
handler404 = "evenhand.studies.error_pages.not_found"
handler500 = "evenhand.studies.error_pages.fault"
