"""A study's configuration as a value: the paper's defaults, one form for equal values, complaints field by field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenhand.generation.guidance import ClassifierFree, GuidanceError, SegmentationFree, methods
from evenhand.studies.configuration import ConfigurationError, StudyConfiguration, arm_label
from evenhand.studies.criteria import Criterion


def test_the_defaults_are_the_papers() -> None:
    paper = StudyConfiguration(checkpoint="sd15")
    assert (paper.steps, paper.subset_size, paper.per_stratum, paper.percentiles) == (20, 5000, 50, (90, 50, 10))
    assert paper.baseline == ClassifierFree(7.5)
    assert [c.scale for c in paper.candidates if isinstance(c, SegmentationFree)] == [5.0, 10.0]
    assert (paper.quota, paper.trials_per_evaluator) == (17, 30)
    assert paper.strata == {90: "high", 50: "middle", 10: "low"}


@given(
    scale=st.floats(-1e6, 1e6),
    strength=st.floats(-100, 100),
    switch=st.none() | st.integers(0, 20),
    seed=st.integers(0, 2**62),
)
def test_a_configuration_survives_its_json(scale: float, strength: float, switch: int | None, seed: int) -> None:
    candidate = SegmentationFree(scale, strength, switch, ClassifierFree(3.0, "fog"), heads="per_head", tokens="prompt")
    one = StudyConfiguration(checkpoint="demo", seed=seed, candidates=(candidate,))
    other = StudyConfiguration.from_json(one.to_json())
    assert other == one
    assert other.sha256 == one.sha256


def test_equal_values_have_one_hash_and_different_ones_another() -> None:
    assert (
        StudyConfiguration(checkpoint="demo", baseline=ClassifierFree(7)).sha256
        == StudyConfiguration(checkpoint="demo", baseline=ClassifierFree(7.0)).sha256
    )
    assert StudyConfiguration(checkpoint="demo").sha256 != StudyConfiguration(checkpoint="demo", quota=18).sha256


def test_the_json_is_canonical() -> None:
    text = StudyConfiguration(checkpoint="demo").to_json()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"checkpoint": " "}, "checkpoint"),
        ({"scheduler": "heun"}, "scheduler"),
        ({"dtype": "int8"}, "dtype"),
        ({"steps": 0}, "steps"),
        ({"subset_size": 1}, "subset_size"),
        ({"curve_sizes": (1, 50)}, "curve_sizes"),
        ({"curve_draws": 0}, "curve_draws"),
        ({"seed": -1}, "seed"),
        ({"percentiles": (90, 90)}, "percentiles"),
        ({"percentiles": (101,)}, "percentiles"),
        ({"percentiles": ()}, "percentiles"),
        ({"candidates": ()}, "candidates"),
        ({"candidates": (ClassifierFree(7.5),)}, "candidates"),
        ({"candidates": (SegmentationFree(5), SegmentationFree(5.0))}, "candidates"),
        ({"candidates": (SegmentationFree(5, switch_after=21),)}, "candidates"),
        ({"scheduler": "euler", "candidates": (methods()["classifier_free_plus_plus"](),)}, "candidates"),
        ({"scheduler": "euler", "baseline": methods()["classifier_free_plus_plus"]()}, "baseline"),
        ({"baseline": SegmentationFree(5, switch_after=21)}, "baseline"),
        ({"quota": 0}, "quota"),
        ({"criteria": (Criterion(options=("better", "worse")),)}, "criteria"),
    ],
)
def test_what_cannot_be_used_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        StudyConfiguration(**({"checkpoint": "demo"} | change))
    assert set(caught.value.errors) == {field}


def test_a_strength_that_is_not_finite_is_refused_before_it_gets_here() -> None:
    with pytest.raises(GuidanceError, match=r"strength.*nan"):
        StudyConfiguration(checkpoint="demo", baseline=ClassifierFree(float("nan")))


def test_labels_show_both_conventions_of_the_strength() -> None:
    assert arm_label(ClassifierFree(7.5)) == "CFG w=7.5 (diffusers 8.5)"
    assert arm_label(ClassifierFree(7.5, "a dog")) == "CFG w=7.5 (diffusers 8.5), not “a dog”"
    assert arm_label(SegmentationFree(10)) == "SFG a=10, w̄=2.5, after T/2"
    assert arm_label(SegmentationFree(5, switch_after=1, heads="per_head")) == "SFG a=5, w̄=2.5, after 1, per head"


def test_every_method_may_be_an_arm() -> None:
    kinds: list[Any] = list(methods().values())
    arms = tuple(kind(switch_after=3, opening=ClassifierFree(2.0)) for kind in kinds)
    study = StudyConfiguration(checkpoint="demo", candidates=arms)
    again = StudyConfiguration.from_json(study.to_json())
    assert again == study
    assert again.sha256 == study.sha256
    assert len({arm_label(arm) for arm in arms}) == len(arms)
    assert all(arm_label(arm).endswith("after 3") for arm in arms)
