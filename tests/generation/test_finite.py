"""Pictures that are not finite are refused in words, before any of them is stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from evenhand.generation.finite import NotFiniteError
from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree
from tests.helpers.runs import CFG, PROMPTS, STEPS, run
from tests.helpers.tiny_models import tiny_pipeline

TOO_STRONG = ClassifierFree(1e39, first=2)  # beyond the range of float32 from iteration 2 on
ARMS: dict[str, Guidance] = {"plain": CFG, "strong": TOO_STRONG, "SFG": SegmentationFree(switch_after=1)}


def message_of(pipeline: StableDiffusionPipeline, arms: dict[str, Guidance], **options: object) -> str:
    """The refusal of a run; no picture of it may have been handed on."""
    handed_on: list[Any] = []
    with pytest.raises(NotFiniteError) as error:
        run(pipeline, arms, on_picture=lambda *picture: handed_on.append(picture), **options)
    assert not handed_on
    return str(error.value)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm_solver", "pndm"])
def test_latents_are_told_by_arm_iteration_and_precision(pipeline: StableDiffusionPipeline, scheduler: str) -> None:
    message = message_of(pipeline, ARMS, scheduler=scheduler)
    assert message == (
        f"{TOO_STRONG.label()}: the picture of “{PROMPTS[0]}” and 1 more is not finite from iteration 2 of 0…3 on,"
        " in float32; a strength may be too large, or the checkpoint's weights damaged"
    )
    run(pipeline, {name: arm for name, arm in ARMS.items() if name != "strong"}, scheduler=scheduler)


def test_a_network_that_overflows_float16_is_told_what_helps() -> None:
    pipeline = tiny_pipeline(torch.float16)
    pipeline.unet.conv_out.bias.data.fill_(6e4)  # finite, but a guided prediction doubles it and more
    message = message_of(pipeline, {"CFG": CFG})
    assert "not finite from iteration 0 of 0…3 on, in float16; float16 ends at 65504" in message
    assert message.endswith("choose the precision bfloat16 or float32")
    pipeline = tiny_pipeline(torch.bfloat16)
    pipeline.unet.conv_out.bias.data.fill_(6e4)
    assert run(pipeline, {"CFG": CFG}).images["CFG"].shape == (2, 16, 16, 3)


def test_a_network_without_numbers_is_told() -> None:
    pipeline = tiny_pipeline()
    pipeline.unet.conv_in.bias.data.fill_(float("nan"))
    assert "from iteration 0 of 0…3 on" in message_of(pipeline, ARMS)


@pytest.mark.parametrize(
    ("dtype", "way_out"), [(torch.float16, "whose VAE is made for it"), (torch.float32, "VAE may")]
)
def test_a_vae_that_overflows_is_told(dtype: torch.dtype, way_out: str) -> None:
    pipeline = tiny_pipeline(dtype)
    pipeline.vae.decoder.conv_out.bias.data[0] = float("inf")
    message = message_of(pipeline, {"CFG": CFG, "same": CFG, "SFG": ARMS["SFG"]})
    assert f"{CFG.label()} (and 1 more): the picture of “{PROMPTS[0]}” and 1 more is not finite once the VAE" in message
    assert way_out in message


def test_a_prompt_s_own_overflow_is_named(pipeline: StableDiffusionPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """One picture of a batch is enough, and a long prompt is cut."""
    decode = pipeline.vae.decode

    def overflow_in_the_last(latents: torch.Tensor, **options: Any) -> tuple[torch.Tensor]:
        decoded = decode(latents, **options)[0].clone()
        decoded[-1, 0, 0, 0] = float("nan")
        return (decoded,)

    monkeypatch.setattr(pipeline.vae, "decode", overflow_in_the_last)
    assert f"“{PROMPTS[1]}” is not finite once" in message_of(pipeline, {"CFG": CFG})


def test_what_is_not_finite_in_between_only_is_told_too(pipeline: StableDiffusionPipeline) -> None:
    """A prediction of the network shows in the latents of the same iteration."""
    calls = iter(range(STEPS))

    def poison(_module: Any, _args: Any, output: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (output[0] * (np.inf if next(calls) == 1 else 1),)

    hook = pipeline.unet.register_forward_hook(poison)
    try:
        assert "from iteration 1 of 0…3 on" in message_of(pipeline, {"CFG": CFG})
    finally:
        hook.remove()
