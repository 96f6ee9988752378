from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenhand.generation.guidance import (
    ClassifierFree,
    GuidanceError,
    SegmentationFree,
    combine,
    fingerprint,
    from_dict,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
classifier_free = st.builds(ClassifierFree, strength=finite, negative_prompt=texts)
segmentation_free = st.builds(
    SegmentationFree,
    scale=finite,
    strength=finite,
    switch_after=st.none() | st.integers(0, 1000),
    opening=classifier_free,
    heads=st.sampled_from(["mean", "per_head"]),
    tokens=st.sampled_from(["all", "prompt"]),
)


def test_defaults_are_the_papers() -> None:
    guidance = SegmentationFree()
    assert (guidance.scale, guidance.strength, guidance.switch_after) == (10.0, 2.5, None)
    assert guidance.opening == ClassifierFree(7.5, "")
    assert (guidance.heads, guidance.tokens) == ("mean", "all")


def test_the_papers_strength_is_one_less_than_diffusers() -> None:
    assert ClassifierFree(7.5).diffusers_scale == 8.5
    assert SegmentationFree(strength=2.5).diffusers_scale == 3.5


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, "7.5", None, True, pytest.param(10**400, id="10**400"), 1j]
)
@pytest.mark.parametrize("field", ["strength", "scale"])
def test_strengths_must_be_finite_numbers(field: str, value: object) -> None:
    kind: type[Any] = SegmentationFree if field == "scale" else ClassifierFree
    with pytest.raises(GuidanceError, match=field) as caught:
        kind(**{field: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", [-1, 2.5, True, "3", math.inf])
def test_switch_after_must_be_a_whole_number(value: object) -> None:
    with pytest.raises(GuidanceError, match=r"switch_after.*not " + str(repr(value)).replace(".", r"\.")):
        SegmentationFree(switch_after=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"), [("heads", "max"), ("tokens", "some"), ("heads", ["mean"]), ("opening", 7.5)]
)
def test_names_are_checked(field: str, value: object) -> None:
    with pytest.raises(GuidanceError, match=field):
        SegmentationFree(**{field: value})  # type: ignore[arg-type]


def test_negative_prompt_must_be_a_text() -> None:
    with pytest.raises(GuidanceError, match=r"negative_prompt.*None"):
        ClassifierFree(negative_prompt=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        {"method": "classifier_free", "negative_prompt": "a \ud800 cat"},
        {"method": "classifier_free", "negative_prompt": "a \0 cat"},
        {"method": "perturbed_attention", "layers": ["up_blocks", "\udfff"]},
        {"method": "uploaded", "name": "\ud800"},
    ],
)
def test_texts_that_no_file_and_no_database_holds_are_refused(data: dict[str, object]) -> None:
    """JSON can write both: half of a surrogate pair, and NUL."""
    with pytest.raises(GuidanceError, match=r"must (be Unicode text|hold no NUL)") as caught:
        from_dict(data)
    assert str(caught.value).encode()


@pytest.mark.parametrize(("steps", "expected"), [(20, 10), (21, 10), (1, 0)])
def test_the_default_switch_is_half_the_steps(steps: int, expected: int) -> None:
    assert SegmentationFree().switch_iteration(steps) == expected


def test_a_switch_beyond_the_steps_is_refused() -> None:
    assert SegmentationFree(switch_after=20).switch_iteration(20) == 20
    with pytest.raises(GuidanceError, match=r"switch_after must lie in 0…20 .*not 21"):
        SegmentationFree(switch_after=21).switch_iteration(20)


@given(classifier_free | segmentation_free)
def test_settings_survive_their_dictionary(guidance: ClassifierFree | SegmentationFree) -> None:
    again = from_dict(guidance.to_dict())
    assert again == guidance
    assert fingerprint(again) == fingerprint(guidance)


def test_numerically_equal_settings_have_one_fingerprint() -> None:
    equal: list[tuple[Any, Any, Any]] = [
        (10, 5, 7.5),
        (10.0, 5.0, np.float64(7.5)),
        (np.int64(10), np.int32(5), Fraction(15, 2)),
    ]
    names = {
        fingerprint(SegmentationFree(scale=scale, switch_after=switch, opening=ClassifierFree(opening)))
        for scale, switch, opening in equal
    }
    assert len(names) == 1
    assert fingerprint(SegmentationFree(scale=-0.0)) == fingerprint(SegmentationFree(scale=0))


@given(segmentation_free, segmentation_free)
def test_different_settings_have_different_fingerprints(one: SegmentationFree, other: SegmentationFree) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (one == other)


def test_the_methods_differ_in_their_fingerprint() -> None:
    assert fingerprint(ClassifierFree()) != fingerprint(SegmentationFree())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "method must be one of"),
        ({"method": "free"}, "method.*'free'"),
        ({"method": ["classifier_free"]}, "method"),
        ({"method": "classifier_free", "scale": 1}, "classifier_free has no field 'scale'"),
        ({"method": "segmentation_free", "scale": "ten"}, "scale.*'ten'"),
        ({"method": "segmentation_free", "opening": {"method": "segmentation_free"}}, "opening must be"),
        ([("method", "classifier_free")], "must be an object"),
    ],
)
def test_dictionaries_are_checked(data: object, message: str) -> None:
    with pytest.raises(GuidanceError, match=message):
        from_dict(data)  # type: ignore[arg-type]


def test_fields_left_out_take_their_defaults() -> None:
    assert from_dict({"method": "segmentation_free", "scale": 5}) == SegmentationFree(5.0)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(-50, 50))
def test_combine_is_equation_4(negative: float, positive: float, w: float) -> None:
    assert combine(negative, positive, w) == pytest.approx((1 + w) * positive - w * negative, rel=1e-9, abs=1e-6)


def test_combine_of_equal_predictions_is_the_prediction() -> None:
    prediction = np.linspace(-3, 3, 7)
    assert (combine(prediction, prediction, 2.5) == prediction).all()


def test_the_web_process_may_import_it() -> None:
    code = "import sys, generation.guidance, generation.plan; print('torch' in sys.modules, 'numpy' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "False"]
