from __future__ import annotations

import numpy as np
import pytest

from evenhand.generation.sheets import contact_sheet, enlarged, padded


def noise(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(1).integers(0, 256, (count, 20, 30, 3), dtype=np.uint8))


def test_every_picture_is_on_the_sheet_untouched_in_its_place() -> None:
    pictures = noise(6)
    sheet = contact_sheet(
        [pictures[:3], pictures[3:]], columns=["one", "two words that are long", "three"], rows=["a", "b"], title="t"
    )
    places = []
    for picture in pictures:
        height, width = (extent - own + 1 for extent, own in zip(sheet.shape, (20, 30), strict=False))
        found = [(y, x) for y in range(height) for x in range(width) if (sheet[y, x : x + 30] == picture[0]).all()]
        assert len(found) == 1
        ((y, x),) = found
        assert np.array_equal(sheet[y : y + 20, x : x + 30], picture)
        places.append((y, x))
    ys, xs = sorted({y for y, _ in places}), sorted({x for _, x in places})
    assert places == [(y, x) for y in ys for x in xs]
    assert (sheet[: ys[0]] < 200).any()  # the names of the columns


def test_names_and_cells_must_fit_together() -> None:
    pictures = noise(3)
    with pytest.raises(ValueError, match=r"2 columns are named, rows have \[3\] pictures"):
        contact_sheet([pictures], columns=["a", "b"])
    with pytest.raises(ValueError, match="2 rows are named, there are 1"):
        contact_sheet([pictures], columns=["a", "b", "c"], rows=["x", "y"])
    with pytest.raises(ValueError, match="must have one size, not"):
        contact_sheet([[pictures[0], pictures[1][:5]]], columns=["a", "b"])


@pytest.mark.parametrize(("side", "factor"), [(10, 1), (30, 1), (60, 2), (100, 3)])
def test_pictures_are_enlarged_by_whole_numbers(side: int, factor: int) -> None:
    (picture,) = noise(1)
    large = enlarged(picture, side)
    assert large.shape == (20 * factor, 30 * factor, 3)
    assert np.array_equal(large[::factor, ::factor], picture)


def test_padding_is_white_to_the_right_and_below() -> None:
    small, wide = np.full((2, 3, 3), 7, np.uint8), np.full((4, 2, 3), 9, np.uint8)
    first, second = padded([small, wide])
    assert first.shape == second.shape == (4, 3, 3)
    assert np.array_equal(first[:2], small)
    assert first[2:].min() == second[:, 2:].min() == 255
