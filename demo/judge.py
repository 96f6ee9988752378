"""Judge automatically how much of its caption a picture of the demo model shows.

Colours are matched to the palette, regions are compared with rendered outlines, and surfaces are classified by the
share of the lighter tone and by whether it forms bands. Only numpy and scipy are imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from evenhand.demo import scenes
from evenhand.demo.scenes import Description, Placement, Scene, Thing

TEMPLATE = 32  # side of the normalised outlines


@dataclass(frozen=True)
class ThingVerdict:
    """Which properties of one thing the picture shows."""

    colour: bool
    shape: bool
    surface: bool


@dataclass(frozen=True)
class Verdict:
    """Which statements of a caption the picture shows."""

    things: tuple[ThingVerdict, ...]
    places: tuple[bool, ...]
    background: bool

    @property
    def marks(self) -> tuple[bool, ...]:
        """All findings in one row."""
        per_thing = tuple(mark for t in self.things for mark in (t.colour, t.shape, t.surface))
        return (*per_thing, *self.places, self.background)

    @property
    def quality(self) -> float:
        """Share of findings that are right, 0–1."""
        return float(np.mean(self.marks))

    @property
    def all_right(self) -> bool:
        """Whether the picture shows everything in its caption."""
        return all(self.marks)


@lru_cache(maxsize=1)
def _palette() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return colours (P, 3), each one's index (−1 for backgrounds), and whether it is a lighter tone."""
    values, colour_indices, is_light = [], [], []
    for index, rgb in enumerate(scenes.COLOURS.values()):
        tone = np.array(rgb, float)
        values += [tone, tone + (255 - tone) * scenes.TINT]
        colour_indices += [index, index]
        is_light += [False, True]
    for rgb in scenes.BACKGROUNDS.values():
        values.append(np.array(rgb, float))
        colour_indices.append(-1)
        is_light.append(False)
    return np.array(values), np.array(colour_indices), np.array(is_light)


def _classify(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's colour index (−1: background) and whether it is the lighter tone."""
    values, colour_indices, is_light = _palette()
    distance = ((picture[:, :, None, :].astype(float) - values) ** 2).sum(axis=-1)
    nearest = distance.argmin(axis=-1)
    return colour_indices[nearest], is_light[nearest]


def _background_colour(picture: np.ndarray) -> str:
    edge = np.concatenate([picture[:3].reshape(-1, 3), picture[-3:].reshape(-1, 3), picture[:, :3].reshape(-1, 3)])
    middle = np.median(edge, axis=0)
    names = list(scenes.BACKGROUNDS)
    distances = [float(np.square(middle - scenes.BACKGROUNDS[name]).sum()) for name in names]
    return names[int(np.argmin(distances))]


def _region(picture: np.ndarray, colour_indices: np.ndarray, ground: np.ndarray, colour: str) -> np.ndarray | None:
    """Return the connected region of a colour and the foreground it encloses; None if it is too small."""
    index = list(scenes.COLOURS).index(colour)
    foreground = np.square(picture.astype(float) - ground).sum(axis=-1) > 40**2
    colour_pixels = colour_indices == index
    if colour_pixels.sum() < 0.008 * colour_pixels.size:
        return None
    neighbourhood = ndimage.binary_dilation(colour_pixels, iterations=2) & foreground
    others = ndimage.binary_opening((colour_indices >= 0) & ~colour_pixels, iterations=1)
    region = ndimage.binary_fill_holes(colour_pixels | (neighbourhood & ~others))
    labels, count = ndimage.label(region)
    if count == 0:
        return None
    sizes = ndimage.sum_labels(colour_pixels, labels, np.arange(1, count + 1))
    largest = labels == 1 + int(np.argmax(sizes))
    if (largest & colour_pixels).sum() < 0.6 * colour_pixels.sum() or largest.sum() < 0.012 * largest.size:
        return None
    return largest


def _normalise(mask: np.ndarray) -> np.ndarray:
    """Centre a mask on its centroid and scale it to a fixed area, float (32, 32)."""
    cy, cx = ndimage.center_of_mass(mask)
    scale = np.sqrt(mask.sum()) / (0.5 * TEMPLATE)
    offset = np.array([cy, cx]) - scale * (TEMPLATE - 1) / 2
    template: np.ndarray = ndimage.affine_transform(
        mask.astype(float), np.eye(2) * scale, offset, output_shape=(TEMPLATE, TEMPLATE), order=1
    )
    return template


@lru_cache(maxsize=1)
def _outlines() -> tuple[list[str], np.ndarray]:
    """Return normalised outlines of every shape at seven rotations."""
    names, masks = [], []
    for shape in scenes.SHAPES:
        for angle in np.linspace(-0.24, 0.24, 7):
            spot = Placement(0.5, 0.5, 0.36, float(angle))
            scene = Scene(Description((Thing(shape, "red"),), "white"), (spot,), ((0, 0, 0),) * 2)
            names.append(shape)
            masks.append(_normalise(scenes.render(scene, 96)[1][0]))
    return names, np.array(masks)


def _shape(region: np.ndarray) -> str:
    names, masks = _outlines()
    outline = _normalise(region)
    overlap = np.minimum(masks, outline).sum(axis=(1, 2)) / np.maximum(masks, outline).sum(axis=(1, 2))
    return names[int(overlap.argmax())]


def _surface(picture: np.ndarray, region: np.ndarray, colour: str) -> str:
    """Classify a surface by the share and the direction of the lighter tone inside the region."""
    interior = ndimage.binary_erosion(region, iterations=1)
    if interior.sum() < 20:
        return "plain"
    tone = np.array(scenes.COLOURS[colour], float)
    axis = (255 - tone) * scenes.TINT
    lightness = np.clip(((picture - tone) @ axis) / (axis @ axis), -0.5, 1.5)  # 0 the tone, 1 its lighter one
    values = lightness[interior]
    spread = np.quantile(values, 0.9) - np.quantile(values, 0.1)
    if spread < 0.42:
        return "plain"
    core = ndimage.binary_erosion(region, iterations=2)
    core = core if core.sum() >= 20 else interior
    smooth = ndimage.gaussian_filter(lightness, 0.6)
    gy, gx = np.gradient(smooth)
    along, across = float((gy[core] ** 2).sum()), float((gx[core] ** 2).sum())
    return "striped" if along > 2.4 * across else "dotted"


def _place(kind: str, subject: np.ndarray, references: list[np.ndarray], margin: float) -> bool:
    """Check that the subject's centroid (y, x) is in the given relation to every reference."""
    steps = [subject - reference for reference in references]
    return all(
        {
            "left of": dx < -margin,
            "right of": dx > margin,
            "above": dy < -margin,
            "below": dy > margin,
            "next to": abs(dx) > max(margin, abs(dy)),
        }[kind]
        for dy, dx in steps
    )


def judge(picture: np.ndarray, description: Description) -> Verdict:
    """Measure a picture, uint8 (H, W, 3), against a description."""
    colour_indices, _ = _classify(picture)
    ground_name = _background_colour(picture)
    edge = np.concatenate([picture[:3].reshape(-1, 3), picture[-3:].reshape(-1, 3)])
    ground = np.median(edge, axis=0)
    regions = [_region(picture, colour_indices, ground, thing.colour) for thing in description.things]
    things = tuple(
        ThingVerdict(
            colour=region is not None,
            shape=region is not None and _shape(region) == thing.shape,
            surface=region is not None and _surface(picture, region, thing.colour) == thing.surface,
        )
        for thing, region in zip(description.things, regions, strict=True)
    )
    centres = [None if r is None else np.array(ndimage.center_of_mass(r)) for r in regions]
    margin = 0.08 * picture.shape[0]
    places = []
    for relation in description.relations:
        subject = centres[relation.subject]
        references = [centre for i in relation.reference if (centre := centres[i]) is not None]
        if subject is None or len(references) < len(relation.reference):
            places.append(False)
        else:
            places.append(_place(relation.kind, subject, references, margin))
    return Verdict(things, tuple(places), ground_name == description.background)


def leakage(picture: np.ndarray, description: Description) -> bool | None:
    """Check whether a thing has another's colour or surface; None if no other thing differs.

    A colour has leaked where the region of one thing's colour has another thing's shape; a surface where a thing's
    region has another thing's surface and not its own.
    """
    colour_indices, _ = _classify(picture)
    edge = np.concatenate([picture[:3].reshape(-1, 3), picture[-3:].reshape(-1, 3)])
    ground = np.median(edge, axis=0)
    has_distinct_others = False
    for thing in description.things:
        others = [other for other in description.things if other is not thing]
        shapes = {other.shape for other in others} - {thing.shape}
        surfaces = {other.surface for other in others} - {thing.surface}
        has_distinct_others = has_distinct_others or bool(shapes or surfaces)
        region = _region(picture, colour_indices, ground, thing.colour)
        if region is None:
            continue
        if _shape(region) in shapes or _surface(picture, region, thing.colour) in surfaces:
            return True
    return False if has_distinct_others else None


def quality(picture: np.ndarray, caption: str) -> float:
    """Compute the share of a caption that the picture shows, 0–1; ``ValueError`` for a caption of another grammar."""
    return judge(picture, scenes.parse(caption)).quality
