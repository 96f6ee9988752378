"""Generate, describe, parse and render synthetic scenes of coloured shapes.

A *description* holds the content of a caption (things, relations, background); a *scene* adds what a caption does not
state (places, sizes, jitter). All randomness comes from the ``numpy.random.Generator`` arguments. Only numpy is
imported, so that the web application may import this module.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from evenhand.errors import InputError

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "red": (214, 36, 36),
    "orange": (245, 130, 28),
    "yellow": (250, 216, 40),
    "green": (44, 156, 58),
    "cyan": (48, 200, 208),
    "blue": (44, 78, 208),
    "purple": (122, 52, 170),
    "pink": (246, 122, 192),
}
BACKGROUNDS: dict[str, RGB] = {
    "white": (244, 244, 244),
    "black": (24, 24, 24),
    "grey": (128, 128, 128),
    "beige": (222, 204, 170),
    "brown": (104, 70, 46),
}
SHAPES = ("circle", "square", "triangle", "star", "cross")
SURFACES = ("plain", "striped", "dotted")
SIDES = ("left of", "right of", "above", "below")
RELATIONS = (*SIDES, "next to")
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
TINT = 0.62  # mixing share of white in the lighter tone of a striped or dotted surface


@dataclass(frozen=True)
class Thing:
    """One object of a caption."""

    shape: str
    colour: str
    surface: str = "plain"


@dataclass(frozen=True)
class Relation:
    """``things[subject]`` is ``kind`` (e.g. left of) the things at ``reference`` (one index, or two for "them")."""

    subject: int
    kind: str
    reference: tuple[int, ...]


@dataclass(frozen=True)
class Description:
    """The content of a caption: one to three things, their relations, and the background's colour."""

    things: tuple[Thing, ...]
    background: str
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True)
class Placement:
    """Centre and radius as fractions of the picture's side, rotation in radians, phase of the pattern in [0, 1)."""

    x: float
    y: float
    radius: float
    angle: float = 0.0
    phase: float = 0.0


@dataclass(frozen=True)
class Scene:
    """A description with places and colours; ``tints`` shifts each colour (things, then ground)."""

    description: Description
    placements: tuple[Placement, ...]
    tints: tuple[RGB, ...]


# --------------------------------------------------------------------------------------- held-out things


def is_held_out(thing: Thing) -> bool:
    """Decide by a hash whether a (shape, colour, surface) triple is held out of training (about one in ten is)."""
    digest = hashlib.sha256(f"{thing.surface} {thing.colour} {thing.shape}".encode()).digest()
    return digest[0] < 26


def all_things() -> Iterator[Thing]:
    """Yield every (shape, colour, surface) triple, in a fixed order."""
    return (Thing(s, c, u) for s in SHAPES for c in COLOURS for u in SURFACES)


HELD_OUT: tuple[Thing, ...] = tuple(thing for thing in all_things() if is_held_out(thing))
IN_TRAINING: tuple[Thing, ...] = tuple(thing for thing in all_things() if not is_held_out(thing))


# --------------------------------------------------------------------------------------- drawing at random


def sample_description(
    rng: np.random.Generator, *, things: int | None = None, pool: tuple[Thing, ...] = IN_TRAINING
) -> Description:
    """Draw a description. Things of one scene differ in colour, so that a caption identifies each.

    ``things`` fixes their number (1–3; by default 1, 2 and 3 occur in 35, 45 and 20 %).
    """
    count = things if things is not None else int(rng.choice((1, 2, 3), p=(0.35, 0.45, 0.2)))
    scene_things: list[Thing] = []
    while len(scene_things) < count:
        thing = pool[rng.integers(len(pool))]
        if all(thing.colour != other.colour for other in scene_things):
            scene_things.append(thing)
    relations: tuple[Relation, ...] = ()
    if count >= 2:
        kind = str(rng.choice(RELATIONS))
        relations = (Relation(0, kind, (1,)),)
        if count == 3:
            other_axis = ("left of", "right of") if kind in ("above", "below") else ("above", "below")
            relations += (Relation(2, str(rng.choice(other_axis)), (0, 1)),)
    return Description(tuple(scene_things), str(rng.choice(list(BACKGROUNDS))), relations)


def _centres(description: Description, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Return centres that satisfy the description's relations, before jitter."""
    count = len(description.things)
    if count == 1:
        return [(0.5, 0.5)]
    kind = description.relations[0].kind
    if kind == "next to":
        kind = str(rng.choice(("left of", "right of")))
    first_centre, second_centre = {
        "left of": ((0.27, 0.5), (0.73, 0.5)),
        "right of": ((0.73, 0.5), (0.27, 0.5)),
        "above": ((0.5, 0.27), (0.5, 0.73)),
        "below": ((0.5, 0.73), (0.5, 0.27)),
    }[kind]
    if count == 2:
        return [first_centre, second_centre]
    third_centre, dx, dy = {
        "above": ((0.5, 0.25), 0.0, 0.22),
        "below": ((0.5, 0.75), 0.0, -0.22),
        "left of": ((0.25, 0.5), 0.22, 0.0),
        "right of": ((0.75, 0.5), -0.22, 0.0),
    }[description.relations[1].kind]
    return [(first_centre[0] + dx, first_centre[1] + dy), (second_centre[0] + dx, second_centre[1] + dy), third_centre]


def place(description: Description, rng: np.random.Generator) -> Scene:
    """Draw places, sizes and jitter for a description."""
    count = len(description.things)
    low, high, jitter = {1: (0.27, 0.37, 0.07), 2: (0.195, 0.225, 0.03), 3: (0.175, 0.195, 0.02)}[count]
    placements = tuple(
        Placement(
            x=x + rng.uniform(-jitter, jitter),
            y=y + rng.uniform(-jitter, jitter),
            radius=rng.uniform(low, high),
            angle=rng.uniform(-0.2, 0.2),
            phase=rng.uniform(),
        )
        for x, y in _centres(description, rng)
    )
    shifts = rng.integers(-8, 9, size=(count + 1, 1)) + rng.integers(-3, 4, size=(count + 1, 3))
    return Scene(description, placements, tuple((int(r), int(g), int(b)) for r, g, b in shifts))


def sample_scene(rng: np.random.Generator, *, things: int | None = None) -> Scene:
    """Draw a scene from the training distribution."""
    return place(sample_description(rng, things=things), rng)


# --------------------------------------------------------------------------------------- captions

_ARTICLES = ("a", "a", "the", "one")
_PHRASES = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "next to": ("next to", "beside"),
}
_CANONICAL = {phrase: kind for kind, variants in _PHRASES.items() for phrase in variants}
_GROUNDS = ("background", "wall", "floor")


def _noun(thing: Thing, rng: np.random.Generator) -> str:
    surface = thing.surface
    if surface == "plain" and rng.random() < 0.6:
        surface = ""
    return " ".join(word for word in (surface, thing.colour, thing.shape) if word)


def _with_article(noun: str, rng: np.random.Generator) -> str:
    article = str(rng.choice(_ARTICLES))
    if article == "a" and noun[0] in "aeiou":
        article = "an"
    return f"{article} {noun}"


def describe(description: Description, rng: np.random.Generator) -> str:
    """Write a caption in plain English that ``parse`` can read.

    Captions begin with different words: a network would direct its idle attention to a constant first word, and in
    Stable Diffusion the begin-of-sentence token has this role.
    """
    nouns = [_noun(thing, rng) for thing in description.things]
    first_noun = nouns[0] if rng.random() < 0.5 else _with_article(nouns[0], rng)
    other_nouns = [_with_article(noun, rng) for noun in nouns[1:]]
    body = first_noun
    if other_nouns:
        phrase = str(rng.choice(_PHRASES[description.relations[0].kind]))
        if rng.random() < 0.2:
            body = f"{phrase} {other_nouns[0]} is {_with_article(nouns[0], rng)}"
        else:
            body = f"{first_noun} {phrase} {other_nouns[0]}"
    if len(other_nouns) == 2:
        body += f", with {other_nouns[1]} {rng.choice(_PHRASES[description.relations[1].kind])} them"
    ground = f"{description.background} {rng.choice(_GROUNDS)}"
    ground_article = "a" if rng.random() < 0.8 else "the"
    text = (
        f"{body} on {ground_article} {ground}"
        if rng.random() < 0.7
        else f"on {ground_article} {ground}, {body}"
        if rng.random() < 0.6
        else f"{ground} with {body}"
    )
    return text[0].upper() + text[1:]


def _alternatives(words: object) -> str:
    return "|".join(sorted(words, key=len, reverse=True))  # type: ignore[call-overload]


def vocabulary() -> list[str]:
    """List every word that a caption of this grammar may use, in order."""
    relations = (text for texts in _PHRASES.values() for text in texts)
    phrases = (*COLOURS, *BACKGROUNDS, *SHAPES, *SURFACES, *_ARTICLES, *_GROUNDS, *relations, "an is on them with")
    return sorted({word for text in phrases for word in text.split()})


_THING = re.compile(
    rf"(?:\b(?P<surface>{_alternatives(SURFACES)}) )?\b(?P<colour>{_alternatives(COLOURS)}) "
    rf"(?P<shape>{_alternatives(SHAPES)})\b"
)
_RELATION = re.compile(rf"\b(?:{_alternatives(_CANONICAL)})\b")
_THEM = re.compile(rf"\b({_alternatives(_CANONICAL)}) them\b")
_BACKGROUND = re.compile(rf"\b(?P<colour>{_alternatives(BACKGROUNDS)}) (?:{_alternatives(_GROUNDS)})\b")


def thing_spans(text: str) -> list[tuple[int, int]]:
    """Return the character spans of a caption's things, in their order in the description."""
    matches, is_inverted = _read(text)
    spans = [m.span() for m in matches]
    return [spans[1], spans[0], *spans[2:]] if is_inverted else spans


def background_span(text: str) -> tuple[int, int]:
    """Return the character span of the words that name the background."""
    match = _BACKGROUND.search(text.lower())
    if match is None:
        raise InputError(f"no background in the caption {text!r}")
    return match.span()


def _read(text: str) -> tuple[list[re.Match[str]], bool]:
    matches = list(_THING.finditer(text.lower()))
    if not matches:
        raise InputError(f"no coloured shape in the caption {text!r}")
    is_inverted = len(matches) >= 2 and not _RELATION.search(text.lower()[matches[0].end() : matches[1].start()])
    return matches, is_inverted


def parse(text: str) -> Description:
    """Parse a caption of this grammar.

    Raises ``ValueError``, which quotes the caption, if it names no thing, no background or no relation.
    """
    lower_text = text.lower()
    matches, is_inverted = _read(text)
    things = [Thing(m["shape"], m["colour"], m["surface"] or "plain") for m in matches]
    relations: tuple[Relation, ...] = ()
    if len(things) >= 2:
        between = lower_text[: matches[0].start()] if is_inverted else lower_text[matches[0].end() : matches[1].start()]
        relation_match = _RELATION.search(between)
        if relation_match is None:
            raise InputError(f"no relation between the first two things of {text!r}")
        relations = (Relation(0, _CANONICAL[relation_match[0]], (1,)),)
        if is_inverted:
            things[0], things[1] = things[1], things[0]
    if len(things) >= 3:
        third_match = _THEM.search(lower_text)
        if third_match is None:
            raise InputError(f"no place for the third thing of {text!r}")
        relations += (Relation(2, _CANONICAL[third_match[1]], (0, 1)),)
    background = _BACKGROUND.search(lower_text)
    if background is None:
        raise InputError(f"no background in the caption {text!r}")
    return Description(tuple(things), background["colour"], relations)


def exchange_attribute(description: Description, rng: np.random.Generator) -> Description:
    """Change one attribute: a colour, shape, surface, side or background, or swap two colours."""
    things = list(description.things)
    thing_index = int(rng.integers(len(things)))
    choices = ["colour", "shape", "surface", "background"]
    if len(things) >= 2:
        choices += ["swap", "swap"]
        if description.relations[0].kind in SIDES:
            choices += ["side", "side"]
    kind = str(rng.choice(choices))
    if kind == "background":
        other_backgrounds = [b for b in BACKGROUNDS if b != description.background]
        return replace(description, background=str(rng.choice(other_backgrounds)))
    if kind == "side":
        first = description.relations[0]
        opposite_relation = replace(first, kind=OPPOSITE[first.kind])
        return replace(description, relations=(opposite_relation, *description.relations[1:]))
    if kind == "swap":
        a, b = things[0], things[1]
        things[0], things[1] = replace(a, colour=b.colour), replace(b, colour=a.colour)
    else:
        pool = {"colour": tuple(COLOURS), "shape": SHAPES, "surface": SURFACES}[kind]
        excluded_values = {getattr(thing, kind) for thing in (things if kind == "colour" else [things[thing_index]])}
        value = str(rng.choice([v for v in pool if v not in excluded_values]))
        things[thing_index] = replace(things[thing_index], **{kind: value})
    return replace(description, things=tuple(things))


# --------------------------------------------------------------------------------------- pictures


def _distance(shape: str, u: np.ndarray, v: np.ndarray, r: float) -> np.ndarray:
    """Compute the signed distance (pixels, negative inside) of points (u, v) to a shape of radius r at the origin."""
    if shape == "circle":
        return np.hypot(u, v) - 0.92 * r
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - 0.86 * r
    if shape == "triangle":
        return np.maximum(np.abs(u) * 0.866 - v * 0.5, v) - 0.6 * r
    if shape == "cross":
        arm, width = r, 0.34 * r
        bar = np.maximum(np.abs(u) - arm, np.abs(v) - width)
        return np.minimum(bar, np.maximum(np.abs(u) - width, np.abs(v) - arm))
    if shape == "star":
        sector = np.pi / 5
        angle = np.abs((np.arctan2(u, -v) + sector) % (2 * sector) - sector)
        rho = np.hypot(u, v)
        x, y = rho * np.cos(angle), rho * np.sin(angle)
        tip, notch = 1.12 * r, 0.46 * r
        nx, ny = notch * np.sin(sector), tip - notch * np.cos(sector)
        return ((x - tip) * nx + y * ny) / np.hypot(nx, ny)
    raise InputError(f"unknown shape {shape!r}; choose one of {', '.join(SHAPES)}")


def _pattern(surface: str, u: np.ndarray, v: np.ndarray, period: float, phase: float) -> np.ndarray | float:
    """Compute the coverage (0–1) of a surface's lighter tone."""
    if surface == "plain":
        return 0.0
    if surface == "striped":
        wave = np.abs((v / period + phase) % 1.0 - 0.5) * period
        return np.clip(wave - 0.25 * period + 0.5, 0.0, 1.0)
    a, b = (u + v) / np.sqrt(2), (u - v) / np.sqrt(2)
    du = ((a / period + phase) % 1.0 - 0.5) * period
    dv = ((b / period + phase) % 1.0 - 0.5) * period
    return np.clip(0.34 * period - np.hypot(du, dv) + 0.5, 0.0, 1.0)


def _shifted(colour: RGB, shift: RGB) -> np.ndarray:
    return np.clip(np.add(colour, shift), 0, 255).astype(np.float32)


def render(scene: Scene, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Draw a scene.

    Returns the picture, uint8 (size, size, 3), and the true masks, bool (things, size, size), of the visible pixels.
    """
    grid = np.arange(size, dtype=np.float32) + 0.5
    xs, ys = grid[None, :], grid[:, None]
    ground = _shifted(BACKGROUNDS[scene.description.background], scene.tints[-1])
    picture: np.ndarray = np.broadcast_to(ground, (size, size, 3)).astype(np.float32)
    masks = np.zeros((len(scene.placements), size, size), dtype=bool)
    for k, (thing, spot) in enumerate(zip(scene.description.things, scene.placements, strict=True)):
        dx, dy = xs - spot.x * size, ys - spot.y * size
        cos, sin = np.cos(spot.angle), np.sin(spot.angle)
        u, v = cos * dx + sin * dy, cos * dy - sin * dx
        coverage = np.clip(0.5 - _distance(thing.shape, u, v, spot.radius * size), 0.0, 1.0)
        tone = _shifted(COLOURS[thing.colour], scene.tints[k])
        period = (0.12 if thing.surface == "striped" else 0.125) * size
        light_share = np.asarray(_pattern(thing.surface, u, v, period, spot.phase))[..., None]
        surface_colour = tone + (255.0 - tone) * (TINT * light_share)
        picture = picture + (surface_colour - picture) * coverage[..., None]
        masks[:k] &= ~(coverage > 0.5)
        masks[k] = coverage > 0.5
    return np.rint(picture).astype(np.uint8), masks


# --------------------------------------------------------------------------------------- the built-in prompt set


def built_in_prompts(count: int = 2400, seed: int = 20231113) -> list[str]:
    """Draw the distinct captions that ``manage.py demo`` imports; about one in ten names a held-out combination."""
    rng = np.random.default_rng(seed)
    thing_pool = tuple(all_things())
    prompts: dict[str, None] = {}
    while len(prompts) < count:
        prompts[describe(sample_description(rng, pool=thing_pool), rng)] = None
    return list(prompts)
