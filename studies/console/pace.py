"""Estimate what a plan asks of people: their time, from earlier answers, and their pay by the hour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from django.http import HttpRequest

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Rating

ASSUMED = 10.0  # seconds a showing, while there are too few answers of real people
ANSWERS_READ = 1000  # the latest
ANSWERS_NEEDED = 100
HIGHEST_PAY = 1_000_000.0


@dataclass(frozen=True)
class Pace:
    """Seconds that a person takes for a showing: the median of ``answers`` real ones, or assumed where that is 0."""

    seconds: float
    answers: int


@dataclass(frozen=True)
class Time:
    """What a study takes of people: seconds of one and of all; pay of one and of all where an hour's is given."""

    pace: Pace
    each: float
    all: float
    hourly: float | None = None

    @property
    def pay_each(self) -> float | None:
        """Pay of one person, in the currency of ``hourly``."""
        return None if self.hourly is None else self.hourly * self.each / 3600

    @property
    def pay_all(self) -> float | None:
        """Pay of all people, in the currency of ``hourly``."""
        return None if self.hourly is None else self.hourly * self.all / 3600


def measured_pace() -> Pace:
    """Return the pace of this installation's latest answers of real people; one query."""
    rows = Rating.objects.filter(elapsed_ms__isnull=False, superseded=False, evaluator__simulated=False)
    read = rows.order_by("-pk").values_list("elapsed_ms", flat=True)[:ANSWERS_READ]
    found = [elapsed for elapsed in read if elapsed is not None]
    if len(found) < ANSWERS_NEEDED:
        return Pace(ASSUMED, 0)
    return Pace(median(found) / 1000, len(found))


def time_of(configuration: StudyConfiguration, showings: int, request: HttpRequest) -> Time:
    """Return the time of ``showings`` a person, and the pay where the request names that of an hour."""
    pace = measured_pace()
    each = configuration.minutes * 60 if configuration.minutes else showings * pace.seconds
    return Time(pace, each, each * configuration.quota, _hourly(request))


def _hourly(request: HttpRequest) -> float | None:
    """Return the hourly pay that was asked about; None where there is none, or it is no sensible number."""
    try:
        value = float(request.GET.get("hourly", "").replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 < value <= HIGHEST_PAY else None
