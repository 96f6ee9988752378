"""Extract features of many pictures: reading, the network and the statistics run at the same time.

Threads read and scale pictures, the caller's thread runs the network, and one more thread writes features to disk and
adds them to sums. At most a few batches are in memory, whatever the number of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evenhand.metrics.gaussian import Gaussian, GaussianSums
from evenhand.metrics.mapped import forget
from evenhand.metrics.pictures import (
    AS_IT_IS,
    READERS,
    Findings,
    Framing,
    Looks,
    Picture,
    PictureError,
    Pixels,
    read_ahead,
    read_picture,
)

Progress = Callable[[int, int], None]
BATCHES_AHEAD = 2  # that are read while the network works


class Embedder(Protocol):
    """A network that turns pictures into features; ``name`` records network, weights, configuration and resize."""

    name: str
    outputs: Mapping[str, int]  # dimension of each output; distances are computed from the first

    def prepare(self, pixels: Pixels) -> Any:
        """Scale one picture for the network; runs in a thread."""

    def embed(self, batch: Sequence[Any]) -> Mapping[str, NDArray[np.float32]]:
        """Run the network on prepared pictures; an output is (B, d)."""


@dataclass(frozen=True, eq=False)
class Extracted:
    """Features of the pictures that could be used, in their order.

    features: float32 (n, d) of each output, as memory maps. gaussian: of the first output.
    """

    names: list[str]
    features: Mapping[str, NDArray[np.float32]]
    sums: GaussianSums
    findings: Findings

    @property
    def main(self) -> NDArray[np.float32]:
        """The output that distances are computed from."""
        return next(iter(self.features.values()))

    @property
    def gaussian(self) -> Gaussian:
        """The Gaussian of the main output. Raises ``GaussianError`` for fewer than two pictures."""
        return self.sums.gaussian()


def extract(
    pictures: Sequence[tuple[str, Picture]],
    embedder: Embedder,
    folder: Path,
    *,
    framing: Framing = AS_IT_IS,
    batch_size: int = 32,
    readers: int = READERS,
    progress: Progress | None = None,
) -> Extracted:
    """Compute features of named pictures, and write them into ``folder`` as ``OUTPUT.npy``.

    Every call of the network has ``batch_size`` rows (the last is padded), so that features do not depend on the other
    pictures. Unreadable pictures and such with features that are not finite are left out and named in ``findings``.
    Raises ``PictureError`` where none is left.
    """
    if not pictures:
        raise PictureError("there are no pictures")
    if batch_size < 1:
        raise PictureError(f"batch_size must be at least 1, not {batch_size}")
    rows = _Rows(folder, embedder, len(pictures))
    with ThreadPoolExecutor(1) as writer:
        written: Future[None] | None = None
        done = 0
        for done, batch in _batches(pictures, embedder, framing, batch_size, readers, rows.findings):
            prepared = [tensor for _, tensor in batch]
            outputs = embedder.embed(prepared + [prepared[-1]] * (batch_size - len(prepared)))
            if written is not None:
                written.result()
            written = writer.submit(rows.add, [name for name, _ in batch], outputs)
            if progress is not None:
                progress(done, len(pictures))
        if written is not None:
            written.result()
    if progress is not None and done < len(pictures):  # the last ones could not be read
        progress(len(pictures), len(pictures))
    return rows.extracted()


def _batches(
    pictures: Sequence[tuple[str, Picture]],
    embedder: Embedder,
    framing: Framing,
    batch_size: int,
    readers: int,
    findings: Findings,
) -> Iterator[tuple[int, list[tuple[str, Any]]]]:
    """Yield batches of prepared pictures with the number of pictures read, while threads read the next ones."""

    def read(picture: Picture) -> tuple[Looks, Any]:
        pixels, looks = read_picture(picture)
        return looks, embedder.prepare(framing.apply(pixels))

    batch: list[tuple[str, Any]] = []
    coming = read_ahead(pictures, read, readers=readers, ahead=batch_size * BATCHES_AHEAD)
    for done, (name, future) in enumerate(coming, start=1):
        try:
            looks, tensor = future.result()
        except PictureError as error:
            findings.leave_out(name, error)
        else:
            findings.note(name, looks)
            batch.append((name, tensor))
        if batch and (len(batch) == batch_size or done == len(pictures)):
            yield done, batch
            batch = []


class _Rows:
    """Files of features that grow batch by batch, and their sums."""

    def __init__(self, folder: Path, embedder: Embedder, count: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.findings = Findings()
        self.names: list[str] = []
        self.main = next(iter(embedder.outputs))
        self.sums = GaussianSums(embedder.outputs[self.main])
        self.files = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, (count, dimension))
            for name, dimension in embedder.outputs.items()
        }

    def add(self, names: Sequence[str], outputs: Mapping[str, NDArray[np.float32]]) -> None:
        """Write the rows that are finite; name the others."""
        count = len(names)
        finite = np.logical_and.reduce([np.isfinite(outputs[name][:count]).all(axis=1) for name in self.files])
        self.findings.not_finite += [name for name, good in zip(names, finite, strict=True) if not good]
        start, stop = len(self.names), len(self.names) + int(finite.sum())
        for name, file in self.files.items():
            file[start:stop] = outputs[name][:count][finite]
            forget(file)
        self.sums.add(outputs[self.main][:count][finite])
        self.names += [name for name, good in zip(names, finite, strict=True) if good]

    def extracted(self) -> Extracted:
        if not self.names:
            raise PictureError(f"none of the pictures can be used. {' '.join(self.findings.sentences())}")
        features = {name: file[: len(self.names)] for name, file in self.files.items()}
        return Extracted(self.names, features, self.sums, self.findings)
