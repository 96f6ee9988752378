"""Read what a recipe names: load a checkpoint, and refuse prompts and sizes that it cannot draw.

The libraries are imported inside the functions, because the web process imports this module and never loads torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evenhand.errors import InputError
from evenhand.generation.plan import asks_for_own_tokens, demanded_rows, negative_prompts
from evenhand.studies.arm_recipes import RecipePart, arms_by_part
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.model_roots import check_model
from evenhand.studies.models import PromptSet
from evenhand.studies.pipeline import model_cache, prompt_pool

if TYPE_CHECKING:
    from evenhand.generation.kinds.registry import Pipeline


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that is loaded: its pipeline, and the hash of its files or the hub's commit."""

    pipeline: Pipeline
    revision: str


def load(part: RecipePart) -> Loaded:
    """Load a checkpoint into this process; ``InputError`` where there is none of a known kind in an allowed place."""
    check_model(part.checkpoint)
    revision = model_cache.checkpoint_revision(part.checkpoint)
    return Loaded(model_cache.pipeline_of(part.checkpoint, revision, part.dtype), revision)


def size_of(part: RecipePart, configuration: StudyConfiguration) -> tuple[int, int]:
    """Return height and width in pixels of all the study's pictures: the plan's, else those of its own checkpoint."""
    return model_cache.image_size(load(part).pipeline, configuration)


def load_for(
    part: RecipePart, size: tuple[int, int], prompt_set: PromptSet, configuration: StudyConfiguration
) -> Loaded:
    """Load a checkpoint.

    Raises ``InputError`` for a size (height, width) that it cannot draw, steps that its scheduler does not take, and
    prompts that it cannot read.
    """
    from evenhand.generation.arguments import picture_size
    from evenhand.generation.schedule import build_scheduler

    loaded = load(part)
    try:
        build_scheduler(part.scheduler, loaded.pipeline.scheduler.config, part.steps)
    except InputError as error:
        raise InputError(f"{part.checkpoint}: {error}") from error
    try:
        picture_size(loaded.pipeline, *size)
    except InputError as error:
        raise InputError(f"{part.checkpoint}, which draws pictures of the study's size: {error}") from error
    _refuse_prompts(loaded.pipeline, prompt_set, part, configuration)
    return loaded


def _refuse_prompts(
    pipeline: Pipeline, prompt_set: PromptSet, part: RecipePart, configuration: StudyConfiguration
) -> None:
    """Refuse prompts that the model would read only in part, while evaluators read them whole.

    Refuse also those whose own tokens an arm asks for, where the checkpoint's tokenizers do not agree on them.
    """
    from evenhand.generation.text import refuse_differing_tokens, refuse_long_prompts

    texts = prompt_set.prompts.order_by("index").values_list("text", flat=True)
    refuse_long_prompts(pipeline, texts.iterator(chunk_size=prompt_pool.PROMPTS_PER_READ))
    rows = demanded_rows(arms_by_part(configuration)[part], part.steps)
    refuse_long_prompts(pipeline, negative_prompts(rows), "negative prompt")
    if asks_for_own_tokens(rows):
        refuse_differing_tokens(pipeline, texts.iterator(chunk_size=prompt_pool.PROMPTS_PER_READ))
