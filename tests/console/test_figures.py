"""The figures that a study admin downloads, and those that the page shows."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Study
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.ratings import always, invite, rate_booklet

pytestmark = pytest.mark.django_db


@pytest.fixture
def study(client: Client) -> Study:
    study = make_ready_study(owner=make_admin("ada"))
    open_study(study)
    client.force_login(study.owner)
    return study


@pytest.mark.parametrize("name", ["histogram", "diverging"])
@pytest.mark.parametrize(
    ("kind", "beginning", "content_type"),
    [("svg", b"<?xml", "image/svg+xml"), ("png", b"\x89PNG", "image/png"), ("pdf", b"%PDF", "application/pdf")],
)
def test_a_figure_is_served_in_three_kinds(
    client: Client, study: Study, name: str, kind: str, beginning: bytes, content_type: str
) -> None:
    rate_booklet(invite(study, "Grace"), always(1))
    response = client.get(reverse(f"console:{name}", args=[study.pk, kind]))
    assert response["Content-Type"] == content_type
    assert response.content.startswith(beginning)
    dark = client.get(reverse(f"console:{name}", args=[study.pk, kind]), {"theme": "dark", "columns": "1"})
    assert dark.content != response.content


def test_another_kind_or_nothing_to_draw_is_not_found(client: Client, study: Study) -> None:
    assert client.get(reverse("console:histogram", args=[study.pk, "gif"])).status_code == 404
    assert client.get(reverse("console:diverging", args=[study.pk, "svg"])).status_code == 404  # no ratings


def test_the_page_offers_dark_and_narrow_figures_and_every_file(client: Client, study: Study) -> None:
    rate_booklet(invite(study, "Grace"), always(1))
    page = client.get(reverse("console:results", args=[study.pk])).content.decode()
    source = f"/console/studies/{study.pk}/histogram.svg?ratings=real"
    assert f'srcset="{source}&amp;theme=dark"' in page
    assert f'srcset="{source}&amp;theme=dark&amp;columns=1"' in page
    assert all(f'download="histogram.{kind}"' in page for kind in ("svg", "png", "pdf"))
