"""Sweeps: one method over several values of a setting, written as one candidate, told as a curve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse

from evenhand.errors import InputError
from evenhand.generation.guidance import ClassifierFree, GuidanceError, SegmentationFree
from evenhand.studies.assignment.booklets import build_blocks
from evenhand.studies.console.candidate_fields import read_others
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Booklet, Study, Trial
from evenhand.studies.results import figures
from evenhand.studies.results.report import study_report
from evenhand.studies.results.tables import tables_of
from evenhand.studies.sweeps import expanded
from tests.helpers.factories import make_admin, make_prompt_set, make_ready_study
from tests.helpers.ratings import invite, rate_booklet

OPENING = ClassifierFree(2.0)
SCALES = (2.0, 5.0, 10.0, 20.0)
WANTED = {2.0: 0, 5.0: 2, 10.0: 3, 20.0: -1}  # strata, net, in which the sweep's arm is preferred


def rated_study(**changes: Any) -> Study:
    """Four scales and a stronger baseline; a person prefers an arm of the sweep in as many strata as ``WANTED``."""
    settings: dict[str, Any] = {
        "baseline": OPENING,
        "candidates": tuple(SegmentationFree(scale, opening=OPENING) for scale in SCALES),
        "trials_per_evaluator": 12,
    }
    made = make_ready_study(**(settings | changes))
    build_blocks(made, 1)
    for number in range(Booklet.objects.filter(study=made).count()):
        rate_booklet(invite(made, f"person {number}"), _preference)
    return made


def _preference(trial: Trial) -> int:
    assert trial.pair is not None
    comparison = trial.pair.comparison
    turned = comparison.baseline.guidance["method"] == "segmentation_free"
    arm = comparison.baseline if turned else comparison.candidate
    place = ("high", "middle", "low").index(trial.pair.stratum)
    net = WANTED[arm.guidance["scale"]]
    preference = (1 if net > 0 else -1) if place < abs(net) else 0
    return -preference if turned else preference


@pytest.mark.django_db
def test_a_sweep_is_a_curve_over_its_setting_whichever_way_round_its_comparisons_stand() -> None:
    study = rated_study(comparisons=((0, 1), (2, 0), (0, 3), (0, 4)))
    report = study_report(study)
    (sweep,) = report["sweeps"]
    assert (sweep["method"], sweep["setting"], sweep["symbol"]) == ("segmentation_free", "scale", "a")
    assert (sweep["best"], sweep["at_end"], sweep["against"]) == (10.0, False, "CFG w = 2")
    assert [point["value"] for point in sweep["points"]] == list(SCALES)
    assert [point["net"]["estimate"] for point in sweep["points"]] == pytest.approx([0, 2 / 3, 1, -1 / 3])
    turned = sweep["points"][1]["net"]
    assert turned["low"] < turned["estimate"] < turned["high"]
    assert tables_of(report)["sweeps"].to_csv().count("highest") == 1 + 1  # the heading, and one row
    drawn = figures.sweeps(report).decode()
    assert "is preferred most at a = 10: +100 points against CFG w = 2" in drawn


@pytest.mark.django_db
def test_arms_that_differ_in_more_than_one_setting_or_are_two_are_no_sweep() -> None:
    study = rated_study(
        candidates=(
            SegmentationFree(2.0, opening=OPENING),
            SegmentationFree(5.0, opening=OPENING),
            SegmentationFree(10.0, 1.0, opening=OPENING),
        )
    )
    report = study_report(study)
    assert report["sweeps"] == []
    assert "sweeps" not in tables_of(report)
    with pytest.raises(InputError, match="has no sweep with ratings"):
        figures.sweeps(report)


@pytest.mark.django_db
def test_in_all_pairs_a_sweep_is_told_against_the_baseline_alone() -> None:
    arms = 5
    pairs = tuple((i, j) for i in range(arms) for j in range(i + 1, arms))
    made = make_ready_study(
        baseline=OPENING, candidates=tuple(SegmentationFree(a, opening=OPENING) for a in SCALES), comparisons=pairs
    )
    assert [each["against"] for each in study_report(made)["sweeps"]] == ["CFG w = 2"]


@pytest.mark.django_db
def test_the_results_page_shows_it(client: Client) -> None:
    study = rated_study()
    client.force_login(study.owner)
    page = client.get(reverse("console:results", args=[study.pk])).content.decode()
    assert "Preference over a setting" in page
    assert client.get(reverse("console:sweeps", args=[study.pk, "png"])).content.startswith(b"\x89PNG")


def test_a_list_stands_for_a_candidate_of_each_value() -> None:
    line = json.dumps({"method": "perturbed_attention", "strength": [1, 3, 9], "text_strength": 7.5})
    arms = read_others(f"{line}\n{json.dumps({'method': 'classifier_free', 'strength': 4})}", OPENING)
    assert [arm.to_dict()["strength"] for arm in arms] == [1.0, 3.0, 9.0, 4.0]
    listed = {"method": "scheduled_classifier_free", "strengths": [1.0, 2.0]}
    assert expanded(listed) == [listed]  # a setting that is a list is no sweep


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ({"strength": [1]}, "a sweep has 2 to 12 values of strength, not 1"),
        ({"strength": list(range(13))}, "a sweep has 2 to 12 values of strength, not 13"),
        ({"strength": [1, 2], "text_strength": [3, 4]}, "a sweep varies one setting, not strength and text_strength"),
    ],
)
def test_what_is_no_sweep_is_said(candidate: dict[str, Any], message: str) -> None:
    with pytest.raises(GuidanceError, match=message):
        expanded({"method": "perturbed_attention"} | candidate)


@pytest.mark.django_db
def test_a_script_creates_a_sweep_in_all_pairs(tmp_path: Path) -> None:
    make_admin("ada")
    prompts = make_prompt_set(60)
    file = tmp_path / "plan.json"
    plan = {"candidates": [{"method": "segmentation_free", "scale": [2, 5, 10]}], "comparisons": "all_pairs"}
    file.write_text(json.dumps(plan))
    words = ("--prompts", prompts.name, "--configuration", str(file), "--by", "ada")
    call_command("study", "create", "Sweep", *words)
    configuration = configuration_of(Study.objects.get(name="Sweep"))
    assert [arm.to_dict()["scale"] for arm in configuration.candidates] == [2.0, 5.0, 10.0]
    assert len(configuration.compared) == 6
    file.write_text(json.dumps(plan | {"comparisons": [[0, 1], [1, 0]]}))
    with pytest.raises(CommandError, match="arms 1 and 0 are compared twice"):
        call_command("study", "create", "Wrong", *words)
