"""Check pairs with prompts to spare, so that they can be exchanged."""

from __future__ import annotations

from typing import Any

from evenhand.studies.models import CheckPair, Study, SubsetPrompt
from tests.helpers.factories import drawn_image, make_ready_study

SPARE = 4


def with_spare_prompts(**changes: Any) -> Study:
    """A ready study whose first subset holds the check pairs' prompts and a few more."""
    study = make_ready_study(introduction=True, practice_trials=1, attention_checks=1, **changes)
    comparison = study.comparisons.get(position=0)
    assert study.recipe is not None
    assert study.subset is not None
    used = [*study.check_pairs.order_by("number")]
    first = max(pair.worse.prompt.index for pair in used) + 1
    spare = study.prompt_set.prompts.filter(index__gte=first).order_by("index")[:SPARE]
    for prompt in spare:
        drawn_image(prompt, comparison.baseline, study.recipe)
    scored = [*(pair.prompt for pair in used), used[-1].worse.prompt, *spare]
    for k, prompt in enumerate(scored):
        SubsetPrompt.objects.create(subset=study.subset, prompt=prompt, clip_score=0.2 - 0.01 * k)
    return study


def pair_of(study: Study, number: int = 0) -> CheckPair:
    return study.check_pairs.select_related("study", "prompt", "better__prompt", "worse__prompt").get(number=number)
