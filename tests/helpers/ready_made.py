"""Studies of ready-made pairs, from pictures of noise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User

from evenhand.studies.models import PromptSet, Study
from evenhand.studies.uploaded.bringing import files_of
from evenhand.studies.uploaded.collection import Collection, Matching, look_through, plan_of
from evenhand.studies.uploaded.plan import Choices, Plan
from evenhand.studies.uploaded.procedures import changed, plain_procedure
from evenhand.studies.uploaded.taking import take
from tests.helpers.pictures import pairs_table, two_arms, written

SMALL = {"trials_per_evaluator": 4, "quota": 3}


def planned(
    folder: Path,
    files: Mapping[str, bytes],
    prompt_set: PromptSet | None = None,
    choices: Choices | None = None,
    matching: Matching | None = None,
    **settings: Any,
) -> tuple[Plan, Collection]:
    """Look through files in a folder and plan pairs of them."""
    written(folder / "brought", files)
    collection = look_through(files_of([folder / "brought"], folder), most=1000)
    configuration = changed(plain_procedure(), **(SMALL | settings))
    return plan_of(collection, matching or Matching(prompt_set), configuration, choices), collection


def make_ready_made_study(folder: Path, owner: User, count: int = 8, name: str = "Fruit", **settings: Any) -> Study:
    """A study of pairs of a table, ready to open."""
    files = two_arms(count) | {"pairs.csv": pairs_table(count)}
    plan, collection = planned(folder, files, choices=Choices(hold_out=True), **settings)
    return take(plan, collection.pictures, name=name, owner=owner)
