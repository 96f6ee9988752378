"""Measure the demo model: ``python -m demo.evaluate`` prints the tables that the model card carries.

Every arm makes a picture of every prompt, from the same seeds; the judge says what each shows of its caption.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from demo import measures, scenes
from generation.guidance import ClassifierFree, Guidance, SegmentationFree

CHECKPOINT = Path(__file__).parent / "checkpoint"


def held_out_captions(count: int, seed: int = 77) -> list[str]:
    """Captions that training did not draw; about one thing in ten is a combination it never saw."""
    rng = np.random.default_rng(seed)
    everything = tuple(scenes.all_things())
    return [scenes.describe(scenes.sample_description(rng, pool=everything), rng) for _ in range(count)]


def arms_of_the_card(
    strengths: list[float], opening: float, scales: list[float], sfg_strengths: list[float], switches: list[int]
) -> dict[str, Guidance]:
    """Classifier-free guidance at several strengths, and every combination of segmentation-free settings."""
    arms: dict[str, Guidance] = {f"CFG w={w:g}": ClassifierFree(w) for w in strengths}
    for switch, scale, strength in itertools.product(switches, scales, sfg_strengths):
        label = f"SFG a={scale:g} w̄={strength:g} t_s={switch}"
        arms[label] = SegmentationFree(scale, strength, switch_after=switch, opening=ClassifierFree(opening))
    return arms


def generate_pictures(
    pipeline: Any, captions: list[str], arms: Mapping[str, Guidance], steps: int = 20
) -> dict[str, np.ndarray]:
    """uint8 (N, H, W, 3) for each arm; the seed of caption i is 5000 + i."""
    from generation.trajectory import generate

    seeds = [5000 + i for i in range(len(captions))]
    return dict(generate(pipeline, captions, seeds, arms, steps=steps).images)


def measure(pictures: Mapping[str, np.ndarray], captions: list[str], clip: Any) -> dict[str, dict[str, Any]]:
    """All measures of every arm, and of true renders of the same captions for comparison."""
    truth = measures.rendered(captions)
    table = {}
    for label, images in {"(renders)": truth, **pictures}.items():
        row: dict[str, Any] = dict(measures.judged(images, captions))
        row["sharpness"] = measures.sharpness(images) / measures.sharpness(truth)
        row["distance"] = measures.distance_to_renders(images, truth, clip)
        table[label] = row
    return table


def markdown(table: Mapping[str, Mapping[str, Any]]) -> str:
    """The table as the model card carries it: percentages with 95 % intervals."""
    names = [*measures.KINDS, "sharpness", "distance"]
    lines = ["| arm | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for label, row in table.items():
        cells = [str(row[name]) if name in measures.KINDS else f"{row[name]:.2f}" for name in names]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plain(table: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The table as JSON."""
    return {
        label: {
            name: {"hits": value.hits, "total": value.total} if isinstance(value, measures.Rate) else value
            for name, value in row.items()
        }
        for label, row in table.items()
    }


def main() -> None:
    """Print the tables; ``--sheet`` and ``--json`` also save a contact sheet and the numbers."""
    options = _options()
    import torch

    from generation.checkpoint import load_pipeline
    from metrics.clip import load_clip

    pipeline = load_pipeline(str(options.checkpoint), device=options.device, dtype=torch.float32)
    clip = load_clip(str(options.checkpoint / "clip"))
    captions = held_out_captions(options.prompts)
    arms = arms_of_the_card(
        options.strengths, options.opening, options.scales, options.sfg_strengths, options.switch_after
    )
    print(f"CLIP prefers the matching caption: {measures.caption_preference(clip, 400)} % of 400\n")
    print("| cross-attention | first token | chosen token | overlap |\n|---|---|---|---|")
    for share in measures.attention_shares(pipeline):
        print(f"| {share.module} | {share.first:.2f} | {share.chosen:.3f} | {share.overlap:.2f} |")
    pictures = generate_pictures(pipeline, captions, arms)
    table = measure(pictures, captions, clip)
    print(f"\n{markdown(table)}")
    if options.json:
        options.json.write_text(json.dumps(plain(table), indent=2, ensure_ascii=False) + "\n")
    if options.sheet:
        from PIL import Image

        shown = {"renders": measures.rendered(captions), **pictures}
        Image.fromarray(measures.contact_sheet(shown, 12)).save(options.sheet)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--strengths", type=float, nargs="*", default=[0.0, 1.0, 2.0, 4.0, 7.5], help="w of CFG")
    parser.add_argument("--opening", type=float, default=2.0, help="w of the iterations before the switch")
    parser.add_argument("--scales", type=float, nargs="*", default=[1.0, 5.0, 10.0], help="a")
    parser.add_argument("--sfg-strengths", type=float, nargs="*", default=[0.5, 1.0, 2.5], help="w̄")
    parser.add_argument("--switch-after", type=int, nargs="*", default=[10], help="t_s")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
