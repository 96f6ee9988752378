"""Define what makes an answer, or a series of answers, worth a look. A flag excludes nobody and changes no result.

The CSV and the console use the same definitions: ``rating_flags`` for one answer in Python, ``FLAGS`` for many in the
database, ``straight_line`` for a person's series. Practice is left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from django.db.models import Case, Count, F, FloatField, Q, QuerySet, Value, When
from django.db.models.fields.json import KT
from django.db.models.functions import Cast

from evenhand.studies.models import Evaluator, Rating, Trial

NO_TIME, FAST, SMALL, STRAIGHT_LINE = "no_time", "fast", "small", "straight_line"
FAST_MS = 300  # nobody sees two pictures and presses a key in less
SMALL_SHARE = 0.5  # of the file's own pixels, along a side
RUN = 10  # answers in a row with one key
NEUTRAL_RUN = 20  # the same for “no preference”, which pictures that are alike deserve again and again
SHARE, SHARE_FROM = 0.8, 20  # of so many answers or more with one key; “no preference” is not counted so

Key = tuple[int, bool]  # choice, and whether it says that both pictures are bad


def rating_flags(
    *, elapsed_ms: int | None, viewport: Mapping[str, Any], file_width: int, smallest_picture: int
) -> tuple[str, ...]:
    """Return the flags of one answer.

    no_time  the page sent no time
    fast     under 300 ms from both pictures being visible
    small    the pictures were displayed with less than half of the file's pixels along a side and were not zoomed, or
             at less than the study's smallest width (CSS pixels; 0: any)
    """
    return tuple(
        flag
        for flag, holds in (
            (NO_TIME, elapsed_ms is None),
            (FAST, elapsed_ms is not None and elapsed_ms < FAST_MS),
            (SMALL, _is_small(viewport, file_width, smallest_picture)),
        )
        if holds
    )


def _is_small(viewport: Mapping[str, Any], file_width: int, smallest_picture: int) -> bool:
    device, css = viewport.get("picture_width_device"), viewport.get("picture_width")
    too_few_pixels = device is not None and device < SMALL_SHARE * file_width and not viewport.get("zoomed")
    return too_few_pixels or (css is not None and css < smallest_picture)


def count_flags(ratings: QuerySet[Rating], smallest_picture: int) -> dict[int, Counter[str]]:
    """Count the flags of each evaluator's answers in the database, with one query: those of ``rating_flags``."""
    rows = (
        ratings.exclude(trial__kind=Trial.Kind.PRACTICE)
        .annotate(
            device=Cast(KT("viewport__picture_width_device"), FloatField()),
            css=Cast(KT("viewport__picture_width"), FloatField()),
            zoomed=Case(When(viewport__zoomed=True, then=Value(True)), default=Value(False)),
        )
        .values("evaluator")
        .order_by()
        .annotate(
            no_time=Count("pk", filter=Q(elapsed_ms=None)),
            fast=Count("pk", filter=Q(elapsed_ms__lt=FAST_MS)),
            small=Count(
                "pk",
                filter=Q(device__lt=SMALL_SHARE * F("trial__left_image__width"), zoomed=False)
                | Q(css__lt=smallest_picture),
            ),
        )
    )
    return {
        row["evaluator"]: Counter({NO_TIME: row["no_time"], FAST: row["fast"], SMALL: row["small"]}) for row in rows
    }


def straight_lines(ratings: QuerySet[Rating]) -> dict[int, str]:
    """Say of each evaluator whose main answers look like one key pressed again and again how they do; one query."""
    rows = ratings.filter(trial__kind=Trial.Kind.MAIN).order_by("evaluator", "sequence")
    keys: dict[int, list[Key]] = defaultdict(list)
    for evaluator, choice, both_bad in rows.values_list("evaluator", "choice", "both_bad").iterator(2000):
        keys[evaluator].append((choice or 0, both_bad))
    lines = {evaluator: straight_line(pressed) for evaluator, pressed in keys.items()}
    return {evaluator: line for evaluator, line in lines.items() if line}


def straight_line(keys: Sequence[Key]) -> str:
    """Say how a person's answers, in their order, are a straight line; empty where they are none.

    They are one where the same key was pressed 10 times in a row (“no preference”: 20 times), or for 80 % of 20
    answers or more (but for “no preference”). By simulation of 30 answers at random sides this happens to 1 in 10 000
    careful people who press “no preference” for up to 60 % of pairs, to 4 % of those who do for 80 %, and to 2 % of
    those who never do and know only one strength.
    """
    runs = [(key, len(list(same))) for key, same in groupby(keys)]
    longest = max((length for key, length in runs if length >= (NEUTRAL_RUN if _neutral(key) else RUN)), default=0)
    if longest:
        return f"{longest} in a row the same key"
    counts = Counter(key for key in keys if not _neutral(key))
    most = max(counts.values(), default=0)
    return f"{most} of {len(keys)} the same key" if len(keys) >= SHARE_FROM and most >= SHARE * len(keys) else ""


def _neutral(key: Key) -> bool:
    return key == (0, False)


def in_words(counts: Mapping[str, int], line: str = "") -> list[str]:
    """Say an evaluator's flags in a few words each."""
    fast, no_time, small = (counts.get(flag, 0) for flag in (FAST, NO_TIME, SMALL))
    return [
        text
        for text, holds in (
            (f"{fast} answer{'s' if fast != 1 else ''} under {FAST_MS} ms", fast),
            (line, line),
            (f"{no_time} without a time", no_time),
            (f"{small} pair{'s' if small != 1 else ''} seen too small", small),
        )
        if holds
    ]


def current(evaluators: Iterable[Evaluator] | QuerySet[Evaluator]) -> QuerySet[Rating]:
    """Return the evaluators' answers that were neither corrected nor deleted."""
    return Rating.objects.filter(evaluator__in=evaluators, superseded=False, deleted_at=None)
