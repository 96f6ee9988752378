"""Measure what the shared trajectory saves over separate runs.

    python -m benchmarks.generation [--prompts 8] [--json FILE]

A triple of pictures (CFG, a = 5, a = 10; T = 20, t_s = 10) of every prompt is made twice on the CPU: by ``generate``,
and by three runs as one would write them without it: the stock pipeline for CFG, and for each scale the stock loop
with explicit cross-attention (after the switch only, which makes it faster). Each side has a process of its own, so
that its peak memory is its own. The sides take turns, so that other work on the machine slows both. The table shows
the largest difference of their final latents.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from benchmarks.machine import machine, peak_memory
from evenhand.generation.checkpoint import load_pipeline
from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree
from evenhand.generation.trajectory import generate

DEMO = Path(__file__).parent.parent / "demo" / "checkpoint"
STEPS, SWITCH, BATCH = 20, 10, 8
STRENGTH, SFG_STRENGTH = 7.5, 2.5
SCALES = (5.0, 10.0)
SIDES = ("shared", "naive")
# glibc returns large freed blocks to the system and requests them again, thousands of times an iteration. Depending on
# the heap's layout this costs nothing or a fifth of the time, so both sides keep their freed blocks.
KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}


@dataclass(frozen=True)
class Work:
    """The work of both sides. checkpoint: None for the tiny pipeline with random weights."""

    checkpoint: str | None
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Round:
    """One side's triple of every prompt: seconds, network rows (padding included), evaluations, latents by arm."""

    with_decoding: float
    decoding: float
    network_rows: int
    evaluations: int
    peak_memory_mib: float
    latents: dict[str, np.ndarray]


SECONDS: dict[str, Callable[[Round], float]] = {
    "denoising_loop_s": lambda each: each.with_decoding - each.decoding,
    "with_decoding_s": lambda each: each.with_decoding,
}


def prompts_of(count: int) -> tuple[str, ...]:
    """Return prompts whose words the demo model and the tiny one both know."""
    colours, shapes = ("red", "blue", "green"), ("circle", "square", "star")
    things = [f"a {colour} {shape}" for colour, shape in product(colours, shapes)]
    pairs = [f"{one} {place} {other}" for one, other in product(things, things) for place in ("above", "left of")]
    return tuple(pairs[(7 * i) % len(pairs)] for i in range(count))


def run_shared(pipeline: StableDiffusionPipeline, prompts: Sequence[str]) -> tuple[dict[str, np.ndarray], int]:
    """Generate the triples in one trajectory."""
    arms = {"cfg": ClassifierFree(STRENGTH)} | {
        f"a{scale:g}": SegmentationFree(scale, SFG_STRENGTH, SWITCH, ClassifierFree(STRENGTH)) for scale in SCALES
    }
    size = min(BATCH, len(prompts))  # a batch that is not full is padded and costs as much as a full one
    result = generate(pipeline, prompts, range(len(prompts)), arms, steps=STEPS, batch_size=size, return_latents=True)
    assert result.latents is not None
    return result.latents, result.evaluations


def run_naive(pipeline: StableDiffusionPipeline, prompts: Sequence[str]) -> tuple[dict[str, np.ndarray], int]:
    """Generate the triples in three separate runs, in batches of the same size."""
    arms: dict[str, list[np.ndarray]] = {name: [] for name in ("cfg", *(f"a{scale:g}" for scale in SCALES))}
    for start in range(0, len(prompts), BATCH):
        part = prompts[start : start + BATCH]
        seeds = range(start, start + len(part))
        arms["cfg"].append(stock_classifier_free(pipeline, part, seeds))
        for scale in SCALES:
            arms[f"a{scale:g}"].append(explicit_segmentation_free(pipeline, part, seeds, scale))
    return {name: np.concatenate(parts) for name, parts in arms.items()}, 2 * STEPS * len(arms) * len(prompts)


def stock_classifier_free(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], seeds: Sequence[int]
) -> np.ndarray:
    """Run diffusers' own pipeline, pictures included, and return its final latents."""
    final_values: dict[str, torch.Tensor] = {}

    def store(_: object, __: int, ___: object, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        final_values.update(values)
        return values

    pipeline.scheduler = new_scheduler(pipeline)
    pipeline(
        list(prompts),
        num_inference_steps=STEPS,
        guidance_scale=1.0 + STRENGTH,
        latents=first_noise(pipeline, seeds),
        callback_on_step_end=store,
        output_type="np",
    )
    return final_values["latents"].float().cpu().numpy()


@torch.no_grad()
def explicit_segmentation_free(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], seeds: Sequence[int], scale: float
) -> np.ndarray:
    """Run the stock loop with segmentation-free guidance after the switch, pictures included; return its latents."""
    unet, scheduler = pipeline.unet, new_scheduler(pipeline)
    explicit_attention = ExplicitAttention(scale, len(prompts))
    stock_attention = AttnProcessor2_0()
    unet.set_attn_processor(
        {name: explicit_attention if "attn2" in name else stock_attention for name in unet.attn_processors}
    )
    text, empty_text = pipeline.encode_prompt(list(prompts), pipeline.device, 1, True)
    scheduler.set_timesteps(STEPS)
    latents = first_noise(pipeline, seeds) * scheduler.init_noise_sigma
    for iteration, timestep in enumerate(scheduler.timesteps):
        explicit_attention.active = iteration >= SWITCH
        strength = SFG_STRENGTH if explicit_attention.active else STRENGTH
        states = torch.cat([text if explicit_attention.active else empty_text, text])
        subtracted, predicted = unet(torch.cat([latents] * 2), timestep, states).sample.chunk(2)
        latents = scheduler.step(subtracted + (1 + strength) * (predicted - subtracted), timestep, latents).prev_sample
    unet.set_attn_processor(stock_attention)
    pipeline.image_processor.postprocess(
        pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample, output_type="np"
    )
    return latents.float().cpu().numpy()


class ExplicitAttention:
    """Cross-attention with its weights written out, those of the first ``rows`` rows changed (paper eq. 9, 10)."""

    def __init__(self, scale: float, rows: int) -> None:
        self.scale, self.rows, self.active = scale, rows, False
        self._stock = AttnProcessor2_0()

    def __call__(
        self, attn: Attention, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, **_: object
    ) -> torch.Tensor:
        if not self.active:
            return self._stock(attn, hidden_states, encoder_hidden_states)
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key, value = (attn.head_to_batch_dim(part(encoder_hidden_states)) for part in (attn.to_k, attn.to_v))
        weights = attn.get_attention_scores(query, key).unflatten(0, (-1, attn.heads))  # (B, heads, patches, tokens)
        first_rows = weights[: self.rows]  # a view: changed in place
        token_index = first_rows[..., 1:].mean(dim=1, keepdim=True).argmax(dim=-1, keepdim=True) + 1
        first_rows *= torch.ones_like(first_rows).scatter_(-1, token_index.expand(-1, attn.heads, -1, -1), -self.scale)
        merged = attn.batch_to_head_dim(weights.flatten(0, 1) @ value)
        return attn.to_out[1](attn.to_out[0](merged)) / attn.rescale_output_factor


def new_scheduler(pipeline: StableDiffusionPipeline) -> DDIMScheduler:
    """DDIM with the settings of method §1.8: its last step is the x0 prediction."""
    settings = {"set_alpha_to_one": True, "steps_offset": 1, "timestep_spacing": "leading", "clip_sample": False}
    return DDIMScheduler.from_config(pipeline.scheduler.config, **settings)


def first_noise(pipeline: StableDiffusionPipeline, seeds: Sequence[int]) -> torch.Tensor:
    """(B, C, h, w), each row from its own seed, on the pipeline's device."""
    side, channels = pipeline.unet.config.sample_size, pipeline.unet.config.in_channels
    shape = (1, channels, side, side)
    noise = torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    return noise.to(pipeline.device, pipeline.unet.dtype)


def iteration_ratio(pipeline: StableDiffusionPipeline, prompts: Sequence[str], rounds: int, steps: int = 4) -> float:
    """Measure the seconds of a segmentation-free iteration over those of a classifier-free one, in separate runs."""
    kinds: dict[str, Guidance] = {"cfg": ClassifierFree(STRENGTH), "sfg": SegmentationFree(SCALES[0], SFG_STRENGTH, 0)}
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for round_number in range(rounds + 1):
        for name, guidance in kinds.items():
            marks: list[float] = []
            generate(
                pipeline,
                prompts,
                range(len(prompts)),
                {name: guidance},
                steps=steps + 1,
                batch_size=len(prompts),
                progress=lambda *_, marks=marks: marks.append(now(pipeline)),
            )
            if round_number:  # the first round warms up
                seconds[name].append(marks[-1] - marks[0])  # without text encoding, the first iteration and decoding
    return statistics.median(seconds["sfg"]) / statistics.median(seconds["cfg"])


def now(pipeline: StableDiffusionPipeline) -> float:
    """Return the time in seconds, after the device has finished its work."""
    if pipeline.device.type == "cuda":
        torch.cuda.synchronize(pipeline.device)
    return time.perf_counter()


def measure_iteration_ratio(work: Work, rounds: int) -> float:
    """Run ``iteration_ratio`` in the process of the shared side."""
    return iteration_ratio(pipeline_of(work.checkpoint), work.prompts[:BATCH], rounds)


# ------------------------------------------------------------------------------ measuring


@lru_cache(maxsize=1)
def pipeline_of(checkpoint: str | None) -> StableDiffusionPipeline:
    """Load the pipeline, once in the process of each side."""
    if checkpoint is not None:
        return load_pipeline(checkpoint, device="cpu", dtype=torch.float32)
    from tests.helpers.tiny_models import tiny_pipeline

    return tiny_pipeline()


def measure(side: str, work: Work) -> Round:
    """Run one round of one side, in that side's process."""
    pipeline = pipeline_of(work.checkpoint)
    run: Callable[..., tuple[dict[str, np.ndarray], int]] = {"shared": run_shared, "naive": run_naive}[side]
    rows = 0

    def count(_: object, args: tuple[torch.Tensor, ...]) -> None:
        nonlocal rows
        rows += len(args[0])

    hook = pipeline.unet.register_forward_pre_hook(count)
    with decoding_time(pipeline) as decoding:
        start = time.perf_counter()
        latents, evaluations = run(pipeline, work.prompts)
        total = time.perf_counter() - start
    hook.remove()
    return Round(total, sum(decoding), rows, evaluations, peak_memory() / 2**20, latents)


@contextmanager
def decoding_time(pipeline: StableDiffusionPipeline) -> Iterator[list[float]]:
    """Collect the seconds of each call of the VAE's decoder."""
    seconds: list[float] = []
    decode = pipeline.vae.decode

    def timed(*args: Any, **keywords: Any) -> Any:
        start = time.perf_counter()
        try:
            return decode(*args, **keywords)
        finally:
            seconds.append(time.perf_counter() - start)

    pipeline.vae.decode = timed
    try:
        yield seconds
    finally:
        del pipeline.vae.decode


def compare(work: Work, pairs: int, rounds: int) -> dict[str, Any]:
    """Run rounds of both sides in turn, in several pairs of fresh processes.

    A ratio of times is the median over all rounds of naive/shared within a round, because other work on the machine
    changes over minutes and slows both halves of a round alike. A process may be up to a quarter slower for its whole
    life, depending on its memory's layout, so one pair of processes is not enough.
    """
    os.environ |= KEEP_FREED_MEMORY
    rounds_by_side: dict[str, list[Round]] = {side: [] for side in SIDES}
    iteration_ratios = []
    for _ in range(pairs):
        with worker_of("shared", work) as shared, worker_of("naive", work) as naive:
            workers = {"shared": shared, "naive": naive}
            for number in range(rounds):
                for side in SIDES if number % 2 else reversed(SIDES):
                    rounds_by_side[side].append(workers[side].submit(measure, side, work).result())
            iteration_ratios.append(shared.submit(measure_iteration_ratio, work, rounds).result())
    sides = {side: summary(side_rounds) for side, side_rounds in rounds_by_side.items()}
    ratios_by_round = {
        name: [seconds(naive) / seconds(shared) for naive, shared in paired(rounds_by_side)]
        for name, seconds in SECONDS.items()
    }
    latents, naive_latents = (rounds_by_side[side][0].latents for side in SIDES)
    return {
        "work": described(work) | {"pairs": pairs, "rounds": rounds},
        "machine": machine(),
        **sides,
        "iteration_ratio": statistics.median(iteration_ratios),
        "iteration_ratio_by_process": iteration_ratios,
        "ratios": {name: sides["naive"][name] / value for name, value in sides["shared"].items()}
        | {name: statistics.median(ratios) for name, ratios in ratios_by_round.items()},
        "ratios_by_round": ratios_by_round,
        "largest_difference": {name: float(np.abs(latents[name] - naive_latents[name]).max()) for name in latents},
    }


def described(work: Work) -> dict[str, Any]:
    """Return the work as JSON, with the last two parts of the checkpoint's path."""
    checkpoint = work.checkpoint and "/".join(Path(work.checkpoint).parts[-2:])
    settings = {"steps": STEPS, "switch_after": SWITCH, "batch_size": BATCH}
    return asdict(work) | settings | {"checkpoint": checkpoint}


@contextmanager
def worker_of(side: str, work: Work) -> Iterator[ProcessPoolExecutor]:
    """Start a process and warm it up with one prompt of this side's work."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
        worker.submit(measure, side, Work(work.checkpoint, work.prompts[:1])).result()
        yield worker


def paired(rounds_by_side: dict[str, list[Round]]) -> Iterator[tuple[Round, Round]]:
    """Iterate over the naive and the shared half of each round."""
    return zip(rounds_by_side["naive"], rounds_by_side["shared"], strict=True)


def summary(rounds: Sequence[Round]) -> dict[str, float]:
    """Take the medians of the seconds; the other figures are the same every round."""
    return {
        **{name: statistics.median(map(seconds, rounds)) for name, seconds in SECONDS.items()},
        "peak_memory_mib": max(each.peak_memory_mib for each in rounds),
        "evaluations": rounds[0].evaluations,
        "network_rows": rounds[0].network_rows,
    }


def table(result: dict[str, Any]) -> str:
    """Format the comparison for a terminal."""
    work = result["work"]
    lines = [
        f"{len(work['prompts'])} prompts, CFG + a=5 + a=10, T={work['steps']}, t_s={work['switch_after']}, CPU,"
        f" {result['machine']['torch_threads']} threads, medians of {work['pairs']} pairs of processes with"
        f" {work['rounds']} rounds each",
        f"{'':<20}{'naive':>12}{'shared':>12}{'naive/shared':>14}",
    ]
    for name, ratio in result["ratios"].items():
        lines.append(f"{name:<20}{result['naive'][name]:>12.2f}{result['shared'][name]:>12.2f}{ratio:>14.3f}")
    differences = ", ".join(f"{name} {value:.1e}" for name, value in result["largest_difference"].items())
    lines.append(f"a segmentation-free iteration costs {result['iteration_ratio']:.3f} of a classifier-free one")
    return "\n".join([*lines, f"largest difference of final latents: {differences}"])


def main() -> None:
    """Print the table; with ``--json`` also write the numbers."""
    parser = argparse.ArgumentParser(description="What one shared trajectory saves over three separate runs.")
    parser.add_argument("--checkpoint", type=Path, help="a diffusers folder (default: demo/checkpoint)")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=6, help="pairs of processes")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each pair")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    if min(options.prompts, options.pairs, options.rounds) < 1:
        parser.error("--prompts, --pairs and --rounds must be at least 1")
    checkpoint = options.checkpoint or (DEMO if DEMO.is_dir() else None)
    if checkpoint is None:
        print(f"{DEMO} is not there: measured is a tiny pipeline with random weights, whose calls cost little")
    result = compare(
        Work(None if checkpoint is None else str(checkpoint), prompts_of(options.prompts)),
        options.pairs,
        options.rounds,
    )
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
