"""Map addresses: evaluators under ``/e/`` and ``/j/``, study admins under ``/console/``, programs under ``/api/``."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.generic import RedirectView

from evenhand.studies.rating.urls import enrolment


def healthz(request: HttpRequest) -> HttpResponse:
    """Answer without a login and without the database: this process lives."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 where requests can be served: the database answers and its tables are this version's; else 503."""
    try:
        executor = MigrationExecutor(connection)
        missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    except Error:
        return HttpResponse("the database does not answer\n", status=503, content_type="text/plain")
    if missing:
        return HttpResponse(f"{missing} migrations are to be applied\n", status=503, content_type="text/plain")
    return HttpResponse("ok\n", content_type="text/plain")


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="console:studies")),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("e/", include("evenhand.studies.rating.urls")),
    path("j/", include(enrolment)),
    path("console/", include("evenhand.studies.console.urls")),
    path("api/", include(("evenhand.studies.api.views", "api"))),
    path("admin/", admin.site.urls),
]

if settings.METRICS:
    from evenhand.config.prometheus import metrics

    urlpatterns.append(path("metrics", metrics, name="metrics"))

handler400 = "evenhand.studies.error_pages.bad_request"
handler403 = "evenhand.studies.error_pages.not_allowed"
handler404 = "evenhand.studies.error_pages.not_found"
handler500 = "evenhand.studies.error_pages.fault"
