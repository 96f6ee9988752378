"""Which pictures are made again, and from which checkpoints."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from evenhand.errors import InputError
from evenhand.studies.bundle import remaking
from evenhand.studies.bundle.verify_bundle import Bundle, open_bundle
from evenhand.studies.models import Recipe, Study

pytestmark = pytest.mark.django_db


@pytest.fixture
def opened(bundle: Path) -> Bundle:
    return open_bundle(bundle)


def row(checkpoint: str, opened: Bundle) -> dict[str, Any]:
    """A record of a picture that says it was made by a checkpoint."""
    [chosen], _ = remaking.choice(opened, remaking.Share(count=1), seed=1)
    return chosen | {"provenance": {"checkpoint": checkpoint, "revision": "1" * 64}}


def test_a_choice_is_its_seeds(opened: Bundle) -> None:
    one, of = remaking.choice(opened, remaking.Share(0.2), seed=5)
    again, _ = remaking.choice(opened, remaking.Share(0.2), seed=5)
    assert one == again
    assert (len(one), of) == (9, 43)
    others = {tuple(r["image"] for r in remaking.choice(opened, remaking.Share(0.2), seed)[0]) for seed in range(8)}
    assert len(others) == 8
    whole, _ = remaking.choice(opened, remaking.Share(1.0), seed=random.randrange(100))
    assert len({r["image"] for r in whole}) == 43


def test_a_strangers_checkpoint_is_not_loaded_unasked(opened: Bundle) -> None:
    stranger = row("somebody/elses-model", opened)
    with pytest.raises(InputError, match="say --checkpoint somebody/elses-model if you trust it"):
        list(remaking.remade(opened, [stranger]))
    recipe = {"scheduler": "ddim", "steps": 4, "height": 64, "width": 64, "dtype": "float32", "batch_size": 4}
    Recipe.objects.create(checkpoint="somebody/elses-model", revision="2" * 64, **recipe)
    with pytest.raises(InputError, match="made no study’s pictures here"):  # another revision is another checkpoint
        list(remaking.remade(opened, [stranger]))
    Recipe.objects.create(checkpoint="somebody/elses-model", revision="1" * 64, **recipe)
    [outcome] = remaking.remade(opened, [stranger])
    assert "its record lacks prompt" in outcome.problem  # it is looked at, and says too little


def test_pictures_without_a_record_are_problems(study: Study, bundle: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(CommandError, match="2 problems"):
        call_command("verify_bundle", str(bundle), remake="2", seed=3)
    said = capsys.readouterr()
    assert "choice of pictures  seed 3" in said.out
    assert "2 of 43 generated pictures were made again: 0 with equal bytes" in said.out
    assert said.err.count("cannot be made again: its record lacks prompt") == 2
