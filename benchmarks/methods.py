"""Measure what each guidance method costs: evaluations, and seconds, beside classifier-free guidance.

    python -m benchmarks.methods [--prompts 8] [--rounds 3] [--compiled] [--gpu] [--json FILE]

Every method runs alone on the demo model on the CPU (``--gpu``: Stable Diffusion 1.5's architecture, float16), with its
defaults behind a switch after half of 20 iterations, in turns; a table shows medians and their ratio to classifier-free
guidance's. Beside that stands what a method adds to the paper's triple (classifier-free, a = 5 and a = 10), where it
shares the opening and whatever rows are equal. ``--compiled`` compiles the network, and counts the graphs that each
method adds to those of the methods before it.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from benchmarks.generation import DEMO, SCALES, STEPS, STRENGTH, SWITCH, now, prompts_of
from benchmarks.machine import machine
from evenhand.generation.attention import guide_attention
from evenhand.generation.checkpoint import load_pipeline
from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree, methods
from evenhand.generation.plan import count_evaluations
from evenhand.generation.trajectory import generate

BASELINE = "classifier_free"


def arms() -> dict[str, Guidance]:
    """Return every method with its defaults behind the switch; classifier-free guidance has none."""
    opening = ClassifierFree(STRENGTH)
    return {
        name: kind() if name == BASELINE else kind(switch_after=SWITCH, opening=opening)  # type: ignore[call-arg]
        for name, kind in methods().items()
    }


def triple() -> dict[str, Guidance]:
    """Return the paper's arms."""
    scaled = {f"a{scale:g}": SegmentationFree(scale, switch_after=SWITCH) for scale in SCALES}
    return {"cfg": ClassifierFree(STRENGTH), **scaled}


def pipeline_of(*, gpu: bool, compiled: bool) -> StableDiffusionPipeline:
    """Return the demo model, or Stable Diffusion 1.5's architecture with random weights on a GPU."""
    if not gpu:
        return load_pipeline(str(DEMO), device="cpu", dtype="float32", compiled=compiled)
    from benchmarks.generation_gpu import random_stable_diffusion

    pipeline = random_stable_diffusion().to("cuda", torch.float16)
    if compiled:
        guide_attention(pipeline.unet)
        pipeline.unet.to(memory_format=torch.channels_last).compile(fullgraph=True)
    return pipeline


def graphs() -> int:
    """Return how many graphs have been compiled in this process."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def compare(prompts: int, rounds: int, *, gpu: bool = False, compiled: bool = False) -> dict[str, Any]:
    """Run every method in turn, after a warm-up round."""
    pipeline = pipeline_of(gpu=gpu, compiled=compiled)
    texts, seeds = prompts_of(prompts), range(prompts)
    seconds: dict[str, list[float]] = {name: [] for name in arms()}
    graphs_of: dict[str, int] = {}
    for number in range(rounds + 1):
        for name, guidance in arms().items():
            before, start = graphs(), now(pipeline)
            made = generate(pipeline, texts, seeds, {name: guidance}, steps=STEPS, batch_size=prompts)
            if number:
                seconds[name].append((now(pipeline) - start) / prompts)
            graphs_of[name] = graphs_of.get(name, 0) + graphs() - before
            assert made.evaluations == count_evaluations({name: guidance}, STEPS, prompts=prompts)
    alone = count_evaluations(triple(), STEPS)
    return {
        "machine": machine(),
        "work": {
            "gpu": gpu,
            "compiled": compiled,
            "prompts": prompts,
            "rounds": rounds,
            "steps": STEPS,
            "switch_after": SWITCH,
        },
        "triple_evaluations": alone,
        "methods": {
            name: {
                "label": guidance.label(),
                "evaluations": count_evaluations({name: guidance}, STEPS),
                "added_to_triple": count_evaluations(triple() | {name: guidance}, STEPS) - alone,
                "graphs": graphs_of[name] if compiled else None,
                "seconds": statistics.median(seconds[name]),
                "ratio": statistics.median(
                    own / other for own, other in zip(seconds[name], seconds[BASELINE], strict=True)
                ),
            }
            for name, guidance in arms().items()
        },
    }


def table(result: dict[str, Any]) -> str:
    """Format the figures as a Markdown table."""
    lines = [
        "| method | evaluations | added to the triple | graphs | seconds | over CFG |",
        "|---|---|---|---|---|---|",
    ]
    for name, each in result["methods"].items():
        figures = (each["evaluations"], each["added_to_triple"], "–" if each["graphs"] is None else each["graphs"])
        lines.append(f"| `{name}` | {' | '.join(map(str, figures))} | {each['seconds']:.2f} | {each['ratio']:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table; with ``--json`` also write the numbers."""
    parser = argparse.ArgumentParser(description="What each guidance method costs.")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compiled", action="store_true", help="compile the network first")
    parser.add_argument("--gpu", action="store_true", help="Stable Diffusion 1.5's architecture on a GPU")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    if min(options.prompts, options.rounds) < 1:
        parser.error("--prompts and --rounds must be at least 1")
    if options.gpu and not torch.cuda.is_available():
        parser.error("this machine offers no CUDA GPU")
    result = compare(options.prompts, options.rounds, gpu=options.gpu, compiled=options.compiled)
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
