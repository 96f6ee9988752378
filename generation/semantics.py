"""Draw semantic maps (eq. 9) over their pictures, with a legend that names the tokens.

``generate(..., semantic_maps=True)`` gives the maps; ``token_names`` names their indices for any tokenizer; ``overlay``
draws them. The colours are those of Okabe and Ito, which people with any colour vision can tell apart. The legend's
font, Pillow's own, has Latin letters only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from evenhand.errors import InputError
from evenhand.generation.sheets import enlarged

Map = NDArray[np.integer]  # (rows, columns) token indices
Picture = NDArray[np.uint8]  # (H, W, 3)
RGB = tuple[int, int, int]

START, END, PADDING = "[start]", "[end]", "[padding]"
OTHER = "[other words]"
# Okabe & Ito 2008, without black; the greys are for positions that are no words of the prompt.
PALETTE: tuple[RGB, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
)
GREYS: Mapping[str, RGB] = {OTHER: (250, 250, 250), END: (190, 190, 190), PADDING: (120, 120, 120), START: (60, 60, 60)}
MARGIN, LINE, TEXT = 8, 18, 13  # pixels


def token_names(tokenizer: Any, prompt: str) -> list[str]:
    """Name each position of the padded prompt by the text of its token, numbered where one occurs again.

    Positions that are no words are ``[start]``, ``[end]`` (the first end-of-text) and ``[padding]``.
    """
    ids = tokenizer(prompt, padding="max_length", max_length=tokenizer.model_max_length, truncation=True).input_ids
    end = ids.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in ids else len(ids)
    words = [tokenizer.decode([each]).strip() or tokenizer.convert_ids_to_tokens(each) for each in ids[1:end]]
    counts: Counter[str] = Counter()
    names = [START]
    for word in words:
        counts[word] += 1
        names.append(word if counts[word] == 1 else f"{word} ({counts[word]})")
    return names + [END] * (end < len(ids)) + [PADDING] * (len(ids) - end - 1)


def most_frequent(maps: Iterable[Map]) -> NDArray[np.int64]:
    """Combine maps on the finest of their grids: at each patch the token that most maps name; of equals the first.

    A coarser map votes with the patch that covers the fine patch's centre. Raises ValueError where there is no map.
    """
    grids = [np.asarray(each) for each in maps]
    if not grids:
        raise InputError("there is no semantic map to combine: classifier-free iterations make none")
    rows, columns = max((grid.shape for grid in grids), key=lambda shape: shape[0] * shape[1])
    fine_maps = np.stack([_resampled(grid, rows, columns) for grid in grids])  # (maps, rows, columns)
    tokens = np.unique(fine_maps)
    votes = np.stack([(fine_maps == token).sum(axis=0) for token in tokens])
    winners: NDArray[np.int64] = tokens[votes.argmax(axis=0)].astype(np.int64)
    return winners


def maps_of(
    maps: Mapping[int, Mapping[str, NDArray[np.integer]]],
    picture: int,
    iterations: Iterable[int] | None = None,
    modules: Iterable[str] | None = None,
) -> list[Map]:
    """List one picture's maps in an arm of ``Generated.semantic_maps``: all heads of each.

    iterations, modules: those to list; all by default.
    """
    iteration_maps = maps if iterations is None else {each: maps[each] for each in iterations}
    module_names = None if modules is None else set(modules)
    return [
        head
        for module_maps in iteration_maps.values()
        for name, grids in module_maps.items()
        if module_names is None or name in module_names
        for head in grids[picture]
    ]


def finest_modules(maps: Mapping[int, Mapping[str, NDArray[np.integer]]]) -> list[str]:
    """List the modules with the most patches among the up blocks, whose maps follow shapes best.

    Coarser maps would outvote finer ones at every border, and maps of the down blocks are less accurate (the demo
    model's card compares them). Where no module is in ``up_blocks``, all modules with the most patches are listed.
    """
    patches = {name: grids[0, 0].size for module_maps in maps.values() for name, grids in module_maps.items()}
    up_patches = {name: count for name, count in patches.items() if name.startswith("up_blocks.")} or patches
    return [name for name, count in up_patches.items() if count == max(up_patches.values())]


def overlay(
    picture: Picture,
    tokens: Map,
    names: Sequence[str],
    *,
    opacity: float = 0.6,
    side: int = 384,
    colours: Mapping[str, RGB] | None = None,
) -> Picture:
    """Draw the picture under its semantic map, with a legend below: uint8 (H', W', 3).

    tokens: a map of any grid. names: of the token indices, as ``token_names`` gives them. side: picture and map are
    enlarged by a whole number until the longer side has about that many pixels. colours: by name, so that several
    maps agree. The legend orders tokens by their share of patches; beyond the palette's seven, words share one colour.
    """
    _check(picture, tokens, names, opacity)
    background = enlarged(picture, side)
    height, width = background.shape[:2]
    labels, label_colours = _legend(tokens, names, colours or {})
    pixel_tokens = _resampled(tokens, height, width)
    paint = np.array([label_colours[labels[token]] for token in range(len(names))], np.float64)[pixel_tokens]
    blend = (1.0 - opacity) * background + opacity * paint
    blend[_borders(pixel_tokens)] *= 0.35  # a dark line where the token changes
    return _with_legend(blend.round().astype(np.uint8), _shares(tokens, labels), label_colours)


def _legend(tokens: Map, names: Sequence[str], fixed_colours: Mapping[str, RGB]) -> tuple[list[str], dict[str, RGB]]:
    """Return the legend's name of each token index, and the colour of each name."""
    counts = Counter(names[int(token)] for token in np.asarray(tokens).flat)
    words = [name for name, _ in counts.most_common() if name not in GREYS and name not in fixed_colours]
    free_colours = [colour for colour in PALETTE if colour not in fixed_colours.values()]
    colours = dict(zip(words, free_colours, strict=False)) | dict(GREYS) | dict(fixed_colours)
    return [name if name in colours else OTHER for name in names], colours


def _shares(tokens: Map, labels: Sequence[str]) -> list[tuple[str, float]]:
    counts = Counter(labels[int(token)] for token in np.asarray(tokens).flat)
    return [(name, count / tokens.size) for name, count in counts.most_common()]


def _with_legend(picture: Picture, shares: Sequence[tuple[str, float]], colours: Mapping[str, RGB]) -> Picture:
    font = ImageFont.load_default(TEXT)
    entries = [(f"{name} {share:.0%}", colours[name]) for name, share in shares]
    width = max(picture.shape[1], *(int(font.getlength(text)) + 3 * MARGIN + TEXT for text, _ in entries))
    rows: list[list[tuple[str, RGB, int]]] = [[]]
    left = MARGIN
    for text, colour in entries:
        entry_width = int(font.getlength(text)) + 2 * MARGIN + TEXT
        if left + entry_width > width and rows[-1]:
            rows.append([])
            left = MARGIN
        rows[-1].append((text, colour, left))
        left += entry_width
    height = picture.shape[0]
    sheet = Image.new("RGB", (width, height + len(rows) * LINE + 2 * MARGIN), (255, 255, 255))
    sheet.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        top = height + MARGIN + number * LINE
        for text, colour, left in row:
            draw.rectangle((left, top + 1, left + TEXT, top + TEXT + 1), fill=colour, outline=(60, 60, 60))
            draw.text((left + TEXT + 5, top), text, fill=(30, 30, 30), font=font)
    return np.asarray(sheet)


def _resampled(grid: Map, rows: int, columns: int) -> Map:
    """Read the grid at the centres of a finer or coarser one."""
    row_index = (np.arange(rows) * 2 + 1) * grid.shape[0] // (2 * rows)
    column_index = (np.arange(columns) * 2 + 1) * grid.shape[1] // (2 * columns)
    return grid[row_index[:, None], column_index[None, :]]


def _borders(tokens: Map) -> NDArray[np.bool_]:
    borders = np.zeros(tokens.shape, bool)
    borders[1:] |= tokens[1:] != tokens[:-1]
    borders[:, 1:] |= tokens[:, 1:] != tokens[:, :-1]
    return borders


def _check(picture: Picture, tokens: Map, names: Sequence[str], opacity: float) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise InputError(f"a picture must be uint8 (H, W, 3), not {picture.dtype} {picture.shape}")
    if tokens.ndim != 2 or not tokens.size:
        raise InputError(f"a semantic map must be (rows, columns), not {tokens.shape}; choose a picture and a head")
    if not 0 <= int(tokens.min()) <= int(tokens.max()) < len(names):
        raise InputError(f"token indices must lie in 0…{len(names) - 1}, not in {tokens.min()}…{tokens.max()}")
    if not 0.0 <= opacity <= 1.0:
        raise InputError(f"opacity must lie in 0…1, not {opacity!r}")
