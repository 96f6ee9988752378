"""Scores from elsewhere: checked as a whole, stored for the study's own pictures, shown with the other metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from evenhand.errors import InputError
from evenhand.studies.models import Image, ImageScore, Study
from evenhand.studies.results.objective.report import objective_report
from evenhand.studies.score_imports import import_scores
from tests.helpers.factories import make_admin, make_ready_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    return make_ready_study(owner=make_admin("ada"))


def written(path: Path, rows: list[tuple[str, str, object]]) -> Path:
    file = path / "scores.csv"
    file.write_text("image,metric,value\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
    return file


def hashes(study: Study) -> list[str]:
    return list(
        Image.objects.filter(recipe=study.recipe, arm__isnull=False).order_by("pk").values_list("sha256", flat=True)
    )


def test_scores_go_through_the_same_tables(study: Study, tmp_path: Path) -> None:
    pictures = hashes(study)
    file = written(tmp_path, [(sha256, "ImageReward", place / 10) for place, sha256 in enumerate(pictures)])
    found = import_scores(study, file)
    assert found.stored == {"ImageReward": len(set(pictures))}
    report = objective_report(study)
    assert [each["metric"] for each in report["metrics"]] == ["ImageReward"]
    assert {each["n"] for each in report["means"]["ImageReward"]} == {12}
    assert len(report["wins"]) == 2
    assert study.events.filter(action="scores imported").exists()


def test_a_second_file_replaces_and_a_dry_run_stores_nothing(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sha256 = hashes(study)[0]
    file = written(
        tmp_path, [(sha256, "VQAScore", 0.5), ("0" * 64, "VQAScore", 0.1), (sha256.upper(), "VQAScore", 0.5)]
    )
    call_command("import_scores", study.name, str(file), "--dry-run")
    told = capsys.readouterr().out
    assert "VQAScore: 1 pictures would be stored" in told
    assert "1 of 3 rows are of pictures that are not known: line 3" in told
    assert not ImageScore.objects.exists()
    call_command("import_scores", study.name, str(file))
    import_scores(study, written(tmp_path, [(sha256, "VQAScore", 0.75)]))
    assert set(ImageScore.objects.values_list("metric", "value")) == {("VQAScore", 0.75)}


@pytest.mark.parametrize("name", ["clip:demo", "pickscore", "frechet:clip", "safety:checker", "flag:one_colour"])
def test_names_that_the_program_gives_are_refused(study: Study, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="is given by this program"):
        import_scores(study, written(tmp_path, [(hashes(study)[0], name, 0.5)]))
    assert not ImageScore.objects.exists()


def test_a_contradiction_stores_nothing(study: Study, tmp_path: Path) -> None:
    sha256 = hashes(study)[0]
    file = written(tmp_path, [(hashes(study)[1], "HPSv3", 1), (sha256, "HPSv3", 1), (sha256, "HPSv3", 2)])
    with pytest.raises(CommandError, match="line 4"):
        call_command("import_scores", study.name, str(file))
    assert not ImageScore.objects.exists()
