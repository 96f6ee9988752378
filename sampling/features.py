"""Text features on disk: written in chunks, read as a memory map, resumed after a kill, repaired where damaged.

Beside ``KEY.npy`` (float32 (N, d)) lies ``KEY.json``: how many rows there are, and the checksum of every chunk that is
written. A chunk counts once its bytes are on the disk and its checksum stands in the record, so whatever interrupts the
work, the next run encodes exactly the chunks that are missing or damaged. Nothing here knows torch: the web process
may look at what is cached.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from evenhand.errors import InputError
from evenhand.metrics.mapped import forget

CHUNK = 16_384  # rows; also the span within which prompts are sorted by their length

Features = NDArray[np.float32]
Progress = Callable[[int, int], None]


class Encode(Protocol):
    """What turns one chunk of texts into features, reporting rows done of the chunk."""

    def __call__(self, texts: Sequence[str], /, *, progress: Progress | None = None) -> Features: ...


class CacheError(InputError):
    """Features that cannot be kept; the message names the prompt or the file."""


@dataclass(frozen=True)
class FeatureCache:
    """The features of one prompt set by one encoder; ``key`` is made of the hashes of both."""

    folder: Path
    key: str
    count: int

    @property
    def path(self) -> Path:
        """The memory-mapped array."""
        return self.folder / f"{self.key}.npy"

    @property
    def record(self) -> Path:
        """What is known of its chunks."""
        return self.folder / f"{self.key}.json"

    @property
    def chunks(self) -> range:
        """The numbers of the chunks."""
        return range(-(-self.count // CHUNK))

    def span(self, chunk: int) -> tuple[int, int]:
        """First row of a chunk, and the row after its last."""
        return chunk * CHUNK, min((chunk + 1) * CHUNK, self.count)

    def read(self) -> Features | None:
        """The features, if they are whole and undamaged; a map that cannot be written to."""
        sums = self._sums()
        array = self._mapped("r") if len(sums) == len(self.chunks) else None
        if array is None or any(checksum(self._rows(array, c)) != sums[c] for c in self.chunks):
            return None
        return array

    def fill(
        self, texts: Callable[[int, int], Sequence[str]], encode: Encode, progress: Progress | None = None
    ) -> Features:
        """The features; encodes the chunks that are not there. ``texts(start, stop)`` gives the prompts of a span.

        One process fills a cache at a time; another waits, and then finds everything done.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            sums, array = self._sums(), self._mapped("r+")  # which makes a file that was cut short as long as it was
            if array is None:
                sums = {}
            else:
                sums = {c: s for c, s in sums.items() if c in self.chunks and checksum(self._rows(array, c)) == s}
            for chunk in self.chunks:
                if chunk not in sums:
                    features = self._encoded(texts, chunk, encode, progress)
                    if array is None or array.shape[1] != features.shape[1]:
                        array = self._made(features.shape[1], sums)
                    sums[chunk] = self._write(array, chunk, features)
                    self._note(sums)
                if progress is not None:
                    progress(self.span(chunk)[1], self.count)
        done = self._mapped("r")
        if done is None:
            raise CacheError(f"{self.path}: was taken away while it was written")
        return done

    def _encoded(
        self, texts: Callable[[int, int], Sequence[str]], chunk: int, encode: Encode, progress: Progress | None
    ) -> Features:
        start, stop = self.span(chunk)
        given = texts(start, stop)
        if len(given) != stop - start:
            raise CacheError(f"prompts {start} to {stop - 1} were asked for, {len(given)} are there")

        def report(done: int, _total: int) -> None:
            if progress is not None:
                progress(start + done, self.count)

        features = encode(given, progress=report)
        finite = np.isfinite(features).all(axis=1)
        if not finite.all():
            bad = int(np.argmin(finite))
            raise CacheError(f"the encoder gives no finite features for prompt {start + bad}, {given[bad][:60]!r}")
        return np.ascontiguousarray(features, np.float32)

    def _made(self, dimension: int, sums: dict[int, int]) -> Features:
        """An empty array on disk; what chunks of another width hold is never thrown away unasked."""
        if sums:
            raise CacheError(
                f"{self.path}: holds features that are not of the encoder's {dimension} dimensions; remove it"
            )
        self.record.unlink(missing_ok=True)  # before the array, so that no old record speaks of a new one
        shape = (self.count, dimension)
        array: Features = np.lib.format.open_memmap(self.path, mode="w+", dtype=np.float32, shape=shape)
        return array

    def _write(self, array: Features, chunk: int, features: Features) -> int:
        start, stop = self.span(chunk)
        array[start:stop] = features
        if isinstance(array, np.memmap):
            array.flush()
        forget(array)
        return checksum(features)

    def _rows(self, array: Features, chunk: int) -> Features:
        start, stop = self.span(chunk)
        return array[start:stop]

    def _mapped(self, mode: Literal["r", "r+"]) -> Features | None:
        """The array on disk, if it is one of the right length; a header that lies about the size is damage too."""
        try:
            array = np.load(self.path, mmap_mode=mode, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if array.dtype != np.float32 or array.ndim != 2 or len(array) != self.count or not array.flags.c_contiguous:
            return None
        return array

    def _sums(self) -> dict[int, int]:
        try:
            content: Any = json.loads(self.record.read_text())
            if (content["count"], content["chunk"]) != (self.count, CHUNK):
                return {}
            return {int(chunk): int(value) for chunk, value in content["checksums"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _note(self, sums: dict[int, int]) -> None:
        """Write the record so that a reader sees the old one or the new one."""
        partial = self.record.with_suffix(".json.part")
        with partial.open("w") as file:
            json.dump({"count": self.count, "chunk": CHUNK, "checksums": {str(c): s for c, s in sums.items()}}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.record)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The kernel gives the lock back when its holder dies."""
        with (self.folder / f"{self.key}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def checksum(features: Features) -> int:
    """CRC-32 of the rows' bytes."""
    value = zlib.crc32(np.ascontiguousarray(features).data)
    forget(features)
    return value
