"""Draw contact sheets: pictures in named rows and columns, to compare guidances side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from evenhand.errors import InputError

GAP, TEXT, LINE = 8, 13, 17  # pixels
PAPER, INK = (255, 255, 255), (30, 30, 30)


def contact_sheet(
    cells: Sequence[Sequence[NDArray[np.uint8]]], *, columns: Sequence[str], rows: Sequence[str] = (), title: str = ""
) -> NDArray[np.uint8]:
    """Draw a sheet, uint8 (H, W, 3), of pictures of one size, ``cells[row][column]``, without changing their pixels.

    columns, rows: their names; the rows' may be left out. Raises ValueError where names and cells do not fit together.
    """
    shapes = {np.shape(picture) for row in cells for picture in row}
    if len(shapes) != 1:
        raise InputError(f"the pictures of a sheet must have one size, not {sorted(shapes)}")
    if any(len(row) != len(columns) for row in cells):
        raise InputError(f"{len(columns)} columns are named, rows have {sorted({len(row) for row in cells})} pictures")
    if rows and len(rows) != len(cells):
        raise InputError(f"{len(rows)} rows are named, there are {len(cells)}")
    height, width = shapes.pop()[:2]
    font = ImageFont.load_default(TEXT)
    column_titles = [_wrapped(name, font, width) for name in columns]
    row_titles = [_wrapped(name, font, 160) for name in rows]
    left = GAP + max((int(font.getlength(line)) + GAP for row_title in row_titles for line in row_title), default=0)
    full_width = left + len(columns) * (width + GAP)
    lines = _wrapped(title, font, full_width - 2 * GAP) if title else []
    top = GAP + len(lines) * LINE + max(map(len, column_titles)) * LINE + GAP // 2
    full_height = top + len(cells) * (height + GAP)
    sheet = Image.new("RGB", (full_width, full_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, lines, GAP, GAP // 2, font)
    for number, column_title in enumerate(column_titles):
        _write(draw, column_title, left + number * (width + GAP), GAP // 2 + len(lines) * LINE, font)
    for number, row in enumerate(cells):
        y = top + number * (height + GAP)
        if row_titles:
            _write(draw, row_titles[number], GAP, y, font)
        for column, picture in enumerate(row):
            sheet.paste(Image.fromarray(picture), (left + column * (width + GAP), y))
    return np.asarray(sheet)


def enlarged(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Repeat each pixel so often that the longer side comes nearest to ``side``; never make the picture smaller."""
    factor = max(1, round(side / max(picture.shape[:2])))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def padded(pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Add white to the right and below, so that all pictures have one size."""
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    return [
        np.pad(picture, ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0)), constant_values=255)
        for picture in pictures
    ]


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    characters = max(8, int(width / font.getlength("n")))
    return textwrap.wrap(text, characters)


def _write(
    draw: ImageDraw.ImageDraw,
    lines: Sequence[str],
    x: int,
    y: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    for number, line in enumerate(lines):
        draw.text((x, y + number * LINE), line, fill=INK, font=font)
