"""Arms that other checkpoints draw: their names in a bundle, and their recipes in a replication."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evenhand.generation.guidance import ClassifierFree, OtherCheckpoint, SegmentationFree, fingerprint, from_dict
from evenhand.studies.arm_recipes import recipes_of
from evenhand.studies.arms import arms_of
from evenhand.studies.bundle.checkpoints import public_names
from evenhand.studies.bundle.replicating import ReplicationError, replicate
from evenhand.studies.bundle.verify_bundle import verify_path
from evenhand.studies.bundle.writing import export
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Arm, ArmRecipe, Image, Recipe, Study
from tests.helpers.bundles import sum_again
from tests.helpers.factories import make_admin, make_ready_study

pytestmark = pytest.mark.django_db

FOLDERS = ("/somewhere/ada/one/tuned", "/somewhere/ada/two/tuned")
SAME = {"scheduler": "ddim", "steps": 4, "height": 64, "width": 64, "dtype": "float32", "batch_size": 4}


@pytest.fixture
def study() -> Study:
    """One candidate by the study's checkpoint, and one guidance by two others of one last part."""
    others = tuple(OtherCheckpoint(ClassifierFree(2.0), folder) for folder in FOLDERS)
    study = make_ready_study(candidates=(SegmentationFree(5.0, opening=ClassifierFree(2.0)), *others))
    for number, other in enumerate(others):
        arm = Arm.objects.get(fingerprint=fingerprint(other))
        recipe = Recipe.objects.create(checkpoint=other.checkpoint, revision=str(number) * 64, **SAME)
        ArmRecipe.objects.create(study=study, arm=arm, recipe=recipe)
        Image.objects.filter(arm=arm).update(recipe=recipe, provenance={"checkpoint": other.checkpoint})
    return study


def drawn_by(study: Study) -> list[tuple[str, str]]:
    """The checkpoint of each arm and its revision, by the recipes of the arm's pictures; one a picture's recipe."""
    found = []
    for arm in arms_of(study):
        images = Image.objects.filter(arm=arm, prompt__prompt_set=study.prompt_set)
        [of_pictures] = set(images.values_list("recipe", flat=True))
        [(recipe, _)] = recipes_of(study, [arm]).values()
        assert recipe.pk == of_pictures
        found.append((recipe.checkpoint, recipe.revision[0]))
    return found


def provenance(bundle: Path) -> dict[str, Any]:
    return dict(json.loads((bundle / "provenance.json").read_text(encoding="utf-8")))


def test_a_replication_knows_what_drew_each_arm(study: Study, tmp_path: Path) -> None:
    export(study, tmp_path / "x")
    new = replicate(tmp_path / "x", name="Again", owner=make_admin("bella"))
    assert drawn_by(new) == drawn_by(study) == [("demo", "0"), ("demo", "0"), (FOLDERS[0], "0"), (FOLDERS[1], "1")]


def test_an_anonymous_bundle_names_arms_without_folders_and_replicates(study: Study, tmp_path: Path) -> None:
    target = tmp_path / "x"
    export(study, target, anonymous=True)
    assert verify_path(target).problems == []
    texts = [path.read_text(encoding="utf-8") for path in target.rglob("*") if path.suffix in (".json", ".jsonl")]
    assert not [text for text in texts if "/somewhere" in text]
    arms = provenance(target)["arms"]
    assert all(fingerprint(from_dict(arm["guidance"])) == arm["fingerprint"] for arm in arms)

    new = replicate(target, name="Again", owner=make_admin("bella"))
    assert drawn_by(new) == [("demo", "0"), ("demo", "0"), ("tuned", "0"), ("tuned-2", "1")]
    assert {arm["fingerprint"] for arm in arms} == {fingerprint(arm) for arm in configuration_of(new).arms}


@pytest.mark.parametrize("anonymous", [False, True])
def test_a_bundle_that_does_not_say_what_drew_an_arm_is_refused(study: Study, anonymous: bool, tmp_path: Path) -> None:
    export(study, tmp_path / "x", anonymous=anonymous)
    record = provenance(tmp_path / "x")
    for arm in record["arms"]:
        arm.pop("recipe", None)
    (tmp_path / "x" / "provenance.json").write_text(json.dumps(record), encoding="utf-8")
    sum_again(tmp_path / "x")
    assert verify_path(tmp_path / "x").problems == []
    with pytest.raises(ReplicationError, match=r"does not say by which recipe the arm “.+ by tuned” was drawn"):
        replicate(tmp_path / "x", name="Again", owner=make_admin("bella"))
    assert not Study.objects.filter(name="Again").exists()


def test_checkpoints_of_one_last_part_are_numbered() -> None:
    given = ["/one/sd", "org/sd", "/two/sd", "/one/sd", "D:\\sd"]
    assert public_names(given) == {"/one/sd": "sd", "org/sd": "org/sd", "/two/sd": "sd-2", "D:\\sd": "sd-3"}
