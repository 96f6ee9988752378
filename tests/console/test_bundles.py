"""The bundle's download: whose it is, that it is whole, and that the page shows its root."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.http import StreamingHttpResponse
from django.test import Client
from django.urls import reverse

from evenhand.studies.bundle import records
from evenhand.studies.bundle.replicating import replicate
from evenhand.studies.bundle.verify_bundle import verify_path
from evenhand.studies.bundle.writing import export
from evenhand.studies.console import bundles
from evenhand.studies.criteria import PRESETS
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import AuditEvent, Study
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.ratings import always, invite, queries_of, rate_booklet
from tests.helpers.stored import image_path

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    return make_admin("ada")


@pytest.fixture
def console(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


@pytest.fixture
def study(ada: User) -> Study:
    return make_ready_study(owner=ada)


def address(study: Study) -> str:
    return reverse("console:bundle", args=[study.pk])


@pytest.mark.parametrize(("form", "name"), [({}, "shapes-bundle"), ({"anonymous": "1"}, "shapes-bundle-anonymous")])
def test_the_download_is_the_bundle_and_the_page_shows_its_root(
    console: Client, study: Study, form: dict[str, str], name: str, tmp_path: Path
) -> None:
    response = console.post(address(study), form)
    assert isinstance(response, StreamingHttpResponse)
    assert response["Content-Disposition"] == f'attachment; filename="{name}.zip"'
    path = tmp_path / "x.zip"
    path.write_bytes(b"".join(response.streaming_content))
    result = verify_path(path)
    assert result.problems == []
    assert result.content is not None
    assert result.content.anonymous == bool(form)
    page = console.get(reverse("console:study", args=[study.pk])).content.decode()
    assert f"<code>{result.root}</code>" in page


def test_it_belongs_to_the_owner_and_changes_nothing_by_get(client: Client, study: Study) -> None:
    assert client.post(address(study))["Location"].startswith("/console/login/")
    client.force_login(make_admin("mallory"))
    assert client.post(address(study)).status_code == 404
    client.force_login(study.owner)
    assert client.get(address(study)).status_code == 405
    assert not AuditEvent.objects.filter(action="bundle written").exists()


def test_what_cannot_be_written_is_told_on_the_page(console: Client, study: Study) -> None:
    sha256 = records.images_of(study)[0].sha256
    image_path(sha256).unlink()
    page = console.post(address(study), follow=True).content.decode()
    assert f"the picture {sha256} is missing from the store" in page
    assert not AuditEvent.objects.filter(action="bundle written").exists()


def test_a_bundle_that_is_too_large_names_the_command(
    console: Client, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "LARGEST", 1000)
    page = console.post(address(study), follow=True).content.decode()
    assert f"manage.py export_bundle {study.pk} --to FILE.zip" in page


def test_a_download_that_is_given_up_leaves_no_files(
    console: Client, study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    response = console.post(address(study))
    assert isinstance(response, StreamingHttpResponse)
    assert list(tmp_path.iterdir())
    stream = iter(response.streaming_content)
    next(stream)
    response.close()
    del stream, response
    assert list(tmp_path.iterdir()) == []


def test_the_queries_do_not_grow_with_the_study(console: Client, ada: User) -> None:
    small = make_ready_study(owner=ada, name="Small", per_stratum=2)
    large = make_ready_study(owner=ada, name="Large", per_stratum=8)

    def download(study: Study) -> int:
        return queries_of(lambda: console.post(address(study)).getvalue())

    assert download(large) == download(small) < 80


def test_the_page_of_a_replication_says_of_what_and_shows_both(console: Client, ada: User, tmp_path: Path) -> None:
    original = make_ready_study(owner=ada, name="Original")
    open_study(original)
    rate_booklet(invite(original, "grace"), always(2))
    root = export(original, tmp_path / "x").root
    new = replicate(tmp_path / "x", name="Again", owner=ada)
    page = console.get(reverse("console:study", args=[new.pk])).content.decode()
    assert "This study replicates <strong>“Original”</strong>" in page
    assert root[:12] in page
    open_study(new)
    rate_booklet(invite(new, "heidi"), always(-2))
    page = " ".join(console.get(reverse("console:results", args=[new.pk])).content.decode().split())
    assert "Beside “Original”" in page
    assert "The original was not closed yet when its bundle was written." in page
    nets = re.findall(r'<th scope="row">(original|replication|both pooled)</th>.*?<td class="number"> ([+−\d]+)', page)
    assert nets == [("original", "+100"), ("replication", "−100"), ("both pooled", "0")] * 2
    assert row_heads(page) == ["a = 5 against CFG w = 2", "a = 10 against CFG w = 2"]
    other = console.get(reverse("console:study", args=[original.pk])).content.decode()
    assert "replicates" not in other
    assert "Beside" not in other


def row_heads(page: str) -> list[str]:
    """What names the rows of the table of a replication."""
    return [" ".join(head.split()) for head in re.findall(r'<th scope="rowgroup"[^>]*>(.*?)</th>', page, re.DOTALL)]


@pytest.mark.parametrize("address", ["console:results", "console:printed"])
def test_a_replication_by_several_criteria_names_the_criterion_of_each_row(
    console: Client, ada: User, tmp_path: Path, address: str
) -> None:
    original = make_ready_study(owner=ada, name="Original", criteria=(PRESETS["match"], PRESETS["appeal"]))
    open_study(original)
    rate_booklet(invite(original, "grace"), always(2))
    export(original, tmp_path / "x")
    new = replicate(tmp_path / "x", name="Again", owner=ada)
    open_study(new)
    page = console.get(reverse(address, args=[new.pk])).content.decode()
    pairs = ("a = 5 against CFG w = 2", "a = 10 against CFG w = 2")
    assert row_heads(page) == [f"{name}: {pair}" for name in ("match", "appeal") for pair in pairs]
