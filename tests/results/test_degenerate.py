"""Studies that tell little or nothing: a plain statement everywhere, never an error, and no interval of width zero."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from evenhand.studies.lifecycle import close_study
from evenhand.studies.models import Study
from evenhand.studies.results import artefacts
from evenhand.studies.results.report import study_report
from tests.helpers.little_told import CASES, everybody_left_out

pytestmark = pytest.mark.database


@pytest.fixture(params=CASES, ids=lambda case: case.__name__)
def case(request: pytest.FixtureRequest, study: Study) -> Study:
    request.param(study)
    return study


def estimates(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every estimate with an interval in a report, with its place."""
    if isinstance(value, dict):
        if {"low", "high", "reason"} <= set(value):
            yield path, value
        for name, each in value.items():
            yield from estimates(each, f"{path}.{name}")
    elif isinstance(value, list):
        for i, each in enumerate(value):
            yield from estimates(each, f"{path}[{i}]")


@pytest.mark.parametrize("closed", [False, True])
def test_a_report_is_plain_json_and_says_why_a_number_is_missing(case: Study, closed: bool) -> None:
    if closed:
        Study.objects.filter(pk=case.pk).update(state="collecting")
        case.refresh_from_db()
        close_study(case)
    report = study_report(case)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    found = list(estimates(report))
    assert len(found) > 30
    for place, each in found:
        low, high, p = each["low"], each["high"], each.get("p")
        assert (low is None) == (high is None), place
        if low is None:
            assert each["reason"], place
        else:
            assert low < high, place
            assert math.isfinite(low + high), place
        assert p is None or (closed and 0 <= p <= 1), place
    for each in report["comparisons"]:
        found = each["detectable"]
        assert (found["net_share"] is None) == bool(found["reason"])
        assert found["net_share"] is None or 0 < found["net_share"] < 1
    assert artefacts.terminal(case)


def test_everybody_left_out_is_told_with_the_headline_of_before(study: Study) -> None:
    everybody_left_out(study)
    report = study_report(study)
    assert report["n"] == 0
    assert report["left_out"]["evaluators"] == report["left_out"]["of"] == 4
    assert report["left_out"]["reasons"] == [{"reason": "pressed keys at random", "n": 4}]
    for result in report["comparisons"]:
        assert result["sensitivity"]["as_reported"]["n"] == 0
        assert result["sensitivity"]["with_excluded"]["n"] == 24
