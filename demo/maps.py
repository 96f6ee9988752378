"""Compare the demo model's semantic maps with the true regions.

``python -m evenhand.demo.maps`` prints the mean overlap and draws a sheet.

True renders, whose regions are known, get the noise level of each iteration of a trajectory's second half. The network
then yields the token that each patch follows (eq. 9).
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
    """One scene. regions: an index into ``names`` (things, the background, other words) for each patch.

    picture: uint8 (H, W, 3). truth: bool (things, rows, columns), the patches that a thing covers by more than half.
    """

    caption: str
    picture: NDArray[np.uint8]
    names: tuple[str, ...]
    regions: NDArray[np.int64]
    truth: NDArray[np.bool_]

    def overlaps(self) -> list[float]:
        """Compute each thing's intersection over union of true and mapped patches; 1 where both are empty."""
        patches = [self.regions == number for number in range(len(self.truth))]
        return [
            measures.overlap(thing_patches, true_patches)
            for thing_patches, true_patches in zip(patches, self.truth, strict=True)
        ]


def scene_maps(pipeline: StableDiffusionPipeline, count: int, seed: int = 51) -> list[SceneMap]:
    """Compute semantic maps of random scenes: the vote of the finest maps of a trajectory's second half."""
    from evenhand.demo.training.data import token_groups
    from evenhand.generation.reading import semantic_maps_of

    scene_batch = measures.noised_scenes(pipeline, count, seed)
    recorded_maps = semantic_maps_of(
        pipeline, scene_batch.latents.numpy(), scene_batch.captions, range(seed, seed + count), steps=STEPS
    )
    scene_list = []
    for scene, (caption, picture, mask) in enumerate(
        zip(scene_batch.captions, scene_batch.pictures, scene_batch.masks, strict=True)
    ):
        groups = token_groups(pipeline.tokenizer, caption)
        maps = maps_of(recorded_maps, scene, modules=finest_modules(recorded_maps))
        scene_list.append(_scene_map(caption, picture, mask, most_frequent([_regions(grid, groups) for grid in maps])))
    return scene_list


def mean_overlap(maps: Sequence[SceneMap]) -> float:
    """Average the intersection over union over all things of all scenes."""
    return float(np.mean([value for each in maps for value in each.overlaps()]))


def exchanged(maps: Sequence[SceneMap]) -> list[SceneMap]:
    """Pair each scene's truth with the map of the next scene with as many things, as a chance baseline."""
    by_count: dict[int, list[SceneMap]] = {}
    for scene_map in maps:
        by_count.setdefault(len(scene_map.truth), []).append(scene_map)
    return [
        replace(scene_map, regions=next_map.regions)
        for group in by_count.values()
        for scene_map, next_map in zip(group, [*group[1:], group[0]], strict=True)
        if next_map is not scene_map
    ]


def sheet(maps: Sequence[SceneMap], side: int = 256) -> NDArray[np.uint8]:
    """Draw a row for each scene: the render, the overlaid semantic map, the overlaid true regions."""
    cells = []
    for scene_map in maps:
        true_regions = np.full(scene_map.regions.shape, len(scene_map.truth))  # the background
        for number, mask in enumerate(scene_map.truth):
            true_regions[mask] = number
        colours = {**dict(zip(scene_map.names, PALETTE[1:], strict=False)), scene_map.names[-2]: GROUND, OTHER: WHITE}
        cells.append(
            [
                enlarged(scene_map.picture, side),
                *(
                    overlay(scene_map.picture, one, scene_map.names, side=side, colours=colours)
                    for one in (scene_map.regions, true_regions)
                ),
            ]
        )
    flat = padded([picture for row in cells for picture in row])
    return contact_sheet(
        [flat[at : at + 3] for at in range(0, len(flat), 3)],
        columns=["render", "semantic map", "true regions"],
        rows=[f"{scene_map.caption} ({np.mean(scene_map.overlaps()):.2f})" for scene_map in maps],
        title="Which words each patch follows; in brackets the mean intersection over union with the true regions",
    )


def _regions(tokens: NDArray[np.integer], groups: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Convert token indices to the indices of their groups of words; the last number stands for all other words."""
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
    results: dict[str, Any] = {
        "scenes": len(maps),
        "things": sum(len(each.truth) for each in maps),
        "iterations": list(range(STEPS // 2, STEPS)),
        "grid": maps[0].regions.shape,
        "mean_overlap": mean_overlap(maps),
        "mean_overlap_of_other_scenes": mean_overlap(exchanged(maps)),
    }
    print(json.dumps(results, indent=2))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    if options.sheet:
        from PIL import Image

        Image.fromarray(sheet(maps[: options.shown])).save(options.sheet)


if __name__ == "__main__":
    main()
