"""What a page may tell of the display beside an answer."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from evenhand.studies.rating.forms import DISPLAY, AnswerForm


def form_of(**told: str) -> AnswerForm:
    return AnswerForm({"trial": str(uuid.uuid4()), "key": str(uuid.uuid4()), "choice": "1", **told})


def test_everything_that_is_told_is_kept() -> None:
    told = {
        "hidden_ms": "1200", "device_pixel_ratio": "1.25", "viewport_width": "1024", "viewport_height": "700",
        "picture_width": "409.6", "picture_height": "409.6", "picture_width_device": "512",
        "picture_height_device": "512", "layout": "side", "zoomed": "true", "flipped": "false", "pointer": "touch",
    }  # fmt: skip
    form = form_of(**told)
    assert form.is_valid()
    kept = form.viewport()
    assert list(kept) == list(DISPLAY) == list(told)
    assert kept == {
        "hidden_ms": 1200, "device_pixel_ratio": 1.25, "viewport_width": 1024, "viewport_height": 700,
        "picture_width": 409.6, "picture_height": 409.6, "picture_width_device": 512, "picture_height_device": 512,
        "layout": "side", "zoomed": True, "flipped": False, "pointer": "touch",
    }  # fmt: skip


def test_what_is_not_told_is_not_there() -> None:
    form = form_of(hidden_ms="0", zoomed="", pointer="")
    assert form.is_valid()
    assert form.viewport() == {"hidden_ms": 0}


def test_an_unknown_pointer_or_layout_is_dropped_and_the_answer_taken() -> None:
    form = form_of(pointer="=1+1", layout="heap")
    assert form.is_valid()
    assert form.viewport() == {}


@pytest.mark.parametrize(
    "told",
    [{"device_pixel_ratio": "nan"}, {"picture_width": "inf"}, {"picture_width_device": "-1"}, {"hidden_ms": "x"}],
)
def test_what_is_no_measure_is_refused(told: dict[str, Any]) -> None:
    form = form_of(**told)
    assert not form.is_valid()
    assert next(iter(told)) in form.problems()
