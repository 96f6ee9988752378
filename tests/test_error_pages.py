"""Pages for what goes wrong: in the product's looks, in the reader's language, with a way back."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path, reverse

from evenhand.config import urls as usual
from tests.helpers.factories import make_admin, make_ready_study

pytestmark = pytest.mark.django_db


def forbidden(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied("only ada may do this <now>")


def strange(request: HttpRequest) -> HttpResponse:
    raise SuspiciousOperation("strange")


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("broken")


handler400, handler403, handler404, handler500 = usual.handler400, usual.handler403, usual.handler404, usual.handler500
urlpatterns = [*usual.urlpatterns, path("forbidden", forbidden), path("strange", strange), path("broken", broken)]


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/console/studies/999/", 404, "There is nothing at this address"),
        ("/nowhere", 404, "open the whole link from your invitation"),
        ("/forbidden", 403, "only ada may do this &lt;now&gt;"),
        ("/strange", 400, "This request could not be read"),
        ("/broken", 500, "Something went wrong here"),
    ],
)
@override_settings(ROOT_URLCONF="tests.test_error_pages", DEBUG=False)
def test_every_error_has_a_page(address: str, status: int, words: str) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(make_admin("ada"))
    answer = client.get(address)
    assert answer.status_code == status
    page = " ".join(answer.content.decode().split())
    assert words in page
    assert "common/base.css" in page
    assert (reverse("console:studies") in page) == (
        status != 500
    )  # nothing is asked of a database that may be the fault


@override_settings(DEBUG=False)
def test_evaluators_read_them_in_their_language_and_find_no_way_into_the_console() -> None:
    answer = Client(headers={"accept-language": "de"}).get("/j/one/two/three")
    page = answer.content.decode()
    assert 'lang="de"' in page
    assert "Unter dieser Adresse ist nichts" in page
    assert "/console/" not in page


def test_a_form_without_its_token_is_told_to_try_again() -> None:
    study = make_ready_study(owner=make_admin("ada"))
    client = Client(enforce_csrf_checks=True)
    client.force_login(study.owner)
    answer = client.post(reverse("console:invite", args=[study.pk]), {"count": 1})
    assert answer.status_code == 403
    assert "Nothing was stored" in answer.content.decode()
