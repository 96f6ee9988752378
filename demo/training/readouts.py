"""Define linear read-outs that train the tiny CLIP's hidden states and are then discarded.

The contrastive loss alone trains only two pooled features, which hardly learn shapes and places in a few thousand
steps. The read-outs train what the denoiser needs: each word's state encodes its thing; the end-of-text state and the
picture's state encode the whole scene (the position, shape and surface of each colour).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from evenhand.demo import scenes

GRID = 4  # side of the coarse layout
COLOURS, SHAPES, GROUNDS = list(scenes.COLOURS), list(scenes.SHAPES), list(scenes.BACKGROUNDS)


@dataclass(frozen=True)
class Targets:
    """True attributes of a batch of scenes, as class indices.

    thing: rows (N,) of the batch, colours, shapes and surfaces (N,) and place (N, 2; 0, 1, 2 along x and y) of all
    things; layout: (B, 4, 4) and patches: (B, 8, 8), the covering thing's colour or 8 for the ground; ground: (B,).
    """

    rows: torch.Tensor
    colours: torch.Tensor
    shapes: torch.Tensor
    surfaces: torch.Tensor
    places: torch.Tensor
    layout: torch.Tensor
    patches: torch.Tensor
    patch_things: torch.Tensor  # (B, 8, 8): index into the things' axis, or −1
    ground: torch.Tensor


def _cells(masks: np.ndarray, side: int) -> np.ndarray:
    """Return the index of the thing that covers most of each cell, −1 where less than 0.35; (side, side)."""
    share = masks.reshape(len(masks), side, masks.shape[1] // side, side, -1).mean(axis=(2, 4))
    cells: np.ndarray = np.where(share.max(axis=0) > 0.35, share.argmax(axis=0), -1)
    return cells


def _third(value: float) -> int:
    return 0 if value < 0.42 else 2 if value > 0.58 else 1


def targets(batch_scenes: list[scenes.Scene], masks: list[np.ndarray]) -> Targets:
    """Compute the targets of scenes and their masks, bool (things, H, W) each."""
    things = [(row, k) for row, scene in enumerate(batch_scenes) for k in range(len(scene.description.things))]
    first_indices = np.cumsum([0, *(len(scene.description.things) for scene in batch_scenes)])[:-1]
    batch_things = [batch_scenes[row].description.things[k] for row, k in things]
    colours = np.array([COLOURS.index(t.colour) for t in batch_things] + [len(COLOURS)])
    thing_indices = {side: np.stack([_cells(m, side) for m in masks]) for side in (GRID, 2 * GRID)}
    batch_indices = {
        side: np.where(indices >= 0, indices + first_indices[:, None, None], -1)
        for side, indices in thing_indices.items()
    }
    placements = [batch_scenes[row].placements[k] for row, k in things]
    return Targets(
        rows=torch.tensor([row for row, _ in things]),
        colours=torch.from_numpy(colours[:-1]),
        shapes=torch.tensor([SHAPES.index(t.shape) for t in batch_things]),
        surfaces=torch.tensor([scenes.SURFACES.index(t.surface) for t in batch_things]),
        places=torch.tensor([(_third(spot.x), _third(spot.y)) for spot in placements]),
        layout=torch.from_numpy(colours[batch_indices[GRID]]),
        patches=torch.from_numpy(colours[batch_indices[2 * GRID]]),
        patch_things=torch.from_numpy(batch_indices[2 * GRID]),
        ground=torch.tensor([GROUNDS.index(scene.description.background) for scene in batch_scenes]),
    )


class ThingHead(nn.Module):
    """Read-out of colour, shape, surface and optionally rough place of one thing from one hidden state."""

    def __init__(self, width: int, *, place: bool) -> None:
        super().__init__()
        self.sizes = [len(COLOURS), len(SHAPES), len(scenes.SURFACES), *((3, 3) if place else ())]
        self.head = nn.Linear(width, sum(self.sizes))

    def loss(self, states: torch.Tensor, truth: Targets, things: torch.Tensor) -> torch.Tensor:
        """Average the cross-entropies of the read-outs; states (M, width) of the things with indices (M,)."""
        class_targets = [truth.colours, truth.shapes, truth.surfaces, truth.places[:, 0], truth.places[:, 1]]
        parts = self.head(states).split(self.sizes, dim=-1)
        return torch.stack([F.cross_entropy(p, w[things]) for p, w in zip(parts, class_targets, strict=False)]).mean()


class SceneHead(nn.Module):
    """Read-out of the colour layout, the ground's colour, and each thing's shape, surface and place, from one state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layout = nn.Linear(width, GRID * GRID * (len(COLOURS) + 1))
        self.ground = nn.Linear(width, len(GROUNDS))
        self.shape = nn.Linear(width, len(COLOURS) * len(SHAPES))
        self.surface = nn.Linear(width, len(COLOURS) * len(scenes.SURFACES))
        self.place = nn.Linear(width, len(COLOURS) * 6)

    def loss(self, states: torch.Tensor, truth: Targets) -> torch.Tensor:
        """Sum the weighted mean cross-entropies; states (B, width)."""
        layout = self.layout(states).view(-1, len(COLOURS) + 1)
        things = torch.arange(len(truth.rows))
        shape = self.shape(states)[truth.rows].view(len(things), len(COLOURS), -1)[things, truth.colours]
        surface = self.surface(states)[truth.rows].view(len(things), len(COLOURS), -1)[things, truth.colours]
        place = self.place(states)[truth.rows].view(len(things), len(COLOURS), 2, 3)[things, truth.colours]
        return (
            2.0 * F.cross_entropy(layout, truth.layout.flatten())
            + 0.5 * F.cross_entropy(self.ground(states), truth.ground)
            + F.cross_entropy(shape, truth.shapes)
            + F.cross_entropy(surface, truth.surfaces)
            + 2.0 * F.cross_entropy(place.flatten(0, 1), truth.places.flatten())
        )


class PatchHead(nn.Module):
    """Read-out of the thing that covers each patch, from the vision tower's patch states."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.colour = nn.Linear(width, len(COLOURS) + 1)
        self.thing = ThingHead(width, place=False)

    def loss(self, states: torch.Tensor, truth: Targets) -> torch.Tensor:
        """Add the cross-entropies of colours and things; states (B, 64, width), row by row."""
        is_covered = truth.patch_things.flatten(1) >= 0
        colour = F.cross_entropy(self.colour(states).flatten(0, 1), truth.patches.flatten())
        return colour + self.thing.loss(states[is_covered], truth, truth.patch_things.flatten(1)[is_covered])
