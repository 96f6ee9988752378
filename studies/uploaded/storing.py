"""Put pictures that somebody brought into the store, and say of each what it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenhand.generation.guidance import Uploaded, fingerprint
from evenhand.generation.images import encode_png, png_versions
from evenhand.studies.configuration import arm_label
from evenhand.studies.models import Arm
from evenhand.studies.uploaded.pictures import READERS, Looks, check_unchanged, pixels_of

Progress = Callable[[int, int], None]
Size = tuple[int, int]  # width and height, pixels


@dataclass(frozen=True)
class About:
    """What is said of an arm's pictures. name: what study admins read, empty for the name of the arm in the plan."""

    name: str = ""
    model: str = ""
    source: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Stored:
    """A picture in the store: its hash, its size in pixels, and what its record says of the file."""

    sha256: str
    width: int
    height: int
    provenance: dict[str, Any]


def store_all(
    wanted: Sequence[tuple[str, Size]],
    files: Mapping[str, Path],
    looks: Mapping[str, Looks],
    store: Callable[[bytes], str],
    progress: Progress,
) -> list[Stored]:
    """Store pictures by file name, each in a size, in their order.

    Raises ``InputError`` for a file that is another one than was looked at.
    """

    def one(asked: tuple[str, Size]) -> Stored:
        name, size = asked
        look = looks[name]
        check_unchanged(files[name], name, look.sha256)
        pixels = pixels_of(files[name], size)
        said = {"file": name, "sha256": look.sha256, "width": look.width, "height": look.height}
        notes = [*look.notes, *([] if size == (look.width, look.height) else ["fitted into another size"])]
        provenance = {"uploaded": said | {"changes": notes}, "versions": png_versions()}
        return Stored(store(encode_png(pixels)), size[0], size[1], provenance)

    stored = []
    with ThreadPoolExecutor(READERS) as pool:
        for each in pool.map(one, wanted):
            stored.append(each)
            progress(len(stored), len(wanted))
    return stored


def uploaded_guidance(arm: str, about: About, pictures: Iterable[tuple[str, int | None, str]]) -> Uploaded:
    """Return an arm by what is said of it and by its pictures: (prompt, seed, SHA-256) each."""
    lines = sorted(f"{text}\t{seed}\t{sha256}" for text, seed, sha256 in pictures)
    return Uploaded(
        name=about.name.strip() or arm,
        model=about.model.strip(),
        source=about.source.strip(),
        licence=about.licence.strip(),
        pictures=hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    )


def arm_of(guidance: Uploaded) -> Arm:
    """Return the arm's record."""
    values = {"label": arm_label(guidance), "guidance": guidance.to_dict()}
    return Arm.objects.get_or_create(fingerprint=fingerprint(guidance), defaults=values)[0]
