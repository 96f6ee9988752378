"""Which pipelines pictures are generated with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from evenhand.errors import InputError
from evenhand.generation.guidance import ClassifierFree
from evenhand.generation.kinds.registry import KINDS, kind_named, kind_of
from evenhand.generation.kinds.stable_diffusion import StableDiffusion
from evenhand.generation.kinds.stable_diffusion_xl import StableDiffusionXL
from evenhand.generation.methods.base import FAMILIES
from evenhand.generation.pipeline import SegmentationFreeStableDiffusionPipeline
from evenhand.generation.trajectory import generate
from tests.helpers.tiny_models import tiny_xl_pipeline


def test_a_pipeline_has_its_kind(pipeline: StableDiffusionPipeline, xl: StableDiffusionXLPipeline) -> None:
    assert isinstance(kind_of(pipeline), StableDiffusion)
    assert isinstance(kind_of(xl), StableDiffusionXL)
    guided = SegmentationFreeStableDiffusionPipeline(**pipeline.components, requires_safety_checker=False)
    assert isinstance(kind_of(guided), StableDiffusion)
    assert {kind.family for kind in KINDS} <= set(FAMILIES)
    for kind in KINDS:
        assert all(kind_named(name) is kind for name in kind.class_names)
    assert kind_named("StableDiffusion3Pipeline") is None
    assert kind_named(None) is None


def test_another_pipeline_is_refused_by_its_class() -> None:
    other: Any = SimpleNamespace()
    with pytest.raises(InputError, match=r"must be a StableDiffusionPipeline or Stable.*XLPipeline, not a Simple"):
        generate(other, ["a dog"], [1], {"cfg": ClassifierFree()})


def test_a_pipeline_without_a_part_is_refused_by_its_name() -> None:
    pipeline = tiny_xl_pipeline()
    pipeline.text_encoder = pipeline.tokenizer = None
    with pytest.raises(InputError, match="StableDiffusionXLPipeline has no text_encoder, tokenizer"):
        generate(pipeline, ["a dog"], [1], {"cfg": ClassifierFree()})
