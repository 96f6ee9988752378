"""The API's answers: what studies, pairs, ratings, report and export hold, by pages, and errors in words."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from evenhand.studies.models import Rating, Study
from evenhand.studies.results.export import COLUMNS, csv_lines
from evenhand.studies.results.report import counting_ratings, study_report
from evenhand.studies.tokens import make_token
from tests.helpers.bundles import SECRETS, rated_study
from tests.helpers.factories import make_admin, make_draft, make_member
from tests.helpers.servers import gunicorn

pytestmark = [pytest.mark.django_db, pytest.mark.database]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def study() -> Study:
    return rated_study()


@pytest.fixture
def program(study: Study) -> Client:
    """A viewer's program."""
    _, text = make_token(make_member(study, "viewer"), "notebook")
    return Client(headers={"Authorization": f"Bearer {text}"})


def paged(program: Client, address: str) -> Iterator[dict[str, Any]]:
    following: str | None = address
    while following:
        response = program.get(following.removeprefix("http://testserver"))
        assert response.status_code == 200, response.content
        page = response.json()
        yield from page["items"]
        following = page["next"]


def test_the_list_names_the_studies_of_a_role_by_pages(study: Study) -> None:
    owner = study.owner
    make_draft(owner=owner, name="Draft")
    theirs = make_draft(owner=make_admin("mallory"), name="Theirs")
    make_draft(owner=owner, name="Newest")
    _, text = make_token(owner, "notebook")
    program = Client(headers={"Authorization": f"Bearer {text}"})
    lines = list(paged(program, "/api/studies?limit=2"))
    assert [(line["name"], line["state"], line["role"]) for line in lines] == [
        ("Newest", "draft", "owner"), ("Draft", "draft", "owner"), ("Shapes", "closed", "owner"),
    ]  # fmt: skip
    assert program.get(f"/api/studies/{theirs.pk}").status_code == 404


def test_one_study_bears_its_plan(program: Client, study: Study) -> None:
    answer = program.get(f"/api/studies/{study.pk}").json()
    assert study.current_version is not None
    assert answer["configuration"] == json.loads(study.current_version.configuration)
    assert answer["version_hash"] == answer["versions"][-1]["sha256"] == study.current_version.sha256
    assert [(each["number"], each["pairs"]) for each in answer["comparisons"]] == [(1, 12), (2, 12)]


def test_the_pairs_are_those_of_the_study(program: Client, study: Study) -> None:
    lines = list(paged(program, f"/api/studies/{study.pk}/pairs?limit=7"))
    expected = {pair.pk: pair for comparison in study.comparisons.all() for pair in comparison.pairs.all()}
    assert [line["pair"] for line in lines] == sorted(expected)
    for line in lines:
        pair = expected[line["pair"]]
        assert line["comparison"] == pair.comparison.position + 1
        assert (line["prompt"], line["stratum"]) == (pair.prompt.text, pair.stratum)
        assert line["candidate_image_sha256"] == pair.candidate_image.sha256


def as_cell(value: object) -> str:
    return "" if value is None else str(value).upper() if isinstance(value, bool) else str(value)


def test_ratings_have_the_columns_of_the_csv(program: Client, study: Study) -> None:
    lines = list(paged(program, f"/api/studies/{study.pk}/ratings?limit=5"))
    rows = list(csv.DictReader(io.StringIO("".join(csv_lines(study)), newline="")))
    assert len(rows) == len(lines) > 20
    assert [list(line) for line in lines] == [[column.name for column in COLUMNS]] * len(rows)
    assert [{name: as_cell(value) for name, value in line.items()} for line in lines] == rows
    assert {type(line["choice"]) for line in lines} == {int}
    assert {type(line["simulated"]) for line in lines} == {bool}


def test_text_bears_no_apostrophe_of_the_csv(program: Client, study: Study) -> None:
    texts = ("=1+1", "'=1+1", "'tis", 'two\nlines, "quoted"\r\n')
    changed = list(Rating.objects.filter(evaluator__study=study, deleted_at=None).order_by("pk")[: len(texts)])
    for rating, text in zip(changed, texts, strict=True):
        Rating.objects.filter(pk=rating.pk).update(remark=text)
    lines = list(paged(program, f"/api/studies/{study.pk}/ratings?limit=3"))
    assert tuple(line["remark"] for line in lines[: len(texts)]) == texts


def test_the_report_and_the_export_are_those_of_the_console(program: Client, study: Study) -> None:
    for query, population in (("", None), ("?ratings=simulated", "simulated"), ("?ratings=all", "all")):
        report = program.get(f"/api/studies/{study.pk}/report{query}").json()
        expected = json.loads(json.dumps(study_report(study, population=population)))
        computed = "computed"
        report["provenance"]["dates"].pop(computed)
        expected["provenance"]["dates"].pop(computed)
        assert report == expected
    exported = program.get(f"/api/studies/{study.pk}/export")
    assert exported.streaming
    assert exported.getvalue().decode() == "".join(csv_lines(study))


def test_nothing_tells_who_people_are(program: Client, study: Study) -> None:
    addresses = ["", "/pairs?limit=1000", "/ratings?limit=1000", "/report?ratings=all", "/export"]
    for address in addresses:
        text = program.get(f"/api/studies/{study.pk}{address}").getvalue().decode()
        assert not [what for what, secret in SECRETS.items() if secret in text], address


def test_exports_and_the_first_reading_of_a_day_are_logged(program: Client, study: Study) -> None:
    list(paged(program, f"/api/studies/{study.pk}/ratings?limit=5"))
    list(paged(program, f"/api/studies/{study.pk}/ratings?limit=1000"))
    program.get(f"/api/studies/{study.pk}/export").getvalue()
    console = Client()
    console.force_login(study.owner)
    page = console.get(f"/console/studies/{study.pk}/log/?kind=files").content.decode()
    assert page.count("Read the ratings by the API token “notebook”, for the first time that day") == 1
    assert page.count("Downloaded preferences.csv by the API token “notebook”") == 1


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/api/studies/{pk}/ratings?limit=1001", 422, "limit: Input should be less than or equal to 1000"),
        ("/api/studies/{pk}/pairs?after=-1", 422, "after: Input should be greater than or equal to 0"),
        ("/api/studies/{pk}/report?ratings=mine", 422, "ratings: Input should be 'real', 'simulated' or 'all'"),
        ("/api/studies/99999999999999999999", 422, "number: Input should be less than"),
        ("/api/studies/shapes", 422, "number: Input should be a valid integer"),
        ("/api/studies/999999", 404, "no such study, or you have no role in it"),
        ("/api/nothing", 404, "there is nothing at /api/nothing"),
        ("/api/studies/", 404, "there is nothing at /api/studies/"),
    ],
)
def test_errors_are_json_in_words(program: Client, study: Study, address: str, status: int, words: str) -> None:
    response = program.get(address.format(pk=study.pk))
    assert response.status_code == status
    assert response["Content-Type"] == "application/json"
    assert words in response.json()["error"]


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "send a token in the header"),
        ({"Authorization": "Basic YWRhOmE="}, "send a token in the header"),
        ({"Authorization": "Bearer "}, "this token opens nothing"),
        ({"Authorization": "Bearer evenhand_guess"}, "this token opens nothing"),
    ],
)
def test_without_a_token_in_force_nothing_opens(study: Study, headers: dict[str, str], words: str) -> None:
    response = Client(headers=headers).get(f"/api/studies/{study.pk}/export")
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert words in response.json()["error"]


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "head", "options"])
def test_nothing_but_get_is_taken(program: Client, study: Study, method: str) -> None:
    response = getattr(program, method)(f"/api/studies/{study.pk}")
    assert (response.status_code, response["Allow"]) == (405, "GET")


def test_answers_are_kept_by_nobody(program: Client, study: Study) -> None:
    for part in ("", "/pairs", "/ratings", "/report", "/export"):
        assert program.get(f"/api/studies/{study.pk}{part}")["Cache-Control"] == "private, no-store"


def test_lists_take_a_fixed_number_of_queries(
    program: Client, study: Study, django_assert_max_num_queries: Any
) -> None:
    program.get("/api/studies")  # notes the day of the token's use
    for address, most in (("studies", 2), (f"studies/{study.pk}", 6), (f"studies/{study.pk}/pairs", 3)):
        with django_assert_max_num_queries(most):
            program.get(f"/api/{address}")
    program.get(f"/api/studies/{study.pk}/ratings")
    with django_assert_max_num_queries(12):
        program.get(f"/api/studies/{study.pk}/ratings")


def test_the_document_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("openapi")
    assert capsys.readouterr().out == (ROOT / "docs" / "openapi.json").read_text(encoding="utf-8")


@pytest.mark.django_db(transaction=True)
def test_the_client_of_the_documentation_runs(tmp_path: Path) -> None:
    study = rated_study()
    _, text = make_token(study.owner, "notebook")
    [client] = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").split("```python\n")[1:]
    script = tmp_path / "client.py"
    script.write_text(client.partition("```")[0], encoding="utf-8")
    with gunicorn(tmp_path / "log", workers=1) as address:
        environment = os.environ | {"EVENHAND_API": f"{address}/api/", "EVENHAND_API_TOKEN": text}
        done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    counting = [rating.preference for rating in counting_ratings(study)]
    wins = sum(preference is not None and preference > 0 for preference in counting)
    assert f"Shapes (closed): {study_report(study)['finding']}" in done.stdout
    assert f"{wins} of {len(counting)} ratings prefer the candidate" in done.stdout
