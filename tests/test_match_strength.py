"""Arms of equal strength: measured on the study's own prompts, written so that a plan takes them."""

from __future__ import annotations

import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from evenhand.generation.guidance import ClassifierFree, SegmentationFree, from_dict
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from tests.helpers.factories import make_draft

pytestmark = pytest.mark.django_db


def test_what_is_written_is_a_candidate_of_the_same_opening(capsys: pytest.CaptureFixture[str]) -> None:
    opening = ClassifierFree(2.0)
    study = make_draft(candidates=(SegmentationFree(5.0, switch_after=2, opening=opening), ClassifierFree(4.0)))
    call_command("match_strength", study.name, "--pictures", "3")
    lines = capsys.readouterr().out.splitlines()
    curve = [line.split() for line in lines if line.startswith("  iteration")]
    assert [int(words[1]) for words in curve] == [0, 1, 2, 3]
    assert [float(words[3]) for words in curve[:2]] == [3.0, 3.0]  # the opening's, in diffusers' convention
    written = [json.loads(line) for line in lines if line.startswith("{")]
    assert len(written) == 2  # of the mean, and per picture; classifier-free guidance matches itself
    assert (
        from_dict(written[1]).to_dict()["guidance"] == SegmentationFree(5.0, switch_after=2, opening=opening).to_dict()
    )
    control = from_dict(written[0])
    assert control.switch_iteration(4) == 2
    assert [1 + strength for strength in written[0]["strengths"]] == pytest.approx(
        [float(words[3]) for words in curve[2:]], abs=0.006
    )
    plan = StudyConfiguration.from_json(configuration_of(study).to_json())
    assert StudyConfiguration(checkpoint="demo", steps=4, candidates=(*plan.candidates, control, from_dict(written[1])))


def test_no_pictures_are_refused() -> None:
    with pytest.raises(CommandError, match="--pictures must be at least 1, not 0"):
        call_command("match_strength", make_draft().name, "--pictures", "0")
