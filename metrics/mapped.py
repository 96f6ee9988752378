"""Read files larger than memory through a memory map."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCATTERED = 64  # rows read before their pages are released; the system may map 2 MB around each


def forget(array: NDArray[Any]) -> None:
    """Release the pages of a memory map: they stay in the system's cache, but not in this process's memory."""
    mapped = _map_of(array)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def rows_of(array: NDArray[Any], indices: NDArray[np.integer]) -> NDArray[Any]:
    """Return ``array[indices]``, releasing a memory map's pages so that the file does not fill the process's memory."""
    if _map_of(array) is None:
        return array[indices]
    rows = np.empty((len(indices), *array.shape[1:]), array.dtype)
    for start in range(0, len(indices), SCATTERED):
        rows[start : start + SCATTERED] = array[indices[start : start + SCATTERED]]
        forget(array)
    return rows


def _map_of(array: NDArray[Any]) -> mmap.mmap | None:
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
