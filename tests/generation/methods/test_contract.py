"""What holds for every guidance method, shipped or brought by another package."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from evenhand.generation.guidance import ClassifierFree, Guidance, GuidanceError, fingerprint, methods
from evenhand.generation.methods.base import FAMILIES, read
from evenhand.generation.methods.settings import settings_of
from evenhand.generation.plan import SCHEDULERS, count_evaluations, plan
from evenhand.generation.trajectory import generate
from tests.helpers.runs import PROMPTS, SEEDS, STEPS, run
from tests.helpers.third_party import Wandering
from tests.helpers.tiny_models import tiny_pipeline

KINDS: list[type[Any]] = [*methods().values(), Wandering]
BY_NAME = {kind.method: kind for kind in KINDS}
every_method = pytest.mark.parametrize("kind", KINDS, ids=list(BY_NAME))
OPENING = ClassifierFree(3.0, "a star")


def arm(kind: type[Any], switch_after: int, **settings: object) -> Guidance:
    """An arm of the method behind a switch; classifier-free guidance has an opening only where there is a switch."""
    if kind is ClassifierFree and switch_after == 0:
        return kind(**settings)
    return kind(switch_after=switch_after, opening=OPENING, **settings)


def scheduler_of(kind: type[Guidance]) -> str:
    """One that adds noise, where the method works with it."""
    return "ddpm" if not kind.schedulers else kind.schedulers[0]


def latents_of(pipeline: StableDiffusionPipeline, guidance: Guidance, **options: object) -> np.ndarray:
    latents = run(pipeline, {"arm": guidance}, **options).latents
    assert latents is not None
    return latents["arm"]


@every_method
def test_its_settings_are_described(kind: type[Any]) -> None:
    assert dataclasses.fields(kind), "a method is a dataclass"
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind().strength = 1.0
    settings = settings_of(kind)
    assert {"strength", "switch_after", "opening"} <= set(settings)
    for name, setting in settings.items():
        assert setting.help.endswith("."), name
    assert kind.short
    assert set(kind.families) <= set(FAMILIES)
    assert kind.families
    assert set(kind.schedulers) <= set(SCHEDULERS)
    assert kind.__doc__


@every_method
def test_its_settings_survive_their_dictionary(kind: type[Any]) -> None:
    for guidance in (kind(), arm(kind, 3), arm(kind, 0, strength=0.1 + 0.2)):
        data = json.loads(json.dumps(guidance.to_dict(), allow_nan=False))
        again = read(BY_NAME, data)
        assert again == guidance
        assert hash(again) == hash(guidance)
        assert fingerprint(again) == fingerprint(guidance)
        assert guidance.label()
        assert guidance.short_name()


@every_method
def test_what_it_refuses_is_named(kind: type[Any]) -> None:
    for name, setting in settings_of(kind).items():
        wrong: list[object] = [object()]
        wrong += [setting.low - 1] if setting.low is not None else []
        wrong += [setting.high + 1] if setting.high is not None else []
        for value in wrong:
            with pytest.raises(GuidanceError, match=name):
                kind(**{name: value})
    with pytest.raises(GuidanceError, match="colour"):
        read(BY_NAME, {"method": kind.method, "colour": "red"})


@every_method
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_only_its_schedulers_are_planned(kind: type[Any], scheduler: str) -> None:
    if not kind.schedulers or scheduler in kind.schedulers:
        assert plan({"arm": kind()}, STEPS, scheduler)
    else:
        with pytest.raises(GuidanceError, match=f"{kind.method}.*{kind.schedulers[0]} alone, not '{scheduler}'"):
            plan({"arm": kind()}, STEPS, scheduler)


@every_method
def test_until_the_switch_it_is_its_opening(pipeline: StableDiffusionPipeline, kind: type[Any]) -> None:
    scheduler = scheduler_of(kind)
    late = arm(kind, STEPS)
    assert np.array_equal(
        latents_of(pipeline, late, scheduler=scheduler), latents_of(pipeline, OPENING, scheduler=scheduler)
    )
    # An arm beside its opening costs nothing until the switch.
    arms: dict[str, Guidance] = {"opening": OPENING, "arm": arm(kind, 2)}
    shared = [step.evaluations for step in plan(arms, STEPS, scheduler)]
    assert shared[:2] == [step.evaluations for step in plan({"opening": OPENING}, STEPS, scheduler)][:2]


@every_method
def test_strength_zero_is_the_plain_picture(pipeline64: StableDiffusionPipeline, kind: type[Any]) -> None:
    scheduler = scheduler_of(kind)
    zero = latents_of(pipeline64, arm(kind, 0, strength=0), scheduler=scheduler)
    plain = {"prompt": ClassifierFree(0.0), "negative prompt": ClassifierFree(-1.0)}  # n + 0·(p − n)
    expected = latents_of(pipeline64, plain[kind.at_zero], scheduler=scheduler)
    np.testing.assert_allclose(zero, expected, rtol=0, atol=1e-9)


@every_method
def test_it_changes_the_picture(pipeline: StableDiffusionPipeline, kind: type[Any]) -> None:
    scheduler = scheduler_of(kind)
    own = latents_of(pipeline, arm(kind, 1), scheduler=scheduler)
    for other in (OPENING, arm(kind, 1, strength=0), arm(kind, 2)):
        apart = np.abs(own - latents_of(pipeline, other, scheduler=scheduler)).max(axis=(1, 2, 3))
        assert (apart > 1e-3).all(), other.label()


@every_method
@pytest.mark.parametrize("threads", [1, 2])
def test_a_picture_is_the_same_alone_in_any_company_and_again(
    pipeline: StableDiffusionPipeline, kind: type[Any], threads: int
) -> None:
    """Bit for bit: other pictures, another slot, other arms, and a second run from the stored settings."""
    torch.set_num_threads(threads)
    scheduler = scheduler_of(kind)
    options: dict[str, Any] = {"steps": STEPS, "batch_size": 3, "scheduler": scheduler, "return_latents": True}
    arms = {"arm": arm(kind, 1)}
    others: dict[str, Guidance] = {
        other.method: arm(other, 1) for other in KINDS if not other.schedulers or scheduler in other.schedulers
    }
    together = generate(pipeline, ["a dog", PROMPTS[0], "the star"], [5, SEEDS[0], 6], others | arms, **options)
    alone = generate(pipeline, PROMPTS[:1], SEEDS[:1], arms, **options)
    again = generate(tiny_pipeline(), PROMPTS[:1], SEEDS[:1], {"arm": read(BY_NAME, arms["arm"].to_dict())}, **options)
    assert together.latents is not None
    assert alone.latents is not None
    assert again.latents is not None
    assert np.array_equal(alone.latents["arm"][0], together.latents["arm"][1])
    assert np.array_equal(alone.images["arm"][0], together.images["arm"][1])
    assert np.array_equal(alone.latents["arm"], again.latents["arm"])
    assert np.array_equal(alone.images["arm"], again.images["arm"])


@every_method
def test_it_works_on_stable_diffusion_xl(xl: StableDiffusionXLPipeline, kind: type[Any]) -> None:
    """Where it names the family ``unet``: it changes the picture, and the same bits come out beside its opening."""
    if "unet" not in kind.families:
        pytest.skip(f"{kind.method} names {kind.families}")
    arms: dict[str, Guidance] = {"opening": OPENING, "arm": arm(kind, 1)}
    together = run(xl, arms, scheduler=scheduler_of(kind))
    alone = run(xl, {"arm": arms["arm"]}, scheduler=scheduler_of(kind))
    assert together.latents is not None
    assert alone.latents is not None
    assert np.array_equal(together.latents["arm"], alone.latents["arm"])
    assert np.isfinite(alone.latents["arm"]).all()
    apart = np.abs(together.latents["arm"] - together.latents["opening"]).max(axis=(1, 2, 3))
    assert (apart > 1e-3).all()


@every_method
def test_its_cost_is_counted_from_its_rows(pipeline: StableDiffusionPipeline, kind: type[Any]) -> None:
    arms = {"arm": arm(kind, 1)}
    rows: list[int] = []
    hook = pipeline.unet.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    try:
        made = run(pipeline, arms, scheduler=scheduler_of(kind))
    finally:
        hook.remove()
    assert made.evaluations == count_evaluations(arms, STEPS, scheduler_of(kind), len(PROMPTS))
    assert 0 <= sum(rows) - made.evaluations < 4 * STEPS  # padding to calls of four rows
