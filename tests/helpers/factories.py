"""Records for tests: named people, small prompt sets, studies in any state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission, User

from evenhand.demo.scenes import built_in_prompts
from evenhand.generation.guidance import ClassifierFree, SegmentationFree, fingerprint
from evenhand.generation.images import encode_png
from evenhand.sampling.prompts import prompts_sha256
from evenhand.studies.check_pairs import fault_of, uses
from evenhand.studies.configuration import StudyConfiguration, arm_label
from evenhand.studies.drafts import create_study
from evenhand.studies.image_store import store_image
from evenhand.studies.models import (
    Arm,
    CheckPair,
    Comparison,
    Image,
    Membership,
    Pair,
    Prompt,
    PromptSet,
    PromptSubset,
    Recipe,
    Study,
    SubsetPrompt,
)


def make_admin(username: str = "ada") -> User:
    """A study admin, who may create studies."""
    user = get_user_model().objects.create_user(username=username, password="a long password", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="add_study", content_type__app_label="studies"))
    return user


def make_member(study: Study, role: str, username: str | None = None) -> User:
    """Somebody with a role in a study, who may not create studies."""
    user = get_user_model().objects.create_user(username=username or role, password="a long password")
    Membership.objects.create(study=study, user=user, role=role)
    return user


def make_prompt_set(count: int = 60, name: str = "Scenes") -> PromptSet:
    """``count`` scene captions."""
    texts = built_in_prompts(count)
    prompt_set = PromptSet.objects.create(name=name, source="tests", sha256=prompts_sha256(texts), count=count)
    Prompt.objects.bulk_create(Prompt(prompt_set=prompt_set, index=i, text=text) for i, text in enumerate(texts))
    return prompt_set


def small_configuration(**changes: Any) -> StudyConfiguration:
    """A study of the demo model that takes seconds: 24 scored prompts, 12 final ones, 4 steps."""
    settings: dict[str, Any] = {
        "checkpoint": "demo",
        "steps": 4,
        "subset_size": 24,
        "per_stratum": 4,
        "curve_sizes": (8, 24, 48),
        "curve_draws": 3,
        "batch_size": 4,
        "baseline": ClassifierFree(2.0),
        "candidates": (
            SegmentationFree(5.0, opening=ClassifierFree(2.0)),
            SegmentationFree(10.0, opening=ClassifierFree(2.0)),
        ),
        "trials_per_evaluator": 12,
        "quota": 4,
    }
    return StudyConfiguration(**(settings | changes))


def make_draft(owner: User | None = None, name: str = "Shapes", **changes: Any) -> Study:
    """A draft over a prompt set of its own."""
    configuration = small_configuration(**changes)
    needed = 3 * configuration.per_stratum + configuration.checks_needed + 1
    prompt_set = make_prompt_set(max(60, needed), name=f"Scenes of {name}")
    owner = owner or make_admin(f"owner-of-{name}".lower().replace(" ", "-"))
    return create_study(owner=owner, name=name, prompt_set=prompt_set, configuration=configuration)


def flat_colour(prompt: Prompt, arm: Arm) -> np.ndarray:
    """A 64×64 picture of one colour, different for each prompt and arm; row numbers would depend on earlier tests."""
    of_arm = hashlib.sha256(arm.fingerprint.encode()).digest()[0]
    colour = np.array([(37 * prompt.index) % 256, of_arm, 128], np.uint8)
    return np.broadcast_to(colour, (64, 64, 3)).copy()


def make_ready_study(
    owner: User | None = None,
    name: str = "Shapes",
    draw: Callable[[Prompt, Arm], np.ndarray] = flat_colour,
    **changes: Any,
) -> Study:
    """A study with pairs, ready to open. Its pictures are flat colours: nothing was generated."""
    study = make_draft(owner, name, **changes)
    configuration = small_configuration(**changes)
    study.recipe = Recipe.objects.get_or_create(
        checkpoint="demo",
        revision="0" * 64,
        scheduler="ddim",
        steps=4,
        height=64,
        width=64,
        dtype="float32",
        batch_size=4,
    )[0]
    study.subset = PromptSubset.objects.create(
        prompt_set=study.prompt_set, encoder="demo", size=24, seed=0, percentiles=[90, 50, 10], per_stratum=4
    )
    arms = [
        Arm.objects.get_or_create(
            fingerprint=fingerprint(g), defaults={"label": arm_label(g), "guidance": g.to_dict()}
        )[0]
        for g in configuration.arms
    ]
    prompts = list(study.prompt_set.prompts.order_by("index")[: 3 * configuration.per_stratum])
    for k, prompt in enumerate(prompts):
        stratum = ("high", "middle", "low")[k // configuration.per_stratum]
        SubsetPrompt.objects.create(subset=study.subset, prompt=prompt, clip_score=0.3 - 0.001 * k, stratum=stratum)
    images = {(arm.pk, prompt.pk): drawn_image(prompt, arm, study.recipe, draw) for arm in arms for prompt in prompts}
    for position, (first, second) in enumerate(configuration.compared):
        comparison = Comparison.objects.create(
            study=study, position=position, baseline=arms[first], candidate=arms[second]
        )
        Pair.objects.bulk_create(
            Pair(
                comparison=comparison,
                prompt=prompt,
                stratum=("high", "middle", "low")[k // configuration.per_stratum],
                baseline_image=images[arms[first].pk, prompt.pk],
                candidate_image=images[arms[second].pk, prompt.pk],
            )
            for k, prompt in enumerate(prompts)
        )
    make_check_pairs(study, configuration, arms[0], draw)
    study.state = Study.State.READY
    study.save()
    return study


def make_check_pairs(
    study: Study, configuration: StudyConfiguration, arm: Arm, draw: Callable[[Prompt, Arm], np.ndarray] = flat_colour
) -> None:
    """The check pairs that a configuration wants, of prompts outside the final subset."""
    assert study.recipe is not None
    first = 3 * configuration.per_stratum
    outside = study.prompt_set.prompts.order_by("index")[first : first + 1 + configuration.checks_needed]
    images = [drawn_image(prompt, arm, study.recipe, draw) for prompt in outside]
    for number, use in enumerate(uses(configuration)):
        CheckPair.objects.create(
            study=study,
            number=number,
            use=use,
            fault=fault_of(number, use, configuration) if len(configuration.criteria) > 1 else "other_prompt",
            prompt=images[number].prompt,
            better=images[number],
            worse=images[number + 1],
        )


def drawn_image(
    prompt: Prompt, arm: Arm, recipe: Recipe, draw: Callable[[Prompt, Arm], np.ndarray] = flat_colour
) -> Image:
    """A picture and its record."""
    pixels = draw(prompt, arm)
    return Image.objects.create(
        prompt=prompt,
        arm=arm,
        recipe=recipe,
        seed=prompt.index,
        state="done",
        sha256=store_image(encode_png(pixels)),
        width=pixels.shape[1],
        height=pixels.shape[0],
    )
