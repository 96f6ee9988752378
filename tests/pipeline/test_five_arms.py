"""Five arms and all their pairs, the whole way: pictures, booklets, simulated ratings, report, scores, files."""

from __future__ import annotations

from collections import Counter

import pytest
from django.core.management import call_command
from pytest_django.live_server_helper import LiveServer

from evenhand.generation.guidance import ClassifierFree, SegmentationFree
from evenhand.studies.comparisons import all_pairs
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Booklet, Image, Pair, Study, Trial
from evenhand.studies.pipeline import stages
from evenhand.studies.plan_in_words import preregistration
from evenhand.studies.results import figures
from evenhand.studies.results.export import csv_lines
from evenhand.studies.results.objective.report import objective_report
from evenhand.studies.results.report import study_report
from evenhand.studies.results.tables import tables_of
from tests.helpers.factories import make_draft

LIKED = (0.0, 0.8, 2.4, 1.2, -0.8)  # how much simulated evaluators like each arm: the third most


@pytest.mark.django_db(transaction=True)
def test_five_arms_in_all_pairs_from_the_plan_to_the_scores(live_server: LiveServer) -> None:
    opening = ClassifierFree(2.0)
    study = make_draft(
        name="Five arms",
        baseline=opening,
        candidates=(
            *(SegmentationFree(scale, opening=opening) for scale in (5.0, 10.0)),
            ClassifierFree(4.0),
            ClassifierFree(1.0),
        ),
        comparisons=all_pairs(5),
        steps=2,
        subset_size=12,
        curve_sizes=(8, 12),
        batch_size=6,
        per_stratum=2,
        trials_per_evaluator=6,
        quota=20,
        primary_comparison=8,
    )
    stages.prepare(study)
    stages.work_through()
    study.refresh_from_db()
    assert study.state == Study.State.READY
    assert (
        Image.objects.filter(recipe=study.recipe).count() == 12 + 4 * 6
    )  # every arm once, whatever it is compared with
    pairs = list(Pair.objects.filter(comparison__study=study).select_related("baseline_image", "candidate_image"))
    assert len(pairs) == 10 * 6
    assert all(pair.baseline_image.seed == pair.candidate_image.seed for pair in pairs)
    assert {pair.baseline_image.arm_id for pair in pairs} == {each.baseline_id for each in study.comparisons.all()}
    open_study(study)
    strengths = [LIKED[second] - LIKED[first] for first, second in all_pairs(5)]
    call_command(
        "simulate_evaluators", study.name, verbosity=0, url=live_server.url, evaluators=20, preference=strengths,
        no_pictures=True, noise=1.0, seed=3,
    )  # fmt: skip
    for booklet in Booklet.objects.filter(study=study):
        prompts = Counter(
            Trial.objects.filter(booklet=booklet, kind=Trial.Kind.MAIN).values_list("pair__prompt", flat=True)
        )
        assert set(prompts.values()) == {1}, "nobody sees a prompt twice"
    _check_results(study)


def _check_results(study: Study) -> None:
    report = study_report(study)
    assert report["free_comparisons"]
    assert report["mark"] == "simulated"
    assert len(report["comparisons"]) == 10
    assert report["comparisons"][0]["holm"]["comparisons"] == 10
    assert report["primary"]["index"] == 7
    primary = report["comparisons"][7]
    assert (primary["baseline_name"], primary["candidate_name"]) == ("a = 10", "CFG w = 4")
    assert not primary["against_baseline"]
    assert primary["finding"].startswith("a = 10 preferred to CFG w = 4 in ")
    davidson = report["criteria"][0]["davidson"]
    assert (davidson["converged"], davidson["reason"], len(davidson["groups"])) == (True, "", 1)
    assert [score["baseline"] for score in davidson["scores"]] == [True, False, False, False, False]
    assert max(davidson["scores"], key=lambda score: score["estimate"])["name"] == "a = 10"
    assert min(davidson["scores"], key=lambda score: score["estimate"])["name"] == "CFG w = 1"
    tables = tables_of(report)
    assert {"First arm", "Second arm"} <= {column.title for column in tables["comparisons"].columns}
    for draw in (figures.histogram, figures.diverging, figures.scores):
        assert draw(report).startswith(b"<?xml")
    lines = list(csv_lines(study))
    assert len("".join(lines).strip().splitlines()) == 1 + report["n"]
    assert study.current_version is not None
    plan = preregistration(study, study.current_version)
    assert "  - 8: CFG w=4" in plan
    assert "against SFG a=10" in plan
    metrics = objective_report(study)
    assert [arm["role"] for arm in metrics["arms"]] == ["baseline", *["candidate"] * 4]
    assert len([each for each in metrics["wins"] if each["metric"].startswith("clip")]) == 10
