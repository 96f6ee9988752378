"""Uploaded pictures in the console: upload, preview, take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from evenhand.studies.drafts import configuration_of
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Pair, Study
from evenhand.studies.uploaded import holding
from tests.helpers.factories import make_admin, make_prompt_set
from tests.helpers.pictures import pairs_table, picture, two_arms, written, zipped

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def var(settings: Any, tmp_path: Path) -> Path:
    settings.VAR = tmp_path / "var"
    return settings.VAR / "uploads"


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(make_admin("ada"))
    return client


def upload(console: Client, *files: tuple[str, bytes], **values: Any) -> Any:
    """The answer to an upload."""
    given = [SimpleUploadedFile(name, data) for name, data in files]
    return console.post(reverse("console:pictures"), {"pictures": given} | values)


def fruit(count: int = 4, **changes: bytes) -> bytes:
    return zipped(two_arms(count) | {"pairs.csv": pairs_table(count)} | changes)


def test_an_archive_becomes_a_study(console: Client, var: Path) -> None:
    answer = upload(console, ("fruit.zip", fruit()))
    shown = console.get(answer["Location"], {"quota": 2, "trials_per_evaluator": 3})
    assert shown.status_code == 200
    assert shown.context["plan"].pairs_by_arm == {"second": 4}
    assert not Study.objects.exists()
    example = shown.context["examples"][0]["pictures"][0]
    token = shown.context["held"].token
    served = console.get(reverse("console:pictures_example", args=[token, example[2]]))
    assert served.content.startswith(b"\x89PNG")
    take = f"{reverse('console:pictures_take', args=[token])}?{shown.context['query']}"
    taken = console.post(take, {"name": "Fruit", "name_0": "Apple", "licence_0": "CC0", "name_1": "Berry"}, follow=True)
    study = Study.objects.get()
    assert taken.redirect_chain[-1][0] == reverse("console:study", args=[study.pk])
    configuration = configuration_of(study)
    assert [arm.label() for arm in configuration.arms] == ["Apple", "Berry"]
    assert (configuration.quota, configuration.trials_per_evaluator) == (2, 3)
    assert list(var.iterdir()) == []
    assert console.post(take, {"name": "Twice"}, follow=True).redirect_chain[-1][0] == reverse("console:pictures")


def test_archives_of_arms_are_matched_to_a_prompt_set(console: Client) -> None:
    prompt_set = make_prompt_set()
    files = two_arms(4)
    archives = [
        (f"{arm}.zip", zipped({name.split("/")[1]: data for name, data in files.items() if name.startswith(arm)}))
        for arm in ("apple", "berry")
    ]
    address = upload(console, *archives)["Location"]
    assert "choose the prompt set" in console.get(address).context["error"]
    chosen = str(prompt_set.pk)
    shown = console.get(address, {"prompt_set": chosen, "first_number": "0", "baseline": "berry"})
    assert shown.context["plan"].pairs_by_arm == {"apple": 4}
    refused = console.get(address, {"prompt_set": chosen, "baseline": "cherry"})
    assert "none of the arms" in refused.context["error"]


def test_what_blocks_is_shown_and_not_taken(console: Client) -> None:
    files = two_arms(4) | {"pairs.csv": pairs_table(4), "berry/0001.png": picture(5, (20, 20))}
    address = upload(console, ("fruit.zip", zipped(files)))["Location"]
    shown = console.get(address)
    assert "pair of unequal size" in shown.content.decode()
    assert not shown.context["plan"].takable
    take = reverse("console:pictures_take", args=[shown.context["held"].token])
    assert console.post(take, {"name": "Fruit"}).status_code == 400
    assert not Study.objects.exists()
    assert console.post(f"{take}?unequal=leave+out", {"name": "Fruit"}).status_code == 302
    study = Study.objects.get()
    assert Pair.objects.filter(comparison__study=study).count() == 3
    open_study(study)  # thirty pairs a person are more than there are


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.zip", b"no archive", "is no archive that can be read"),
        ("a.rar", b"Rar!", "is no folder, no archive"),
        ("a.zip", zipped({"../a.png": picture(1)}), "leads out of the folder"),
        ("a.zip", zipped({"notes.txt": b"x"}), "there is no picture"),
    ],
)
def test_a_wrong_upload_is_refused_with_a_sentence(
    console: Client, var: Path, name: str, data: bytes, message: str
) -> None:
    answer = upload(console, (name, data))
    assert answer.status_code == 400
    errors = str(answer.context["form"].errors)
    assert message in errors
    assert str(var) not in errors
    assert list(var.iterdir()) == []


def test_nothing_chosen_too_many_and_too_much_are_refused(console: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert upload(console).status_code == 400
    monkeypatch.setattr(holding, "PICTURE_LIMIT", 7)
    assert "8 pictures are too many here" in str(upload(console, ("a.zip", fruit())).context["form"].errors)
    monkeypatch.setattr(holding, "SIZE_LIMIT", 10)
    assert upload(console, ("a.zip", fruit())).status_code == 400


def test_a_body_that_is_too_large_is_refused_unread(console: Client) -> None:
    answer = console.post(reverse("console:pictures"), CONTENT_LENGTH=str(holding.SIZE_LIMIT * 2))
    assert answer.status_code == 413


def test_folders_of_the_server_need_permission(console: Client, settings: Any, tmp_path: Path) -> None:
    folder = written(tmp_path / "roots" / "fruit", two_arms(4) | {"pairs.csv": pairs_table(4)})
    assert upload(console, folder=str(folder)).status_code == 400
    settings.IMPORT_ROOTS = [str(tmp_path / "roots")]
    assert upload(console, folder="/etc").status_code == 400
    shown = console.get(upload(console, folder=str(folder))["Location"])
    assert len(shown.context["plan"].pairs) == 4
    console.post(reverse("console:pictures_discard", args=[shown.context["held"].token]))
    assert (folder / "pairs.csv").exists()


def test_uploads_belong_to_one_admin(console: Client) -> None:
    address = upload(console, ("fruit.zip", fruit()))["Location"]
    other = Client()
    other.force_login(make_admin("bella"))
    for one in (address, f"{address}0.png"):
        assert other.get(one).status_code in (302, 404)
    assert other.post(f"{address}take/", {"name": "x"}).status_code == 302
    assert not Study.objects.exists()
    assert Client().get(address).status_code == 302
    assert console.get(address).status_code == 200


def test_the_preview_asks_few_questions_of_the_database(console: Client, django_assert_max_num_queries: Any) -> None:
    address = upload(console, ("fruit.zip", fruit(20)))["Location"]
    with django_assert_max_num_queries(6):
        console.get(address)
