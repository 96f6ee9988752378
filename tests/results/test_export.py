"""The CSV: every rating, the agreed columns, nothing that opens anything, nothing that a spreadsheet runs."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from evenhand.studies.access import token_for
from evenhand.studies.models import CheckPair, Exclusion, Prompt, Rating, Study, Trial
from evenhand.studies.results.export import COLUMNS, codebook, csv_lines, protected
from evenhand.studies.results.report import study_report
from tests.helpers.ratings import NOON, always, invite, queries_of, rate, rate_booklet

CONTRACT = [
    "study", "version_hash", "comparison", "baseline_arm", "candidate_arm", "prompt_index", "prompt",
    "stratum", "clip_score", "seed", "pair", "evaluator", "trial_kind", "position", "candidate_side",
    "repeat_of", "choice", "preference", "label", "elapsed_ms", "shown_at", "rated_at", "counted",
    "superseded", "simulated", "excluded", "exclusion_reason", "baseline_image_sha256",
    "candidate_image_sha256",
    "criterion", "both_bad", "reasons", "remark", "hidden_ms", "device_pixel_ratio", "viewport_width",
    "viewport_height", "picture_width", "picture_height", "picture_width_device", "picture_height_device",
    "zoomed", "flipped", "pointer", "flags", "evaluator_public_id", "fast",
]  # fmt: skip


def rows_of(study: Study) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(csv_lines(study)), newline="")))


def test_the_columns_are_the_contract_s_in_its_order(study: Study) -> None:
    assert next(csv_lines(study)) == ",".join(CONTRACT) + "\n"


def test_a_row_tells_the_whole_rating(study: Study) -> None:
    ada = invite(study, "ada")
    trial = ada.booklet.trials.select_related("pair__comparison", "left_image__prompt").get(position=3)
    pair = trial.pair
    assert pair is not None
    assert study.current_version is not None
    assert study.subset is not None
    Trial.objects.filter(pk=trial.pk).update(shown_at=NOON - timedelta(seconds=1.75))
    rating = rate(trial, 1, elapsed_ms=3210)
    (row,) = rows_of(study)
    assert row == {
        "study": "Shapes",
        "version_hash": study.current_version.sha256,
        "comparison": str(pair.comparison.position + 1),
        "baseline_arm": pair.comparison.baseline.label,
        "candidate_arm": pair.comparison.candidate.label,
        "prompt_index": str(pair.prompt.index),
        "prompt": pair.prompt.text,
        "stratum": pair.stratum,
        "clip_score": repr(study.subset.members.get(prompt=pair.prompt).clip_score),
        "seed": str(pair.baseline_image.seed),
        "pair": str(pair.pk),
        "evaluator": f"e{ada.pk}",
        "trial_kind": "main",
        "position": "3",
        "candidate_side": "left" if trial.candidate_on_left else "right",
        "repeat_of": "",
        "choice": str(rating.choice),
        "preference": "1",
        "label": "candidate_slightly_better",
        "elapsed_ms": "3210",
        "shown_at": "2026-03-02T11:59:58.250Z",
        "rated_at": row["rated_at"],
        "counted": "TRUE",
        "superseded": "FALSE",
        "simulated": "FALSE",
        "excluded": "FALSE",
        "exclusion_reason": "",
        "baseline_image_sha256": pair.baseline_image.sha256,
        "candidate_image_sha256": pair.candidate_image.sha256,
        "criterion": "overall",
        "both_bad": "FALSE",
        **dict.fromkeys(CONTRACT[CONTRACT.index("reasons") : -2], ""),
        "evaluator_public_id": ada.public_id,
        "fast": "FALSE",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["rated_at"])


def test_a_row_tells_how_the_pair_was_seen_and_what_was_said(study: Study) -> None:
    shown = {
        "hidden_ms": 1200, "device_pixel_ratio": 1.25, "viewport_width": 1024, "viewport_height": 700,
        "picture_width": 409.6, "picture_height": 409.6, "picture_width_device": 512, "picture_height_device": 512,
        "zoomed": True, "flipped": False, "pointer": "touch",
    }  # fmt: skip
    trial = invite(study, "ada").booklet.trials.get(position=1)
    rate(trial, 0, viewport=shown, both_bad=True, reasons=["hands", "=text"], remark="=1+1", elapsed_ms=299)
    (row,) = rows_of(study)
    told = {
        name: "TRUE" if value is True else "FALSE" if value is False else str(value) for name, value in shown.items()
    }
    assert {name: row[name] for name in told} == told
    assert (row["both_bad"], row["choice"], row["label"]) == ("TRUE", "0", "no_preference")
    assert (row["reasons"], row["remark"]) == ("hands; =text", "'=1+1")
    assert row["flags"] == "fast"


def test_a_straight_line_is_a_flag_on_all_main_answers_of_its_evaluator(study: Study) -> None:
    for name, choices in (("ada", [2] * 12), ("alan", [2, -1] * 6)):
        trials = invite(study, name).booklet.trials.order_by("position")
        for trial, choice in zip(trials, choices, strict=True):
            rate(trial, -choice if trial.candidate_on_left else choice, elapsed_ms=None)
    flags = [row["flags"] for row in rows_of(study)]
    assert flags == ["no_time; straight_line"] * 12 + ["no_time"] * 12


@pytest.mark.parametrize(
    ("preference", "label"),
    [
        (2, "candidate_much_better"),
        (1, "candidate_slightly_better"),
        (0, "no_preference"),
        (-1, "baseline_slightly_better"),
        (-2, "baseline_much_better"),
    ],
)
def test_the_label_is_the_preference_on_either_side(preference: int, label: str, study: Study) -> None:
    rate_booklet(invite(study, "ada"), always(preference))
    rows = rows_of(study)
    assert {row["candidate_side"] for row in rows} == {"left", "right"}
    assert {(row["preference"], row["label"]) for row in rows} == {(str(preference), label)}
    assert {int(row["choice"]) * (-1 if row["candidate_side"] == "left" else 1) for row in rows} == {preference}


def test_every_kind_of_trial_is_there_and_an_attention_trial_has_no_candidate(study: Study) -> None:
    ada = invite(study, "ada")
    first = ada.booklet.trials.first()
    assert first is not None
    shared = {"booklet": ada.booklet, "left_image": first.left_image, "right_image": first.right_image}
    known = CheckPair.objects.create(
        study=study, number=0, use="attention", fault="other_prompt",
        prompt=first.right_image.prompt, better=first.right_image, worse=first.left_image,
    )  # fmt: skip
    attention = Trial.objects.create(position=13, kind="attention", check_pair=known, expected_choice=1, **shared)
    repeat = Trial.objects.create(
        position=14, kind="repeat", pair=first.pair, candidate_on_left=True, repeat_of=first, **shared
    )
    rate(attention, 2)
    rate(repeat, -2)
    checked, repeated = rows_of(study)
    assert (checked["trial_kind"], checked["choice"]) == ("attention", "2")
    assert checked["prompt"] == known.prompt.text
    for name in (
        "seed",
        "pair",
        "comparison",
        "stratum",
        "candidate_side",
        "preference",
        "label",
        "candidate_image_sha256",
    ):
        assert checked[name] == ""
    assert (repeated["trial_kind"], repeated["repeat_of"], repeated["preference"]) == ("repeat", "1", "-2")


def test_the_rows_that_say_so_are_exactly_those_that_the_report_counts(study: Study) -> None:
    ada, grace, alan = (invite(study, name) for name in ("ada", "grace", "alan"))
    ratings = [rating for evaluator in (ada, grace, alan) for rating in rate_booklet(evaluator, always(1))]
    rate_booklet(invite(study, "", simulated=True), always(1))
    Rating.objects.filter(pk__in=[rating.pk for rating in ratings[:3]]).update(counted=False)
    Rating.objects.filter(pk=ratings[4].pk).update(superseded=True)
    Trial.objects.filter(pk=ratings[5].trial_id).update(kind="repeat", repeat_of=ratings[4].trial_id)
    Exclusion.objects.create(study=study, rating=ratings[6], reason="a slip")
    Exclusion.objects.create(study=study, evaluator=grace, reason="answered in the dark")
    Exclusion.objects.create(study=study, rating=ratings[7], reason="a mistake", lifted_at=timezone.now())
    alan.withdrawn_at = timezone.now()
    alan.save()
    rows = rows_of(study)
    assert len(rows) == 48
    keep = [
        row
        for row in rows
        if (row["trial_kind"], row["counted"], row["superseded"], row["excluded"]) == ("main", "TRUE", "FALSE", "FALSE")
    ]
    found = study_report(study, population="all")
    assert len(keep) == found["n"] == 12 - 6 + 12
    assert sum(row["simulated"] == "TRUE" for row in keep) == found["ratings"]["simulated"] == 12
    reasons = {row["evaluator"]: row["exclusion_reason"] for row in rows if row["excluded"] == "TRUE"}
    assert reasons == {f"e{ada.pk}": "a slip", f"e{grace.pk}": "answered in the dark", f"e{alan.pk}": "withdrawn"}


def test_nothing_in_it_opens_an_evaluator_s_link(study: Study) -> None:
    # no text that the hexadecimal digits of a hash could spell by chance
    people = [invite(study, note, external_ids={"PROLIFIC_PID": "panel-7"}) for note in ("ada's link", "grace's link")]
    for person in people:
        rate_booklet(person, always(1))
    written = "".join(csv_lines(study))
    for person in people:
        for secret in (token_for(person), person.nonce, person.note, "panel-7"):
            assert secret not in written
    assert len({row["evaluator"] for row in rows_of(study)}) == 2


def unprotected(cell: str) -> str:
    """The text of a cell, read back by the codebook's rule."""
    return cell[1:] if re.match(r"'+[=+\-@\t\r\n]", cell) else cell


@given(st.text(alphabet="=+-@\t\r\n'a ,\"", max_size=8))
def test_protected_text_begins_no_formula_and_can_be_read_back(text: str) -> None:
    cell = protected(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert unprotected(cell) == text
    assert cell == text or cell == f"'{text}"


def test_prompts_reasons_and_study_names_are_protected_and_numbers_are_not(study: Study) -> None:
    ada = invite(study, "ada")
    rating = rate_booklet(ada, always(-2))[0]
    formula = '=HYPERLINK("http://example.org","a circle")'
    Prompt.objects.filter(pk=rating.trial.left_image.prompt_id).update(text=formula)
    Study.objects.filter(pk=study.pk).update(name="@shapes")
    Exclusion.objects.create(study=study, rating=rating, reason="-1 is no reason,\nbut this is")
    row = rows_of(Study.objects.get(pk=study.pk))[0]
    assert row["prompt"] == f"'{formula}"
    assert row["study"] == "'@shapes"
    assert row["exclusion_reason"] == "'-1 is no reason,\nbut this is"
    assert row["preference"] == "-2"


def test_the_number_of_queries_does_not_grow_with_the_ratings(study: Study) -> None:
    rate_booklet(invite(study, "ada"), always(1))
    few = queries_of(lambda: list(csv_lines(Study.objects.get(pk=study.pk))))
    for name in ("grace", "alan", "joan", "mary"):
        rate_booklet(invite(study, name), always(1))
    assert queries_of(lambda: list(csv_lines(Study.objects.get(pk=study.pk)))) == few <= 10


def test_the_codebook_in_the_documentation_is_the_one_that_the_columns_make() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "codebook.md"
    assert page.read_text(encoding="utf-8") == codebook(), "write it again: manage.py export_preferences --codebook"
    ratings = codebook().partition("## Flags")[0]
    assert re.findall(r"^\| `(\w+)` \|", ratings, re.M) == CONTRACT
    assert all(column.description and column.values and "|" not in column.description for column in COLUMNS)


def test_the_command_writes_the_csv_and_nothing_else(study: Study) -> None:
    rate_booklet(invite(study, "ada"), always(1))
    output, errors = io.StringIO(), io.StringIO()
    call_command("export_preferences", "Shapes", stdout=output, stderr=errors)
    assert output.getvalue() == "".join(csv_lines(study))
    assert errors.getvalue() == ""


@pytest.mark.django_db
def test_the_command_names_an_unknown_study() -> None:
    with pytest.raises(CommandError, match="there is no study “Triangles”"):
        call_command("export_preferences", "Triangles")
    with pytest.raises(CommandError, match="name a study"):
        call_command("export_preferences")
