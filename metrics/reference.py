"""Compute a reference set's statistics once, and keep them under the hash of what they were computed from.

Each set has a folder of the cache, named by its key. It holds the Gaussian, the features where they were asked for, and
a record: the manifest, which pictures were used and what was odd about them, and the SHA-256 of each file. The folder
is filled under another name and renamed when it is whole. One that is damaged is made again.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenhand.errors import is_machine_fault
from evenhand.metrics.extraction import Embedder, Extracted, Progress, extract
from evenhand.metrics.gaussian import Gaussian
from evenhand.metrics.pictures import (
    AS_IT_IS,
    Findings,
    Framing,
    Picture,
    file_sha256,
    manifest,
    manifest_sha256,
    pictures_in,
)

GAUSSIAN, RECORD = "gaussian.npz", "record.json"
IN_THE_WAY = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}  # what a rename onto an older folder or a file raises


@dataclass(frozen=True, eq=False)
class Reference:
    """Statistics of a reference set.

    key: hash of the manifest, the folder's name. names: the pictures that were used, in the features' order. features:
    float32 (n, d) of each output as read-only memory maps, or None where they were not asked for. was_cached: whether
    nothing had to be computed.
    """

    key: str
    names: list[str]
    gaussian: Gaussian
    findings: Findings
    features: Mapping[str, NDArray[np.float32]] | None
    was_cached: bool


def reference_statistics(
    pictures: Path | Sequence[tuple[str, Picture]],
    embedder: Embedder,
    cache: Path,
    *,
    framing: Framing = AS_IT_IS,
    with_features: bool = False,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Reference:
    """Return the statistics of a folder or of named pictures, from the folder ``cache`` where they are kept there.

    They are computed where they are not, where a file of theirs is damaged, or where features are asked for and were
    not kept. Every picture is read to compute its hash, also where the statistics are kept. Raises ``PictureError`` for
    no usable picture and ``GaussianError`` for one alone.
    """
    named = pictures_in(pictures) if isinstance(pictures, Path) else pictures
    content = reference_manifest(named, embedder, framing)
    key = manifest_sha256(content)
    kept = _kept(cache / key, key, with_features=with_features, was_cached=True)
    if kept is not None:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=f"{key}.", suffix=".tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name) / "whole"
        made = extract(named, embedder, folder, framing=framing, batch_size=batch_size, progress=progress)
        made.gaussian.save(folder / GAUSSIAN)
        if not with_features:
            for output in made.features:
                (folder / f"{output}.npy").unlink()
        _write_record(folder, content, made)
        _put(folder, cache / key)
    found = _kept(cache / key, key, with_features=with_features, was_cached=False)
    if found is None:
        raise OSError(errno.EIO, "statistics cannot be read back", str(cache / key))
    return found


def reference_manifest(pictures: Sequence[tuple[str, Picture]], embedder: Embedder, framing: Framing) -> dict[str, Any]:
    """Return all that the statistics depend on: the pictures' manifest, the network's name and its outputs.

    The name holds hashes of weights and configuration, and the resize, the outputs the number of features. The order of
    the pictures does not matter.
    """
    outputs = {"main": next(iter(embedder.outputs)), "dimensions": dict(embedder.outputs)}
    return {**manifest(pictures, framing), "network": embedder.name, "outputs": outputs}


def _write_record(folder: Path, content: dict[str, Any], made: Extracted) -> None:
    """Write what the folder holds, under a hash of its own."""
    record = {
        "manifest": content,
        "names": made.names,
        "findings": made.findings.to_dict(),
        "files": {path.name: file_sha256(path) for path in sorted(folder.iterdir())},
    }
    text = json.dumps(record | {"sha256": manifest_sha256(record)}, indent=1)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def _put(folder: Path, place: Path) -> None:
    """Rename a whole folder to its place; what lies there goes where ``folder`` was made, which is deleted."""
    while True:
        try:
            os.rename(folder, place)
            return
        except OSError as error:
            if error.errno not in IN_THE_WAY:
                raise
        with suppress(FileNotFoundError):  # another process was as far
            os.rename(place, Path(tempfile.mkdtemp(dir=folder.parent)) / "older")


def _kept(place: Path, key: str, *, with_features: bool, was_cached: bool) -> Reference | None:
    """Read a folder of the cache; None where it is missing, damaged, or lacks features that are asked for."""
    try:
        record = _record(place)
        if record is None or manifest_sha256(record["manifest"]) != key:
            return None
        outputs = list(record["manifest"]["outputs"]["dimensions"]) if with_features else []
        for name in (GAUSSIAN, *(f"{output}.npy" for output in outputs)):
            if file_sha256(place / name) != record["files"].get(name):
                return None
        names = record["names"]
        features = {output: np.load(place / f"{output}.npy", mmap_mode="r")[: len(names)] for output in outputs}
        return Reference(
            key=key,
            names=names,
            gaussian=Gaussian.load(place / GAUSSIAN),
            findings=Findings.from_dict(record["findings"]),
            features=features if with_features else None,
            was_cached=was_cached,
        )
    except OSError as error:
        if is_machine_fault(error):
            raise
        return None


def _record(place: Path) -> dict[str, Any] | None:
    """Return a folder's record if it is what was written."""
    try:
        record = json.loads((place / RECORD).read_text(encoding="utf-8"))
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    sha256 = record.pop("sha256", None)
    return record if sha256 == manifest_sha256(record) else None
