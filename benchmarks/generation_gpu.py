"""Measure Stable Diffusion v1.5's architecture on one GPU.

    python -m benchmarks.generation_gpu [--json FILE]

Weights are random (speed does not depend on them), the configuration is the public one: 512×512, float16, batches of 8.
Measured side by side, in turn: triples (CFG, a = 5, a = 10) a second of three naive eager runs and of the shared
trajectory, eager and compiled; the cost of a segmentation-free iteration; and the model FLOP utilisation against an
8192³ bfloat16 product of the same run. ``--small`` tries the script with a tiny model on a CPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.generation import BATCH, iteration_ratio, now, prompts_of, run_naive, run_shared
from evenhand.generation.attention import guide_attention
from tests.helpers.tiny_models import tiny_pipeline

NETWORK_TFLOP, DECODE_TFLOP = 0.803, 2.515  # one evaluation, one decoded picture, of this architecture at 512×512
ARMS = 3
PRODUCT = 8192


def random_stable_diffusion() -> StableDiffusionPipeline:
    """Build the architecture of Stable Diffusion v1.5, with the tests' tokenizer padded to the same 77 tokens."""
    tiny = tiny_pipeline()
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
    )
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            bos_token_id=tiny.tokenizer.bos_token_id,
            eos_token_id=tiny.tokenizer.eos_token_id,
        )
    )
    parts = tiny.components | {"unet": unet.eval(), "vae": vae.eval(), "text_encoder": text_encoder.eval()}
    pipeline = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def product_tflops(device: torch.device, size: int, repeats: int = 20) -> float:
    """Measure the TFLOP/s of a bfloat16 matrix product."""
    if device.type != "cuda":
        size, repeats = 256, 2
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = [_timed(device, lambda: left @ right) for _ in range(repeats + 3)][3:]
    return 2 * size**3 / statistics.median(seconds) / 1e12


def _timed(device: torch.device, work: Callable[[], object]) -> float:
    holder: Any = argparse.Namespace(device=device)
    start = now(holder)
    work()
    return now(holder) - start


def triples_a_second(
    pipeline: StableDiffusionPipeline, sides: dict[str, Callable[..., Any]], prompts: Sequence[str], rounds: int
) -> dict[str, dict[str, float]]:
    """Run every side in turn, after a warm-up round; return its triples a second, evaluations and peak memory."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    figures: dict[str, dict[str, float]] = {}
    on_gpu = pipeline.device.type == "cuda"
    for round_number in range(rounds + 1):
        for name, run in sides.items():
            if on_gpu:
                torch.cuda.reset_peak_memory_stats(pipeline.device)
            start = now(pipeline)
            _, evaluations = run(pipeline, prompts)
            if round_number:
                seconds[name].append(now(pipeline) - start)
            peak = torch.cuda.max_memory_allocated(pipeline.device) / 2**20 if on_gpu else float("nan")
            figures[name] = {"evaluations": evaluations, "peak_memory_mib": peak}
    return {
        name: figures[name]
        | {"seconds": statistics.median(times), "triples_per_s": len(prompts) / statistics.median(times)}
        for name, times in seconds.items()
    }


def utilisation(side: dict[str, float], prompts: int, peak_tflops: float) -> float:
    """Compute the model FLOP utilisation: FLOPs of evaluations and decodings over those the card could do."""
    cost = side["evaluations"] * NETWORK_TFLOP + ARMS * prompts * DECODE_TFLOP
    return cost / side["seconds"] / peak_tflops


def compare(pipeline: StableDiffusionPipeline, rounds: int, *, compiled: bool) -> dict[str, Any]:
    """Measure all figures of one run."""
    prompts = prompts_of(BATCH)
    peak = product_tflops(pipeline.device, PRODUCT)
    guide_attention(pipeline.unet)
    sides = triples_a_second(pipeline, {"naive": run_naive, "shared": run_shared}, prompts, rounds)
    ratios = {"eager": iteration_ratio(pipeline, prompts, rounds)}
    if compiled:  # after the eager sides: the naive one sets other attention processors, which would compile again
        for part in (pipeline.unet, pipeline.vae):
            part.to(memory_format=torch.channels_last)
        guide_attention(pipeline.unet)
        pipeline.unet.compile(fullgraph=True)
        pipeline.vae.decoder.compile(fullgraph=True)
        sides["compiled"] = triples_a_second(pipeline, {"compiled": run_shared}, prompts, rounds)["compiled"]
        ratios["compiled"] = iteration_ratio(pipeline, prompts, rounds)
    device = pipeline.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda, "diffusers": diffusers.__version__},
        "dtype": str(pipeline.unet.dtype),
        "batch_size": BATCH,
        "rounds": rounds,
        "product_tflops": peak,
        "sides": {
            name: side
            | {
                "speedup": side["triples_per_s"] / sides["naive"]["triples_per_s"],
                "utilisation": utilisation(side, len(prompts), peak),
            }
            for name, side in sides.items()
        },
        "iteration_ratio": ratios,
    }


def table(result: dict[str, Any]) -> str:
    """Format the figures for a terminal."""
    lines = [
        f"{result['device']}, {result['dtype']}, batches of {result['batch_size']}, {result['rounds']} rounds",
        f"an {PRODUCT}³ bfloat16 product runs at {result['product_tflops']:.0f} TFLOP/s",
        f"{'':<12}{'triples/s':>12}{'speed-up':>12}{'utilisation':>14}{'memory MiB':>14}",
    ]
    for name, side in result["sides"].items():
        lines.append(
            f"{name:<12}{side['triples_per_s']:>12.3f}{side['speedup']:>12.2f}{side['utilisation']:>14.1%}"
            f"{side['peak_memory_mib']:>14.0f}"
        )
    for name, ratio in result["iteration_ratio"].items():
        lines.append(f"a segmentation-free iteration costs {ratio:.3f} of a classifier-free one ({name})")
    return "\n".join(lines)


def main() -> None:
    """Print the table; with ``--json`` also write the numbers."""
    parser = argparse.ArgumentParser(description="Stable Diffusion v1.5's architecture on one GPU.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-compile", action="store_true", help="leave the compiled side out")
    parser.add_argument(
        "--small", action="store_true", help="a tiny model on a CPU, to try the script; its utilisation means nothing"
    )
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if not options.small and not torch.cuda.is_available():
        parser.error("this machine offers no CUDA GPU; --small tries the script without one")
    torch.manual_seed(0)
    pipeline = tiny_pipeline() if options.small else random_stable_diffusion().to("cuda", torch.float16)
    result = compare(pipeline, options.rounds, compiled=not options.no_compile)
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
