"""Every answer says what a browser may load, and which of the machine's devices no page gets."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from tests.helpers.factories import make_admin, make_ready_study

pytestmark = pytest.mark.django_db


def directives(header: str) -> dict[str, str]:
    return dict(each.strip().partition(" ")[::2] for each in header.split(";") if each.strip())


@pytest.mark.parametrize("address", ["/console/", "/console/login/", "/healthz", "/there/is/nothing/", "/e/none/"])
def test_pages_load_from_here_alone(client: Client, address: str) -> None:
    response = client.get(address)
    policy = directives(response["Content-Security-Policy"])
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
    assert not {"script-src", "style-src"} & set(policy)  # as default-src: nothing inline, nothing from elsewhere
    assert "unsafe" not in response["Content-Security-Policy"]
    assert "camera=()" in response["Permissions-Policy"]


def test_a_figure_by_itself_has_its_styles_and_nothing_else(client: Client) -> None:
    study = make_ready_study(owner=make_admin("ada"))
    client.force_login(study.owner)
    response = client.get(reverse("console:power_figure", args=["svg"]), {"comparisons": 1})
    if response.status_code == 404:
        response = client.get(reverse("console:frechet", args=[study.pk]))
    assert response["Content-Type"] == "image/svg+xml"
    assert directives(response["Content-Security-Policy"]) == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
    }
