"""Store text features on disk in resumable, repairable chunks, and read them as a memory map.

``KEY.npy`` holds the array, float32 (N, d); ``KEY.json`` holds the number of rows and the checksum of every written
chunk. A chunk is complete when its bytes are on disk and its checksum is in the record. After an interruption the next
run encodes only the chunks that are missing or damaged. This module does not import torch, because the web process
reads the cache too.
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
    """A function that turns one chunk of texts into features and reports the rows done of the chunk."""

    def __call__(self, texts: Sequence[str], /, *, progress: Progress | None = None) -> Features: ...


class CacheError(InputError):
    """Features cannot be stored; the message names the prompt or the file."""


@dataclass(frozen=True)
class FeatureCache:
    """The features of one prompt set by one encoder; ``key`` combines the hashes of both."""

    folder: Path
    key: str
    count: int

    @property
    def path(self) -> Path:
        """The memory-mapped array."""
        return self.folder / f"{self.key}.npy"

    @property
    def record(self) -> Path:
        """The JSON file with the checksums of its chunks."""
        return self.folder / f"{self.key}.json"

    @property
    def chunks(self) -> range:
        """The numbers of the chunks."""
        return range(-(-self.count // CHUNK))

    def span(self, chunk: int) -> tuple[int, int]:
        """Return the first row of a chunk, and the row after its last."""
        return chunk * CHUNK, min((chunk + 1) * CHUNK, self.count)

    def read(self) -> Features | None:
        """Return the features as a read-only memory map if they are complete and undamaged, else None."""
        checksums = self._read_checksums()
        array = self._open_array("r") if len(checksums) == len(self.chunks) else None
        if array is None or any(checksum(self._rows(array, c)) != checksums[c] for c in self.chunks):
            return None
        return array

    def fill(
        self, texts: Callable[[int, int], Sequence[str]], encode: Encode, progress: Progress | None = None
    ) -> Features:
        """Encode the missing chunks and return the features. ``texts(start, stop)`` returns the prompts of a span.

        One process fills a cache at a time; a second one waits for it and then encodes nothing.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock():
            checksums, array = (
                self._read_checksums(),
                self._open_array("r+"),
            )  # opening extends a truncated file to its full length
            if array is None:
                checksums = {}
            else:
                checksums = {
                    c: s for c, s in checksums.items() if c in self.chunks and checksum(self._rows(array, c)) == s
                }
            for chunk in self.chunks:
                if chunk not in checksums:
                    features = self._encode_chunk(texts, chunk, encode, progress)
                    if array is None or array.shape[1] != features.shape[1]:
                        array = self._create_array(features.shape[1], checksums)
                    checksums[chunk] = self._write_chunk(array, chunk, features)
                    self._write_record(checksums)
                if progress is not None:
                    progress(self.span(chunk)[1], self.count)
        finished_array = self._open_array("r")
        if finished_array is None:
            raise CacheError(f"{self.path}: was taken away while it was written")
        return finished_array

    def _encode_chunk(
        self, texts: Callable[[int, int], Sequence[str]], chunk: int, encode: Encode, progress: Progress | None
    ) -> Features:
        start, stop = self.span(chunk)
        chunk_texts = texts(start, stop)
        if len(chunk_texts) != stop - start:
            raise CacheError(f"prompts {start} to {stop - 1} were asked for, {len(chunk_texts)} are there")

        def report(done: int, _total: int) -> None:
            if progress is not None:
                progress(start + done, self.count)

        features = encode(chunk_texts, progress=report)
        finite = np.isfinite(features).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            raise CacheError(
                f"the encoder gives no finite features for prompt {start + row}, {chunk_texts[row][:60]!r}"
            )
        return np.ascontiguousarray(features, np.float32)

    def _create_array(self, dimension: int, checksums: dict[int, int]) -> Features:
        """Create an empty array on disk; raises where chunks of another width exist, so that none is overwritten."""
        if checksums:
            raise CacheError(
                f"{self.path}: holds features that are not of the encoder's {dimension} dimensions; remove it"
            )
        self.record.unlink(missing_ok=True)  # first, so that an old record never describes a new array
        shape = (self.count, dimension)
        array: Features = np.lib.format.open_memmap(self.path, mode="w+", dtype=np.float32, shape=shape)
        return array

    def _write_chunk(self, array: Features, chunk: int, features: Features) -> int:
        start, stop = self.span(chunk)
        array[start:stop] = features
        if isinstance(array, np.memmap):
            array.flush()
        forget(array)
        return checksum(features)

    def _rows(self, array: Features, chunk: int) -> Features:
        start, stop = self.span(chunk)
        return array[start:stop]

    def _open_array(self, mode: Literal["r", "r+"]) -> Features | None:
        """Open the array on disk; None where it is missing, damaged or of another length or type."""
        try:
            array = np.load(self.path, mmap_mode=mode, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if array.dtype != np.float32 or array.ndim != 2 or len(array) != self.count or not array.flags.c_contiguous:
            return None
        return array

    def _read_checksums(self) -> dict[int, int]:
        try:
            content: Any = json.loads(self.record.read_text())
            if (content["count"], content["chunk"]) != (self.count, CHUNK):
                return {}
            return {int(chunk): int(value) for chunk, value in content["checksums"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _write_record(self, checksums: dict[int, int]) -> None:
        """Write the record atomically: a reader sees either the old one or the new one."""
        partial = self.record.with_suffix(".json.part")
        with partial.open("w") as file:
            json.dump(
                {"count": self.count, "chunk": CHUNK, "checksums": {str(c): s for c, s in checksums.items()}}, file
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.record)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the cache's file lock; the kernel releases it when its holder dies."""
        with (self.folder / f"{self.key}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def checksum(features: Features) -> int:
    """Compute the CRC-32 of the rows' bytes."""
    value = zlib.crc32(np.ascontiguousarray(features).data)
    forget(features)
    return value
