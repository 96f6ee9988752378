"""An automatic judge: what a picture of the demo model shows of its caption, found by measuring the picture.

Colours are matched to the palette, regions are compared with rendered outlines, surfaces by how much of the lighter
tone they hold and whether it runs in bands. Only numpy and scipy: the simulated evaluators use it.
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
    """What was found of one thing."""

    colour: bool
    shape: bool
    surface: bool


@dataclass(frozen=True)
class Verdict:
    """What was found of a caption."""

    things: tuple[ThingVerdict, ...]
    places: tuple[bool, ...]
    background: bool

    @property
    def marks(self) -> tuple[bool, ...]:
        """Every single finding, in one row."""
        per_thing = tuple(mark for t in self.things for mark in (t.colour, t.shape, t.surface))
        return (*per_thing, *self.places, self.background)

    @property
    def quality(self) -> float:
        """Share of the findings that are right, 0–1."""
        return float(np.mean(self.marks))

    @property
    def all_right(self) -> bool:
        """Whether the picture shows everything that its caption says."""
        return all(self.marks)


@lru_cache(maxsize=1)
def _palette() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours (P, 3), the colour's index or −1 for a background, and whether the entry is a lighter tone."""
    values, owner, light = [], [], []
    for index, rgb in enumerate(scenes.COLOURS.values()):
        tone = np.array(rgb, float)
        values += [tone, tone + (255 - tone) * scenes.TINT]
        owner += [index, index]
        light += [False, True]
    for rgb in scenes.BACKGROUNDS.values():
        values.append(np.array(rgb, float))
        owner.append(-1)
        light.append(False)
    return np.array(values), np.array(owner), np.array(light)


def _classify(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel's colour index (−1: background) and whether it is the lighter tone."""
    values, owner, light = _palette()
    distance = ((picture[:, :, None, :].astype(float) - values) ** 2).sum(axis=-1)
    nearest = distance.argmin(axis=-1)
    return owner[nearest], light[nearest]


def _background_colour(picture: np.ndarray) -> str:
    edge = np.concatenate([picture[:3].reshape(-1, 3), picture[-3:].reshape(-1, 3), picture[:, :3].reshape(-1, 3)])
    middle = np.median(edge, axis=0)
    names = list(scenes.BACKGROUNDS)
    distances = [float(np.square(middle - scenes.BACKGROUNDS[name]).sum()) for name in names]
    return names[int(np.argmin(distances))]


def _region(picture: np.ndarray, owner: np.ndarray, ground: np.ndarray, colour: str) -> np.ndarray | None:
    """The connected region of a colour with everything it encloses of non-ground; none if there is too little."""
    index = list(scenes.COLOURS).index(colour)
    foreground = np.square(picture.astype(float) - ground).sum(axis=-1) > 40**2
    seed = owner == index
    if seed.sum() < 0.008 * seed.size:
        return None
    reach = ndimage.binary_dilation(seed, iterations=2) & foreground
    others = ndimage.binary_opening((owner >= 0) & ~seed, iterations=1)
    region = ndimage.binary_fill_holes(seed | (reach & ~others))
    labels, count = ndimage.label(region)
    if count == 0:
        return None
    sizes = ndimage.sum_labels(seed, labels, np.arange(1, count + 1))
    largest = labels == 1 + int(np.argmax(sizes))
    if (largest & seed).sum() < 0.6 * seed.sum() or largest.sum() < 0.012 * largest.size:
        return None
    return largest


def _normalised(mask: np.ndarray) -> np.ndarray:
    """A mask moved to its centroid and scaled to a fixed area, float (32, 32)."""
    cy, cx = ndimage.center_of_mass(mask)
    scale = np.sqrt(mask.sum()) / (0.5 * TEMPLATE)
    offset = np.array([cy, cx]) - scale * (TEMPLATE - 1) / 2
    moved: np.ndarray = ndimage.affine_transform(
        mask.astype(float), np.eye(2) * scale, offset, output_shape=(TEMPLATE, TEMPLATE), order=1
    )
    return moved


@lru_cache(maxsize=1)
def _outlines() -> tuple[list[str], np.ndarray]:
    """Normalised outlines of every shape at seven rotations."""
    names, masks = [], []
    for shape in scenes.SHAPES:
        for angle in np.linspace(-0.24, 0.24, 7):
            spot = Placement(0.5, 0.5, 0.36, float(angle))
            scene = Scene(Description((Thing(shape, "red"),), "white"), (spot,), ((0, 0, 0),) * 2)
            names.append(shape)
            masks.append(_normalised(scenes.render(scene, 96)[1][0]))
    return names, np.array(masks)


def _shape(region: np.ndarray) -> str:
    names, masks = _outlines()
    found = _normalised(region)
    overlap = np.minimum(masks, found).sum(axis=(1, 2)) / np.maximum(masks, found).sum(axis=(1, 2))
    return names[int(overlap.argmax())]


def _surface(picture: np.ndarray, region: np.ndarray, colour: str) -> str:
    """Plain, striped or dotted, from the share of the lighter tone inside the region and its direction."""
    inside = ndimage.binary_erosion(region, iterations=1)
    if inside.sum() < 20:
        return "plain"
    tone = np.array(scenes.COLOURS[colour], float)
    axis = (255 - tone) * scenes.TINT
    lightness = np.clip(((picture - tone) @ axis) / (axis @ axis), -0.5, 1.5)  # 0 the tone, 1 its lighter one
    values = lightness[inside]
    spread = np.quantile(values, 0.9) - np.quantile(values, 0.1)
    if spread < 0.42:
        return "plain"
    core = ndimage.binary_erosion(region, iterations=2)
    core = core if core.sum() >= 20 else inside
    smooth = ndimage.gaussian_filter(lightness, 0.6)
    gy, gx = np.gradient(smooth)
    along, across = float((gy[core] ** 2).sum()), float((gx[core] ** 2).sum())
    return "striped" if along > 2.4 * across else "dotted"


def _place(kind: str, subject: np.ndarray, references: list[np.ndarray], margin: float) -> bool:
    """Whether the subject's centroid (y, x) stands as the relation says to every reference."""
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
    owner, _ = _classify(picture)
    ground_name = _background_colour(picture)
    edge = np.concatenate([picture[:3].reshape(-1, 3), picture[-3:].reshape(-1, 3)])
    ground = np.median(edge, axis=0)
    regions = [_region(picture, owner, ground, thing.colour) for thing in description.things]
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
    """Whether a thing took another's colour or surface: none where a caption names one thing, or equal ones.

    A colour has leaked where the region of one thing's colour has another thing's shape; a surface where a thing's
    region has another thing's surface and not its own.
    """
    owner, _ = _classify(picture)
    edge = np.concatenate([picture[:3].reshape(-1, 3), picture[-3:].reshape(-1, 3)])
    ground = np.median(edge, axis=0)
    comparable = False
    for thing in description.things:
        others = [other for other in description.things if other is not thing]
        shapes = {other.shape for other in others} - {thing.shape}
        surfaces = {other.surface for other in others} - {thing.surface}
        comparable = comparable or bool(shapes or surfaces)
        region = _region(picture, owner, ground, thing.colour)
        if region is None:
            continue
        if _shape(region) in shapes or _surface(picture, region, thing.colour) in surfaces:
            return True
    return False if comparable else None


def quality(picture: np.ndarray, caption: str) -> float:
    """Share of what a caption says that the picture shows, 0–1; ``ValueError`` for a caption of another grammar."""
    return judge(picture, scenes.parse(caption)).quality
