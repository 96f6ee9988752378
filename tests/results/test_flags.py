"""Flags: one definition in Python and in the database; straight lines; words."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from evenhand.studies.models import Evaluator, Image, Rating, Study
from evenhand.studies.results import flags
from tests.helpers.ratings import invite, queries_of, rate

FILE, SMALLEST = 512, 200
VIEWPORTS: tuple[dict[str, Any], ...] = (
    {},
    {"picture_width": 300, "picture_width_device": 300},
    {"picture_width": 300, "picture_width_device": 256},
    {"picture_width": 300, "picture_width_device": 255},
    {"picture_width": 300, "picture_width_device": 255.5, "zoomed": False},
    {"picture_width": 300, "picture_width_device": 255, "zoomed": True},
    {"picture_width": 199.5, "picture_width_device": 600},
    {"picture_width": 199, "picture_width_device": 600, "zoomed": True},
    {"picture_width": 200},
    {"picture_width_device": 100},
)
TIMES = (None, 0, 299, 300, 4000)


def flags_of(rating: Rating, smallest: int) -> tuple[str, ...]:
    return flags.rating_flags(
        elapsed_ms=rating.elapsed_ms, viewport=rating.viewport, file_width=FILE, smallest_picture=smallest
    )


@pytest.mark.django_db
@pytest.mark.parametrize("smallest", [0, SMALLEST])
def test_the_database_counts_what_the_definition_flags(study: Study, smallest: int) -> None:
    Image.objects.update(width=FILE)
    people: dict[int, Counter[str]] = {}
    for name, elapsed_ms in zip("abcde", TIMES, strict=True):
        person = invite(study, name)
        trials = person.booklet.trials.order_by("position")
        ratings = [rate(t, 1, elapsed_ms=elapsed_ms, viewport=v) for t, v in zip(trials, VIEWPORTS, strict=False)]
        people[person.pk] = Counter(flag for rating in ratings for flag in flags_of(rating, smallest))
    counted = flags.count_flags(flags.current(Evaluator.objects.all()), smallest)
    assert {pk: +counts for pk, counts in counted.items()} == people
    assert {flag for counts in people.values() for flag in counts} == {"no_time", "fast", "small"}
    assert people[min(people)]["small"] == 3 + (2 if smallest else 0)


@pytest.mark.django_db
def test_what_was_corrected_is_not_counted(study: Study) -> None:
    person = invite(study, "ada")
    first, second = person.booklet.trials.order_by("position")[:2]
    rate(first, 1, elapsed_ms=1, superseded=True)
    rate(second, 1, elapsed_ms=1)
    assert flags.count_flags(flags.current(Evaluator.objects.all()), 0)[person.pk]["fast"] == 1


@pytest.mark.django_db
def test_two_queries_for_any_number_of_people(study: Study) -> None:
    def work() -> None:
        ratings = flags.current(Evaluator.objects.all())
        flags.count_flags(ratings, 0)
        flags.straight_lines(ratings)

    for name in "ab":
        for trial in invite(study, name).booklet.trials.all():
            rate(trial, 1)
    assert queries_of(work) == 2


LEFT, NEUTRAL, BAD, RIGHT = (-1, False), (0, False), (0, True), (1, False)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([], ""),
        ([LEFT] * 9, ""),
        ([LEFT] * 10, "10 in a row the same key"),
        ([RIGHT, *[LEFT] * 12, RIGHT], "12 in a row the same key"),
        ([NEUTRAL] * 19, ""),
        ([NEUTRAL] * 20, "20 in a row the same key"),
        ([BAD] * 10, "10 in a row the same key"),
        ([NEUTRAL, BAD] * 10, ""),
        ([*[LEFT] * 4, RIGHT] * 4, "16 of 20 the same key"),
        ([*[LEFT] * 4, RIGHT] * 3, ""),
        ([*[LEFT] * 3, RIGHT] * 6, ""),
        ([*[NEUTRAL] * 9, RIGHT] * 3, ""),
    ],
)
def test_a_straight_line(keys: list[flags.Key], said: str) -> None:
    assert flags.straight_line(keys) == said


def test_flags_in_words() -> None:
    assert flags.in_words({}) == []
    assert flags.in_words({"fast": 3, "no_time": 2, "small": 5}, "12 in a row the same key") == [
        "3 answers under 300 ms",
        "12 in a row the same key",
        "2 without a time",
        "5 pairs seen too small",
    ]
    assert flags.in_words({"fast": 1, "small": 1}) == ["1 answer under 300 ms", "1 pair seen too small"]
