"""The one query: the same answers and flags as records and CSV tell, on either database."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from django.utils import timezone

from evenhand.studies.models import CheckPair, Image, Rating, Study, Trial
from evenhand.studies.results.export import csv_lines
from evenhand.studies.results.report.answers import ATTENTION, LAST_SEQUENCE, MAIN, REPEAT, read_answers
from evenhand.studies.results.report.records import place_of, read_records
from tests.helpers.ratings import invite, rate, rate_booklet

pytestmark = pytest.mark.database


def varied(trial: Trial) -> int:
    return (trial.position * 7) % 5 - 2


def checked(study: Study, *, expected: int | None) -> Trial:
    """An attention check of a new evaluator, whose right answer lies on one side."""
    booklet = invite(study, "Heidi").booklet
    first = booklet.trials.first()
    assert first is not None
    known = CheckPair.objects.create(
        study=study, number=CheckPair.objects.count(), use="attention", fault="damaged",
        prompt=first.left_image.prompt, better=first.left_image, worse=first.right_image,
    )  # fmt: skip
    return Trial.objects.create(
        booklet=booklet, position=99, kind="attention", check_pair=known, expected_choice=expected,
        left_image=first.left_image, right_image=first.right_image,
    )  # fmt: skip


def test_every_column_is_what_the_record_says(study: Study) -> None:
    ada = invite(study, "ada")
    made = rate_booklet(ada, varied)
    Rating.objects.filter(pk=made[2].pk).update(elapsed_ms=None)
    Rating.objects.filter(pk=made[3].pk).update(counted=False)
    Rating.objects.filter(pk=made[4].pk).update(choice=0, both_bad=True, elapsed_ms=2**31 - 1)
    Trial.objects.filter(pk=made[5].trial_id).update(kind="repeat", repeat_of=made[0].trial_id, criterion=2)
    check = rate(checked(study, expected=-1), 2)
    found = read_answers(study.pk, smallest_picture=0, file_width=64)
    rows = Rating.objects.select_related("trial").order_by("evaluator", "sequence")
    kinds = {"main": MAIN, "attention": ATTENTION, "repeat": REPEAT}
    assert len(found) == 13
    for i, row in enumerate(rows):
        trial = row.trial
        assert found.evaluator[i] == row.evaluator_id
        assert found.sequence[i] == row.sequence
        assert found.item[i] == (trial.pair_id or trial.check_pair_id)
        assert found.kind[i] == kinds[trial.kind]
        assert found.criterion[i] == trial.criterion
        assert found.choice[i] == row.choice
        assert found.both_bad[i] == row.both_bad
        assert found.counted[i] == row.counted
        assert found.expected[i] == (trial.expected_choice or 0)
        if trial.candidate_on_left is not None:
            assert found.on_left[i] == trial.candidate_on_left
            assert found.preference[i] == row.preference
        known = not np.isnan(found.elapsed_ms[i])
        assert (found.elapsed_ms[i] if known else None) == row.elapsed_ms
    assert check.choice == 2


def test_what_was_corrected_deleted_withdrawn_or_practised_is_not_read(study: Study) -> None:
    ada, grace = invite(study, "ada"), invite(study, "grace")
    made = rate_booklet(ada, varied)
    rate_booklet(grace, varied)
    Rating.objects.filter(pk=made[0].pk).update(superseded=True)
    Rating.objects.filter(pk=made[1].pk).update(choice=None, deleted_at=timezone.now())
    trial = made[2].trial
    known = checked(study, expected=1).check_pair
    Trial.objects.filter(pk=trial.pk).update(kind="practice", check_pair=known)
    grace.withdrawn_at = timezone.now()
    grace.save()
    found = read_answers(study.pk, smallest_picture=0, file_width=64)
    assert found.sequence.tolist() == list(range(4, 13))


@pytest.mark.parametrize("smallest", [0, 300])
@pytest.mark.parametrize("one_width", [True, False])
def test_flags_are_those_of_the_csv(study: Study, smallest: int, one_width: bool) -> None:
    shown = [
        {}, {"picture_width_device": 31, "picture_width": 500.5}, {"picture_width_device": 31, "zoomed": True},
        {"picture_width_device": 32, "zoomed": False}, {"picture_width": 299.5}, {"picture_width_device": None},
        {"picture_width": 300, "picture_width_device": 31.5},
    ]  # fmt: skip
    assert study.current_version is not None
    changed = study.current_version.configuration.replace('"smallest_picture":0', f'"smallest_picture":{smallest}')
    study.current_version.configuration = changed
    study.current_version.save()
    for n, name in enumerate(("ada", "grace")):
        for trial in invite(study, name).booklet.trials.all():
            rate(
                trial, varied(trial), viewport=shown[(trial.position + n) % len(shown)], elapsed_ms=290 + trial.position
            )
    if not one_width:
        Image.objects.filter(pk=Image.objects.order_by("pk").values("pk")[:1]).update(width=40)
    records = read_records(Study.objects.get(pk=study.pk))
    assert (records.pairs.file_width is not None) == one_width
    rows = list(csv.DictReader(io.StringIO("".join(csv_lines(Study.objects.get(pk=study.pk))), newline="")))
    told = [{"small": "small" in row["flags"], "fast": "fast" in row["flags"]} for row in rows]
    found = records.answers
    assert [{"small": bool(s), "fast": bool(f)} for s, f in zip(found.small, found.fast, strict=True)] == told
    assert {flag for each in told for flag, holds in each.items() if holds} == {"small", "fast"}


def test_nothing_is_read_of_a_study_without_answers(study: Study) -> None:
    assert len(read_answers(study.pk, smallest_picture=0, file_width=None)) == 0


def test_places_are_found_among_near_and_far_numbers() -> None:
    for known in ([3, 4, 9], [3, 10**9, 10**15]):
        labels = np.array([known[2], known[0], known[2], known[1]])
        assert place_of(labels, np.array(known)).tolist() == [2, 0, 2, 1]
    assert LAST_SEQUENCE > 10_000 * 3  # more than anybody can answer, with every answer corrected
