"""Measure the demo model and print the model card's tables (``python -m evenhand.demo.evaluate [--methods]``).

Every arm generates a picture of every prompt from the same seeds; the judge compares each with its caption.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.demo import measures, scenes
from evenhand.errors import InputError
from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree

CHECKPOINT = Path(__file__).parent / "checkpoint"
STEPS, FIRST_SEED = 20, 5000
BEGIN, END = "<!-- measured: python -m evenhand.demo.evaluate{} -->", "<!-- /measured -->"


def held_out_captions(count: int, seed: int = 77) -> list[str]:
    """Draw captions that training did not use; about one thing in ten is a combination held out of training."""
    rng = np.random.default_rng(seed)
    thing_pool = tuple(scenes.all_things())
    return [scenes.describe(scenes.sample_description(rng, pool=thing_pool), rng) for _ in range(count)]


def arms_of_the_card(
    strengths: list[float], opening: float, scales: list[float], sfg_strengths: list[float], switches: list[int]
) -> dict[str, Guidance]:
    """Build arms of classifier-free guidance at several strengths, and of all segmentation-free settings combined."""
    arms: dict[str, Guidance] = {f"CFG w={w:g}": ClassifierFree(w) for w in strengths}
    for switch, scale, strength in itertools.product(switches, scales, sfg_strengths):
        label = f"SFG a={scale:g} w̄={strength:g} t_s={switch}"
        arms[label] = SegmentationFree(scale, strength, switch_after=switch, opening=ClassifierFree(opening))
    return arms


def arms_of_methods(opening: float, switch: int) -> dict[str, Guidance]:
    """Build arms of the other guidance methods behind one opening, beside classifier- and segmentation-free ones."""
    from evenhand.generation.methods.adaptive_projected import AdaptiveProjected
    from evenhand.generation.methods.classifier_free_plus_plus import ClassifierFreePlusPlus
    from evenhand.generation.methods.perturbed_attention import PerturbedAttention
    from evenhand.generation.methods.smoothed_energy import SmoothedEnergy
    from evenhand.generation.methods.strength_matched import matched_per_picture

    behind: dict[str, Any] = {"switch_after": switch, "opening": ClassifierFree(opening)}
    segmentation_free = SegmentationFree(10.0, 0.5, **behind)
    return {
        f"CFG w={opening:g}": ClassifierFree(opening),
        "SFG a=10 w̄=0.5": segmentation_free,
        "matched CFG to SFG": matched_per_picture(segmentation_free),
        f"PAG s=1 and w={opening:g}": PerturbedAttention(1.0, text_strength=opening, **behind),
        f"SEG s=1 and w={opening:g}": SmoothedEnergy(1.0, layers=("down_blocks",), text_strength=opening, **behind),
        f"APG w={opening:g}": AdaptiveProjected(opening, **behind),
        "CFG++ λ=0.6": ClassifierFreePlusPlus(0.6, **behind),
    }


def generate_pictures(
    pipeline: Any, captions: list[str], arms: Mapping[str, Guidance], steps: int = STEPS
) -> dict[str, np.ndarray]:
    """Generate uint8 (N, H, W, 3) for each arm; the seed of caption i is FIRST_SEED + i."""
    from evenhand.generation.trajectory import generate

    seeds = [FIRST_SEED + i for i in range(len(captions))]
    return dict(generate(pipeline, captions, seeds, arms, steps=steps).images)


def measure(pictures: Mapping[str, np.ndarray], captions: list[str], clip: Any) -> dict[str, dict[str, Any]]:
    """Compute all measures of every arm, and of true renders of the same captions for comparison."""
    renders = measures.rendered(captions)
    table = {}
    for label, images in {"(renders)": renders, **pictures}.items():
        row: dict[str, Any] = dict(measures.judged(images, captions))
        row["sharpness"] = measures.sharpness(images) / measures.sharpness(renders)
        row["distance"] = measures.distance_to_renders(images, renders, clip)
        table[label] = row
    return table


def markdown(table: Mapping[str, Mapping[str, Any]]) -> str:
    """Format rates as percentages with 95 % intervals; the table comes from ``measure`` or from ``read``."""
    names = [*measures.KINDS, "sharpness", "distance"]
    lines = ["| arm | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for label, row in table.items():
        cells = [str(row[name]) if name in measures.KINDS else f"{row[name]:.2f}" for name in names]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plain(table: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Convert the table to plain JSON values."""
    return {
        label: {
            name: {"hits": value.hits, "total": value.total} if isinstance(value, measures.Rate) else value
            for name, value in row.items()
        }
        for label, row in table.items()
    }


def read(table: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Read what ``plain`` wrote."""
    return {
        label: {
            name: measures.Rate(value["hits"], value["total"]) if isinstance(value, dict) else value
            for name, value in row.items()
        }
        for label, row in table.items()
    }


def attention_markdown(shares: list[dict[str, Any]]) -> str:
    """Format the table of ``measures.attention_shares``."""
    lines = ["| cross-attention | first token | chosen token | overlap |", "|---|---|---|---|"]
    for row in shares:
        share = measures.AttentionShare(**row)
        lines.append(f"| {share.module} | {share.first:.2f} | {share.chosen:.3f} | {share.overlap:.2f} |")
    return "\n".join(lines)


def report(results: Mapping[str, Any]) -> str:
    """Format the results in Markdown for the model card; ``results`` as ``--json`` writes them."""
    clip = measures.Rate(**results["clip"])
    return "\n\n".join(
        (
            f"CLIP prefers a render's own caption to one with an exchanged attribute in {clip} % of {clip.total}.",
            attention_markdown(results["attention"]),
            f"{results['prompts']} held-out captions, {results['steps']} DDIM steps, seeds from {FIRST_SEED}:",
            markdown(read(results["arms"])),
        )
    )


def put_into_card(card: Path, text: str, option: str = "") -> None:
    """Replace the text between the card's marks of the command with ``option``; ``InputError`` if they are missing."""
    mark = BEGIN.format(option)
    head, begin, rest = card.read_text().partition(mark)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{card} has no {mark} … {END}")
    card.write_text(f"{head}{mark}\n{text}\n{END}{tail}")


def main() -> None:
    """Print the tables; ``--json`` also saves the numbers, ``--card`` the tables, ``--sheet`` a contact sheet."""
    options = _options()
    import torch

    from evenhand.generation.checkpoint import load_pipeline
    from evenhand.metrics.clip import load_clip

    pipeline = load_pipeline(str(options.checkpoint), device=options.device, dtype=torch.float32)
    clip = load_clip(str(options.checkpoint / "clip"))
    captions = held_out_captions(options.prompts)
    arms = (
        arms_of_methods(options.opening, options.switch_after[-1])
        if options.methods
        else arms_of_the_card(
            options.strengths, options.opening, options.scales, options.sfg_strengths, options.switch_after
        )
    )
    pictures = generate_pictures(pipeline, captions, arms)
    results: dict[str, Any] = {
        "prompts": len(captions),
        "steps": STEPS,
        "arms": plain(measure(pictures, captions, clip)),
    }
    if options.methods:
        text = f"The first {len(captions)} of the same captions and seeds:\n\n{markdown(read(results['arms']))}"
    else:
        preference = measures.caption_preference(clip, 400)
        results["clip"] = {"hits": preference.hits, "total": preference.total}
        results["attention"] = [asdict(share) for share in measures.attention_shares(pipeline)]
        text = report(results)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    if options.card:
        put_into_card(options.card, text, " --methods" if options.methods else "")
    if options.sheet:
        from PIL import Image

        sheet_arms = {label: pictures[label] for label in options.shown or pictures}
        sheet = measures.contact_sheet({"renders": measures.rendered(captions), **sheet_arms}, 12)
        Image.fromarray(sheet).save(options.sheet)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--strengths", type=float, nargs="*", default=[1.0, 2.0, 4.0, 7.5], help="w of CFG")
    parser.add_argument("--opening", type=float, default=2.0, help="w of the iterations before the switch")
    parser.add_argument("--scales", type=float, nargs="*", default=[0.0, 1.0, 5.0, 10.0, 20.0], help="a")
    parser.add_argument("--sfg-strengths", type=float, nargs="*", default=[0.5, 1.0, 2.5], help="w̄")
    parser.add_argument("--switch-after", type=int, nargs="*", default=[5, 10], help="t_s")
    parser.add_argument("--methods", action="store_true", help="other guidance methods instead, behind the last switch")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--shown", nargs="*", help="arms on the contact sheet, as the table names them (default: all)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--card", type=Path, help="a model card to put the tables into")
    return parser.parse_args()


if __name__ == "__main__":
    main()
