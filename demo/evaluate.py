"""Measure the demo model: ``python -m demo.evaluate`` prints the table that the model card carries.

Every arm makes a picture of every prompt, from the same seeds; the judge says what each shows of its caption.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from demo import judge, scenes
from generation.guidance import ClassifierFree, Guidance, SegmentationFree

CHECKPOINT = Path(__file__).parent / "checkpoint"
MARKS = ("colour", "shape", "surface", "place", "background")


def held_out_captions(count: int, seed: int = 77) -> list[str]:
    """Captions that training did not draw; about one thing in ten is a combination it never saw."""
    rng = np.random.default_rng(seed)
    everything = tuple(scenes.all_things())
    return [scenes.describe(scenes.sample_description(rng, pool=everything), rng) for _ in range(count)]


def arms_of_the_card(strength: float) -> dict[str, Guidance]:
    """Classifier-free guidance at several strengths, and segmentation-free guidance at several settings."""
    arms: dict[str, Guidance] = {f"CFG w={w:g}": ClassifierFree(w) for w in (0, 1, 2, 4, 7.5)}
    opening = ClassifierFree(strength)
    for scale in (1.0, 5.0, 10.0):
        for guidance in (0.5, 1.0, 2.5):
            label = f"SFG a={scale:g} w̄={guidance:g} t_s=10"
            arms[label] = SegmentationFree(scale, guidance, switch_after=10, opening=opening)
    return arms


def generate_pictures(
    checkpoint: Path, captions: list[str], arms: Mapping[str, Guidance], steps: int = 20
) -> dict[str, np.ndarray]:
    """uint8 (N, H, W, 3) for each arm; the seed of caption i is 5000 + i."""
    import torch

    from generation.checkpoint import load_pipeline
    from generation.trajectory import generate

    pipeline = load_pipeline(str(checkpoint), device="cpu", dtype=torch.float32)
    seeds = [5000 + i for i in range(len(captions))]
    return dict(generate(pipeline, captions, seeds, arms, steps=steps).images)


def rates(pictures: np.ndarray, captions: list[str]) -> dict[str, float]:
    """Share of right findings of each kind, of whole captions, and of one-object captions."""
    found: dict[str, list[bool]] = {name: [] for name in (*MARKS, "bound", "all", "all, one thing")}
    for picture, caption in zip(pictures, captions, strict=True):
        verdict = judge.judge(picture, scenes.parse(caption))
        for thing in verdict.things:
            found["colour"].append(thing.colour)
            found["shape"].append(thing.shape)
            found["surface"].append(thing.surface)
            found["bound"].append(thing.colour and thing.shape)
        found["place"].extend(verdict.places)
        found["background"].append(verdict.background)
        found["all"].append(verdict.all_right)
        if len(verdict.things) == 1:
            found["all, one thing"].append(verdict.all_right)
    return {name: float(np.mean(values)) if values else float("nan") for name, values in found.items()}


def contact_sheet(pictures: Mapping[str, np.ndarray], count: int, scale: int = 2) -> np.ndarray:
    """One row an arm, one column a caption, uint8."""
    rows = [np.concatenate(list(images[:count]), axis=1) for images in pictures.values()]
    return np.kron(np.concatenate(rows, axis=0), np.ones((scale, scale, 1), np.uint8))


def main() -> None:
    """Print the table; with ``--sheet`` also save a contact sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--strength", type=float, default=2.0, help="CFG strength of the opening")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    captions = held_out_captions(options.prompts)
    pictures = generate_pictures(options.checkpoint, captions, arms_of_the_card(options.strength))
    table = {label: rates(images, captions) for label, images in pictures.items()}
    names = list(next(iter(table.values())))
    print(f"{'arm':28}" + "".join(f"{name:>15}" for name in names))
    for label, row in table.items():
        print(f"{label:28}" + "".join(f"{100 * row[name]:14.1f}%" for name in names))
    if options.json:
        options.json.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n")
    if options.sheet:
        from PIL import Image

        Image.fromarray(contact_sheet(pictures, 12)).save(options.sheet)


if __name__ == "__main__":
    main()
