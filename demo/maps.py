"""The demo model's semantic maps beside the truth.

``python -m evenhand.demo.maps`` prints the mean overlap and draws a sheet.

True renders are noised as far as a trajectory is at each iteration of its second half, so that the true regions are
known, and the network says which token every patch follows (eq. 9).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evenhand.demo import measures, scenes
from evenhand.generation.semantics import PALETTE, finest_modules, maps_of, most_frequent, overlay
from evenhand.generation.sheets import contact_sheet, enlarged, padded

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

CHECKPOINT = Path(__file__).parent / "checkpoint"
STEPS = 20
OTHER = "other words"
GROUND, WHITE = (120, 120, 120), (250, 250, 250)


@dataclass(frozen=True)
class SceneMap:
    """One scene. regions: what each patch follows, an index into ``names``: things, the background, other words.

    picture: uint8 (H, W, 3). truth: bool (things, rows, columns), the patches that a thing covers by more than half.
    """

    caption: str
    picture: NDArray[np.uint8]
    names: tuple[str, ...]
    regions: NDArray[np.int64]
    truth: NDArray[np.bool_]

    def overlaps(self) -> list[float]:
        """Intersection over union of each thing's patches with those that follow its words; 1 where both are empty."""
        found = [self.regions == number for number in range(len(self.truth))]
        return [measures.overlap(one, other) for one, other in zip(found, self.truth, strict=True)]


def scene_maps(pipeline: StableDiffusionPipeline, count: int, seed: int = 51) -> list[SceneMap]:
    """Semantic maps of ``count`` random scenes: the vote of the finest maps of the second half of a trajectory."""
    from evenhand.demo.training.data import token_groups
    from evenhand.generation.reading import semantic_maps_of

    drawn = measures.noised_scenes(pipeline, count, seed)
    recorded = semantic_maps_of(pipeline, drawn.latents.numpy(), drawn.captions, range(seed, seed + count), steps=STEPS)
    found = []
    for scene, (caption, picture, mask) in enumerate(zip(drawn.captions, drawn.pictures, drawn.masks, strict=True)):
        groups = token_groups(pipeline.tokenizer, caption)
        maps = maps_of(recorded, scene, modules=finest_modules(recorded))
        found.append(_scene_map(caption, picture, mask, most_frequent([_regions(grid, groups) for grid in maps])))
    return found


def mean_overlap(maps: Sequence[SceneMap]) -> float:
    """Mean intersection over union, over all things of all scenes."""
    return float(np.mean([value for each in maps for value in each.overlaps()]))


def exchanged(maps: Sequence[SceneMap]) -> list[SceneMap]:
    """Each scene's truth with the map of the next scene that has as many things: what chance gives."""
    by_count: dict[int, list[SceneMap]] = {}
    for each in maps:
        by_count.setdefault(len(each.truth), []).append(each)
    return [
        replace(each, regions=other.regions)
        for group in by_count.values()
        for each, other in zip(group, [*group[1:], group[0]], strict=True)
        if other is not each
    ]


def sheet(maps: Sequence[SceneMap], side: int = 256) -> NDArray[np.uint8]:
    """A row for each scene: the render, its semantic map laid over it, the true regions laid over it."""
    cells = []
    for each in maps:
        true = np.full(each.regions.shape, len(each.truth))  # the background
        for number, mask in enumerate(each.truth):
            true[mask] = number
        colours = {**dict(zip(each.names, PALETTE[1:], strict=False)), each.names[-2]: GROUND, OTHER: WHITE}
        cells.append(
            [
                enlarged(each.picture, side),
                *(overlay(each.picture, one, each.names, side=side, colours=colours) for one in (each.regions, true)),
            ]
        )
    flat = padded([picture for row in cells for picture in row])
    return contact_sheet(
        [flat[at : at + 3] for at in range(0, len(flat), 3)],
        columns=["render", "semantic map", "true regions"],
        rows=[f"{each.caption} ({np.mean(each.overlaps()):.2f})" for each in maps],
        title="Which words each patch follows; in brackets the mean intersection over union with the true regions",
    )


def _regions(tokens: NDArray[np.integer], groups: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Token indices as indices of the group of words that they belong to; the last number is for all others."""
    table = np.full(int(tokens.max()) + 1, len(groups))
    for number, group in enumerate(groups):
        table[[token for token in group if token < len(table)]] = number
    return table[tokens]


def _scene_map(
    caption: str, picture: NDArray[np.uint8], mask: NDArray[np.bool_], regions: NDArray[np.int64]
) -> SceneMap:
    spans = [*scenes.thing_spans(caption), scenes.background_span(caption)]
    names = (*(caption[low:high] for low, high in spans), OTHER)
    truth = np.stack([measures.covered(one, regions.shape) for one in mask])
    return SceneMap(caption, picture, names, regions, truth)


def main() -> None:
    """Print the mean overlap; ``--sheet`` draws the first scenes, ``--json`` writes the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--shown", type=int, default=6, help="scenes on the sheet")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import torch

    from evenhand.generation.checkpoint import load_pipeline

    pipeline = load_pipeline(str(options.checkpoint), device="cpu", dtype=torch.float32)
    maps = scene_maps(pipeline, options.scenes)
    found: dict[str, Any] = {
        "scenes": len(maps),
        "things": sum(len(each.truth) for each in maps),
        "iterations": list(range(STEPS // 2, STEPS)),
        "grid": maps[0].regions.shape,
        "mean_overlap": mean_overlap(maps),
        "mean_overlap_of_other_scenes": mean_overlap(exchanged(maps)),
    }
    print(json.dumps(found, indent=2))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if options.sheet:
        from PIL import Image

        Image.fromarray(sheet(maps[: options.shown])).save(options.sheet)


if __name__ == "__main__":
    main()
