"""Segmentation-free guidance written out slowly: method §1 line by line, one arm and one picture at a time.

Shares no code with ``generation``: explicit softmax, explicit loops over heads and patches, a stock diffusers
scheduler, one network call for each prediction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from diffusers.models.attention_processor import Attention, AttnProcessor2_0


@dataclass(frozen=True)
class Arm:
    """w, negative prompt, and for segmentation-free guidance a, w̄, t_s; ``scale`` None: classifier-free throughout."""

    strength: float = 7.5
    negative_prompt: str = ""
    scale: float | None = None
    sfg_strength: float = 2.5
    switch_after: int = 10
    per_head: bool = False
    own_tokens: bool = False


class SlowAttention:
    """Cross-attention with the loops of eq. 9 and 10; plain where ``scale`` is None. Keeps the tokens it chose."""

    def __init__(self) -> None:
        self.scale: float | None = None
        self.per_head = False
        self.stop = 0  # tokens 0 < i < stop may be chosen
        self.chosen: list[np.ndarray] = []

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        assert encoder_hidden_states is not None  # it stands in cross-attention only
        query, key, value = (
            projection(states)[0].numpy().reshape(states.shape[1], attn.heads, -1)
            for projection, states in (
                (attn.to_q, hidden_states),
                (attn.to_k, encoder_hidden_states),
                (attn.to_v, encoder_hidden_states),
            )
        )
        patches, heads, width = query.shape
        output = np.zeros_like(query)
        tokens = np.zeros((heads, patches), dtype=int)
        for patch in range(patches):
            weights = np.stack([softmax(key[:, head] @ query[patch, head] / width**0.5) for head in range(heads)])
            if self.scale is not None:
                tokens[:, patch] = semantic_tokens(weights, self.stop, self.per_head)
                for head in range(heads):
                    weights[head, tokens[head, patch]] *= -self.scale
            for head in range(heads):
                output[patch, head] = weights[head] @ value[:, head]
        self.chosen.append(tokens)
        merged = torch.from_numpy(output.reshape(1, patches, heads * width))
        return attn.to_out[0](merged)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def semantic_tokens(weights: np.ndarray, stop: int, per_head: bool) -> list[int]:
    """Eq. 9 for one patch: the token of each head, from weights (heads, tokens)."""
    scores = weights if per_head else np.repeat(weights.mean(axis=0, keepdims=True), len(weights), axis=0)
    return [max(range(1, stop), key=lambda token: row[token]) for row in scores]


def scheduler_of(name: str, config: dict[str, Any]) -> Any:
    """The stock scheduler with the settings of method §1.8."""
    if name == "ddim":
        return DDIMScheduler.from_config(
            config, set_alpha_to_one=True, steps_offset=1, timestep_spacing="leading", clip_sample=False
        )
    if name == "pndm":
        return PNDMScheduler.from_config(config, skip_prk_steps=True)
    return {
        "ddpm": DDPMScheduler,
        "dpm_solver": DPMSolverMultistepScheduler,
        "euler": EulerDiscreteScheduler,
    }[name].from_config(config)


def noise_of(seed: int, number: int, shape: Sequence[int]) -> torch.Tensor:
    """Float32 noise of (seed, number): number 0 from the seed itself, later ones from SHA-256 of "seed:number"."""
    if number:
        seed = int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:8], "big") % 2**63
    return torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed))


def ddpm_mean_and_noise(
    scheduler: DDPMScheduler, prediction: torch.Tensor, t: torch.Tensor, latents: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Ho et al. 2020, eq. 6 and 7, from the scheduler's table: posterior mean, plus its spread times noise."""
    index = int((scheduler.timesteps == t).nonzero()[0])
    previous = int(scheduler.timesteps[index + 1]) if index + 1 < len(scheduler.timesteps) else -1
    bar = scheduler.alphas_cumprod[t]
    bar_previous = scheduler.alphas_cumprod[previous] if previous >= 0 else torch.tensor(1.0)
    alpha = bar / bar_previous
    x0 = (latents - (1 - bar) ** 0.5 * prediction) / bar**0.5
    mean = bar_previous**0.5 * (1 - alpha) / (1 - bar) * x0 + alpha**0.5 * (1 - bar_previous) / (1 - bar) * latents
    variance = ((1 - bar_previous) / (1 - bar) * (1 - alpha)).clamp(min=1e-20)
    return mean + (variance**0.5 * noise if int(t) > 0 else 0.0)


def inputs_of(pipeline: StableDiffusionPipeline | StableDiffusionXLPipeline, text: str) -> dict[str, Any]:
    """What the network gets beside latents and timestep, for one picture of the checkpoint's own size."""
    if isinstance(pipeline, StableDiffusionPipeline):
        return {"encoder_hidden_states": pipeline.encode_prompt([text], "cpu", 1, False)[0]}
    states, pooled = [], torch.empty(0)
    for tokenizer, encoder in (
        (pipeline.tokenizer, pipeline.text_encoder),
        (pipeline.tokenizer_2, pipeline.text_encoder_2),
    ):
        ids = tokenizer(text, padding="max_length", truncation=True, return_tensors="pt").input_ids
        output = encoder(ids, output_hidden_states=True)
        states.append(output.hidden_states[len(output.hidden_states) - 2])
        pooled = output[0]
    both = torch.cat(states, dim=2)
    if text == "" and pipeline.config["force_zeros_for_empty_prompt"]:
        both, pooled = both * 0.0, pooled * 0.0
    side = float(pipeline.unet.config.sample_size * pipeline.vae_scale_factor)
    numbers = torch.tensor([[side, side, 0.0, 0.0, side, side]], dtype=both.dtype)
    return {"encoder_hidden_states": both, "added_cond_kwargs": {"text_embeds": pooled, "time_ids": numbers}}


@torch.no_grad()
def reference_latents(
    pipeline: StableDiffusionPipeline | StableDiffusionXLPipeline,
    prompt: str,
    seed: int,
    arm: Arm,
    *,
    steps: int,
    scheduler: str,
) -> tuple[torch.Tensor, list[np.ndarray]]:
    """Final latents (C, h, w) of one picture, and the tokens (heads, patches) that each ε̄ chose, in call order."""
    unet = pipeline.unet
    before = dict(unet.attn_processors)
    slow = SlowAttention()
    unet.set_attn_processor({name: slow if "attn2" in name else AttnProcessor2_0() for name in before})
    try:
        return _denoised(pipeline, slow, prompt, seed, arm, steps, scheduler)
    finally:
        unet.set_attn_processor(before)


def _denoised(
    pipeline: StableDiffusionPipeline | StableDiffusionXLPipeline,
    slow: SlowAttention,
    prompt: str,
    seed: int,
    arm: Arm,
    steps: int,
    scheduler_name: str,
) -> tuple[torch.Tensor, list[np.ndarray]]:
    ids = pipeline.tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt").input_ids[0].tolist()
    slow.stop = ids.index(pipeline.tokenizer.eos_token_id) if arm.own_tokens else len(ids)
    slow.per_head = arm.per_head
    dtype = pipeline.unet.dtype
    text, negative = (inputs_of(pipeline, each) for each in (prompt, arm.negative_prompt))

    scheduler = scheduler_of(scheduler_name, dict(pipeline.scheduler.config))
    scheduler.set_timesteps(steps)
    shape = (pipeline.unet.config.in_channels, pipeline.unet.config.sample_size, pipeline.unet.config.sample_size)
    latents = noise_of(seed, 0, shape).to(dtype) * scheduler.init_noise_sigma
    calls = len(scheduler.timesteps)
    # PNDM calls the network once more than it iterates: segmentation-free are the last T − t_s calls, or all of them.
    first_sfg = calls - (steps - arm.switch_after) if arm.switch_after > 0 else 0
    chosen: list[np.ndarray] = []
    for call, t in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(latents, t)
        segmentation_free = arm.scale is not None and call >= first_sfg
        positive = pipeline.unet(scaled, t, **text).sample
        if segmentation_free:
            slow.scale, slow.chosen = arm.scale, []
            subtracted = pipeline.unet(scaled, t, **text).sample
            chosen += slow.chosen
            slow.scale = None
        else:
            subtracted = pipeline.unet(scaled, t, **negative).sample
        w = arm.sfg_strength if segmentation_free else arm.strength
        guided = (1 + w) * positive - w * subtracted
        if scheduler_name == "ddpm":
            latents = ddpm_mean_and_noise(scheduler, guided, t, latents, noise_of(seed, call + 1, shape).to(dtype))
        else:
            latents = scheduler.step(guided, t, latents, return_dict=False)[0]
    return latents[0], chosen
