"""Find the kind of a pipeline, or of a checkpoint by the class that its index names."""

from __future__ import annotations

from typing import TypeAlias

from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from evenhand.errors import InputError
from evenhand.generation.kinds.base import Kind
from evenhand.generation.kinds.stable_diffusion import StableDiffusion
from evenhand.generation.kinds.stable_diffusion_xl import StableDiffusionXL

KINDS: tuple[type[Kind], ...] = (StableDiffusion, StableDiffusionXL)
NAMES = " or ".join(kind.class_names[0] for kind in KINDS)
Pipeline: TypeAlias = StableDiffusionPipeline | StableDiffusionXLPipeline


def kind_of(pipeline: Pipeline) -> Kind:
    """Return the pipeline as its kind. Raises InputError for a class that is none, or a part that is missing."""
    for kind in KINDS:
        if isinstance(pipeline, kind.pipeline_class):
            missing = [part for part in kind.parts if getattr(pipeline, part) is None]
            if missing:
                raise InputError(f"the {type(pipeline).__name__} has no {', '.join(missing)}")
            return kind(pipeline)
    raise InputError(f"the pipeline must be a {NAMES}, not a {type(pipeline).__name__}")


def kind_named(class_name: object) -> type[Kind] | None:
    """Return the kind of checkpoints whose index names this class; None where there is none."""
    return next((kind for kind in KINDS if class_name in kind.class_names), None)
