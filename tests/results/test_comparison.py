"""What a study could have found, and what may be concluded while looking: of a comparison's ratings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evenhand.analysis.clustered import clusters, mean_estimate
from evenhand.analysis.monitoring import sequence_interval
from evenhand.analysis.power import detectable_by_study
from evenhand.analysis.variance import variance_components
from evenhand.studies.lifecycle import close_study, open_study
from evenhand.studies.models import Study
from evenhand.studies.results.report import counting_ratings, study_report
from evenhand.studies.results.report.comparison import Options, comparison_result
from evenhand.studies.results.report.ratings import Ratings
from evenhand.studies.revision import revise
from tests.helpers.factories import make_ready_study
from tests.helpers.ratings import invite, rate_booklet

PEOPLE = ("ada", "grace", "alan", "joan", "mary", "heidi")
OPTIONS = Options(interim=False, strata=("all",), margin=None, planned=9, crossed=False)


def ratings_of(seed: int, *, twice: bool) -> Ratings:
    """120 ratings by 8 people of 40 prompts, the candidate on either side; ``twice``: some of one prompt."""
    rng, n = np.random.default_rng(seed), 120
    people = np.repeat(np.arange(8), 15)
    prompts = np.concatenate([rng.choice(40, 15, replace=twice) for _ in range(8)])
    opinion = rng.normal(size=8)[people] * 0.5 + rng.normal(size=40)[prompts] * 0.5 + 0.3
    preference = np.clip(np.round(opinion + rng.normal(size=n)), -2, 2).astype(np.int8)
    nothing, left = np.zeros(n, np.intp), rng.random(n) < 0.5
    no, yes = np.zeros(n, np.bool_), np.ones(n, np.bool_)
    return Ratings(
        comparison=nothing, criterion=nothing, evaluator=people, prompt=prompts, stratum=nothing,
        choice=np.where(left, -preference, preference), on_left=left, both_bad=no, elapsed_ms=np.full(n, 900.0),
        counts=yes, for_pair=no, flagged=no, failed_check=no,
    ).checked_once()  # fmt: skip


@pytest.mark.parametrize("twice", [False, True])
def test_the_single_ratings_tell_the_same_whether_or_not_somebody_rated_a_prompt_twice(twice: bool) -> None:
    ratings = ratings_of(5, twice=twice)
    assert ratings.once != twice
    found = comparison_result(ratings, OPTIONS)
    groups = clusters(ratings.evaluator, ratings.prompt)
    expected = detectable_by_study(ratings.preference, groups)
    assert found["detectable"] == {"net_share": pytest.approx(expected.value, abs=1e-6), "power": 0.8, "reason": ""}
    assert 0.1 < expected.value < 0.9
    components = variance_components(ratings.preference, groups)
    assert found["variance"]["evaluator"] == pytest.approx(components.evaluator)
    assert found["variance"]["prompt"] == pytest.approx(components.prompt)


def test_the_sequence_is_that_of_the_net_share_and_wider_than_one_look() -> None:
    ratings = ratings_of(6, twice=False)
    found = comparison_result(ratings, OPTIONS)
    net = mean_estimate(np.sign(ratings.preference), clusters(ratings.evaluator, ratings.prompt))
    expected = sequence_interval(net, 8, planned=9)
    assert (found["sequence"]["low"], found["sequence"]["high"]) == pytest.approx((expected.low, expected.high))
    assert found["sequence"]["low"] < found["net_share"]["low"] < found["net_share"]["high"] < found["sequence"]["high"]


def rated(quota: int = 8) -> Study:
    study = make_ready_study(quota=quota)
    open_study(study)
    for n, name in enumerate(PEOPLE):
        rate_booklet(invite(study, name), lambda trial, n=n: (trial.position * (n + 2)) % 5 - 2)  # type: ignore[misc]
    return study


def rows_of(study: Study, position: int) -> tuple[np.ndarray, Any]:
    rows: list[Any] = list(
        counting_ratings(study)
        .filter(trial__pair__comparison__position=position)
        .values_list("evaluator", "trial__pair__prompt", "choice", "trial__candidate_on_left")
    )
    preference = np.array([-choice if left else choice for _, _, choice, left in rows])
    return preference, clusters([row[0] for row in rows], [row[1] for row in rows])


@pytest.mark.django_db
@pytest.mark.parametrize("closed", [False, True])
def test_a_report_tells_each_comparison_s_detectable_difference_open_and_closed(closed: bool) -> None:
    study = rated()
    if closed:
        close_study(study)
    told = [each["detectable"] for each in study_report(study)["comparisons"]]
    for position, each in enumerate(told):
        expected = detectable_by_study(*rows_of(study, position))
        assert each["reason"] == expected.reason
        assert each["net_share"] == (None if expected.reason else pytest.approx(expected.value, abs=1e-6))
    assert any(each["net_share"] for each in told)


@pytest.mark.django_db
def test_a_quota_that_was_raised_while_looking_does_not_move_the_sequence() -> None:
    study = rated()
    before = [each["sequence"] for each in study_report(study)["comparisons"]]
    revise(study, actor=study.owner, quota=80)
    after = [each["sequence"] for each in study_report(Study.objects.get(pk=study.pk))["comparisons"]]
    assert before == after
    assert {each["planned"] for each in after} == {8}
    assert all(each["p"] is None for each in after)
