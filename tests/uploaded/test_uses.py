"""A study of uploaded pictures goes everywhere that a generated one goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.generation.guidance import ClassifierFree
from evenhand.studies.bundle.replicating import replicate
from evenhand.studies.bundle.writing import export
from evenhand.studies.console.study_page import study_context
from evenhand.studies.lifecycle import close_study, open_study
from evenhand.studies.models import ImageScore, Pair, ScoringPart, Study
from evenhand.studies.pipeline import scorings
from evenhand.studies.plan_in_words import preregistration
from evenhand.studies.results.objective.report import objective_report
from evenhand.studies.results.report import study_report
from evenhand.studies.score_imports import import_scores
from evenhand.studies.work import queue
from tests.helpers.factories import make_admin
from tests.helpers.ratings import always, invite, rate_booklet
from tests.helpers.ready_made import make_ready_made_study
from tests.helpers.stored import image_path

pytestmark = pytest.mark.django_db

PAGES = (
    "study", "pairs", "checks", "results", "objective", "printed", "versions", "manage", "revision", "report",
    "preferences",
)  # fmt: skip


@pytest.fixture
def study(tmp_path: Path) -> Study:
    study = make_ready_made_study(tmp_path, make_admin("ada"), count=14, practice_trials=1, attention_checks=1)
    open_study(study)
    for name in ("Grace", "Heidi"):
        rate_booklet(invite(study, name), always(1))
    return study


def test_every_page_shows_it(study: Study, client: Client) -> None:
    client.force_login(study.owner)
    for name in PAGES:
        answer = client.get(reverse(f"console:{name}", args=[study.pk]))
        assert answer.status_code == 200, name
    shown = client.get(reverse("console:study", args=[study.pk])).content.decode()
    assert "made elsewhere and uploaded" in shown
    assert "ddim" not in shown
    printed = client.get(reverse("console:printed", args=[study.pk])).content.decode()
    assert "uploaded ready-made" in printed
    assert "All pictures were made elsewhere and uploaded" in printed
    assert "no licence stated" in printed


def test_its_plan_is_said_without_what_only_generated_pictures_have(study: Study) -> None:
    assert study.current_version is not None
    text = preregistration(study, study.current_version)
    assert "Baseline**: first" in text
    assert "Scheduler" not in text
    assert "Fréchet" not in text


def test_its_results_have_one_stratum(study: Study) -> None:
    report = study_report(study)
    assert report["n"] == 6
    assert [each["name"] for each in report["provenance"]["uploaded"]] == ["first", "second"]


def test_its_pictures_are_scored(study: Study, tmp_path: Path) -> None:
    scoring = scorings.start(study, scorings.Request(metrics=("clip",)))
    queue.work_through({ScoringPart: scorings.HANDLER}, scorings.QUEUE)
    progress = scorings.progress_of(scoring)
    assert (progress.state, progress.error) == ("done", "")
    pairs = Pair.objects.filter(comparison__study=study).count()
    assert ImageScore.objects.filter(metric__startswith="clip").count() == 2 * pairs
    report = objective_report(study, scoring)
    assert [each["n"] for each in next(iter(report["means"].values()))] == [pairs, pairs]
    with pytest.raises(scorings.ScoringError, match="were uploaded"):
        scorings.start(study, scorings.Request(arms=(ClassifierFree(2.0),)))


def test_scores_from_elsewhere_find_its_pictures(study: Study, tmp_path: Path) -> None:
    sha256 = Pair.objects.filter(comparison__study=study).values_list("candidate_image__sha256", flat=True)[0]
    path = tmp_path / "scores.csv"
    path.write_text(f"image,metric,value\n{sha256},aesthetic,5.5\n")
    assert import_scores(study, path).stored == {"aesthetic": 1}


def test_a_bundle_of_it_is_replicated(study: Study, tmp_path: Path, settings: Any) -> None:
    close_study(study)
    export(study, tmp_path / "bundle")
    again = replicate(tmp_path / "bundle", name="Again", owner=study.owner)
    assert (again.recipe, again.subset) == (None, None)
    assert Pair.objects.filter(comparison__study=again).count() == Pair.objects.filter(comparison__study=study).count()
    for sha256 in Pair.objects.filter(comparison__study=again).values_list("baseline_image__sha256", flat=True):
        assert image_path(sha256).exists()
    open_study(again)


def test_its_page_counts_its_own_pairs(tmp_path: Path, client: Client) -> None:
    study = make_ready_made_study(tmp_path, make_admin("bella"), count=6, trials_per_evaluator=3, quota=4)
    assert study_context(study)["ratings_a_pair"] == 2
    client.force_login(study.owner)
    examples = client.get(reverse("console:part", args=[study.pk, "pictures"])).context["examples"]
    assert [each["member"].prompt.text for each in examples["all"]] == [
        f"a thing of kind {number}" for number in range(3)
    ]
