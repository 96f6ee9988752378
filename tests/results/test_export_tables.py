"""The other tables: pairs, evaluators, who evaluators are; and what programs make of the files."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from evenhand.studies.models import AuditEvent, Study
from evenhand.studies.results.export import csv_lines, evaluator_lines, pair_lines, people_lines
from evenhand.studies.results.export.cells import protected, words
from evenhand.studies.results.export.summaries import EVALUATOR_COLUMNS
from evenhand.studies.results.report import study_report
from tests.helpers.bundles import SECRETS, rated_study
from tests.helpers.factories import make_admin, make_member, make_ready_study
from tests.helpers.ratings import queries_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def read(lines: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(lines), newline="")))


@given(text=st.text())
def test_a_cell_is_read_as_it_was_written(text: str) -> None:
    line = f"{words(text)},behind\n"
    assert next(csv.reader(io.StringIO(line, newline="")))[:2] == [protected(text), "behind"]


def test_pairs_add_up_to_the_report() -> None:
    study = rated_study()
    rows = read(pair_lines(study))
    for population, simulated in (("real", "FALSE"), ("simulated", "TRUE")):
        for each in study_report(study, population=population)["comparisons"]:
            mine = [r for r in rows if r["comparison"] == str(each["number"]) and r["simulated"] == simulated]
            assert sum(int(row["n"]) for row in mine) == each["n"] > 0
            counts = [sum(int(row[name]) for row in mine) for name in list(mine[0])[13:18]]
            assert counts == list(each["counts"].values())
            total = sum(float(row["mean_preference"]) * int(row["n"]) for row in mine if row["n"] != "0")
            assert total / each["n"] == pytest.approx(each["mean_preference"]["estimate"])
    assert len({row["pair"] for row in rows}) == 24  # those without answers, too
    assert {row["mean_preference"] for row in rows if row["n"] == "0"} == {""}


def test_evaluators_have_a_row_each_and_no_identity() -> None:
    study = rated_study()
    text = "".join(evaluator_lines(study))
    rows = read([text])
    assert len(rows) == study.evaluators.count() == 5
    assert [row["excluded"] for row in rows] == ["FALSE", "TRUE", "TRUE", "TRUE", "FALSE"]
    assert [row["exclusion_reason"] for row in rows] == ["", "pressed one key", "withdrawn", "withdrawn", ""]
    assert [row["simulated"] for row in rows][-1] == "TRUE"
    assert {row["dealt"] for row in rows} == {"6"}
    people = {each["evaluator"]: each for each in study_report(study, population="all")["people"]}
    assert {row["evaluator"]: int(row["n"]) for row in rows if row["evaluator"] in people} == {
        name: each["n"] for name, each in people.items()
    }
    assert [name for name, secret in SECRETS.items() if secret in text] == []


def test_what_people_did_who_withdrew_is_not_told_as_nothing() -> None:
    """No result counts their answers: the cell is empty, where 0 would say that they had no check."""
    study = rated_study()
    rows = read(evaluator_lines(study))
    told = {row["evaluator"]: row["n"] for row in rows}
    counts = ("checks", "checks_passed", "repeats", "repeats_same")
    gone = [row for row in rows if "withdrawn" in row["exclusion_reason"]]
    stored = {row["evaluator"] for row in read(csv_lines(study)) if row["trial_kind"] == "main"}
    assert len(gone) == 2
    assert stored & {row["evaluator"] for row in gone}
    assert {row[name] for row in gone for name in counts} == {""}
    assert {told[row["evaluator"]] for row in gone} == {"0"}
    assert all(row[name].isdigit() for row in rows if row not in gone for name in counts)
    columns = {column.name: column for column in EVALUATOR_COLUMNS}
    assert columns["n"].description.endswith("0 for people who withdrew.")
    assert all(columns[name].values.endswith("empty for people who withdrew") for name in counts)


def test_who_evaluators_are_is_for_the_owner_and_recorded(client: Client) -> None:
    study = rated_study()
    address = reverse("console:people_csv", args=[study.pk])
    client.force_login(make_member(study, "collaborator"))
    assert client.get(address).status_code == 403
    assert not AuditEvent.objects.filter(action="people downloaded").exists()
    client.force_login(make_admin("mallory"))
    assert client.get(address).status_code == 404
    client.force_login(study.owner)
    response = client.get(address)
    rows = read([b"".join(response.streaming_content).decode()])  # type: ignore[attr-defined]
    assert rows[0]["PROLIFIC_PID"] == SECRETS["a panel's id of a person"]
    assert rows[0]["SESSION_ID"] == SECRETS["a panel's id of a visit"]
    assert rows[1]["note"] == SECRETS["a note"]
    assert [row["state"] for row in rows[2:4]] == ["withdrawn", "deleted"]
    assert [row["state"] == "finished" for row in rows] == [row["finished_at"] != "" for row in rows]
    assert AuditEvent.objects.get(action="people downloaded").actor == study.owner


def test_the_files_join_by_pseudonym() -> None:
    study = rated_study()
    known = {row["evaluator"]: row["evaluator_public_id"] for row in read(people_lines(study))}
    for rows in (read(csv_lines(study)), read(evaluator_lines(study))):
        assert all(known[row["evaluator"]] == row["evaluator_public_id"] for row in rows)


@pytest.mark.parametrize("name", ["preferences", "preferences-excel", "pairs", "evaluators"])
def test_a_study_without_ratings_gives_names_and_no_answers(client: Client, name: str) -> None:
    study = make_ready_study(owner=make_admin("ada"))
    client.force_login(study.owner)
    address = reverse(f"console:{name}_csv" if name != "preferences" else "console:preferences", args=[study.pk])
    response = client.get(address)
    content = b"".join(response.streaming_content)  # type: ignore[attr-defined]
    assert content.startswith(b"\xef\xbb\xbfstudy," if name == "preferences-excel" else b"study,")
    rows = read([content.decode("utf-8-sig")])
    assert [row for row in rows if row.get("n", "0") != "0"] == []
    assert f'filename="shapes-{name}.csv"' in response["Content-Disposition"]


def test_excel_s_file_is_the_other_with_a_mark(client: Client) -> None:
    study = rated_study()
    written = io.StringIO()
    call_command("export_preferences", "Shapes", excel=True, stdout=written)
    assert written.getvalue() == "\N{ZERO WIDTH NO-BREAK SPACE}" + "".join(csv_lines(study))
    written = io.StringIO()
    call_command("export_preferences", "Shapes", table="pairs", stdout=written)
    assert written.getvalue() == "".join(pair_lines(study))


def test_booleans_are_what_r_and_pandas_read() -> None:
    rows = read(csv_lines(rated_study()))
    booleans = ("counted", "superseded", "simulated", "excluded", "both_bad", "fast")
    assert {row[name] for row in rows for name in booleans} == {"TRUE", "FALSE"}
    assert {row["fast"] == "TRUE" for row in rows if "fast" in row["flags"]} == {True}


@pytest.mark.parametrize("lines", [pair_lines, evaluator_lines, people_lines])
def test_queries_do_not_grow(lines: Any) -> None:
    study = rated_study()
    few = queries_of(lambda: list(lines(Study.objects.get(pk=study.pk))))
    other = rated_study(name="Others", quota=12)
    assert queries_of(lambda: list(lines(Study.objects.get(pk=other.pk)))) == few
