"""Make some of a bundle's pictures again from checkpoint, prompt and seed, and compare them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evenhand.errors import InputError
from evenhand.studies.bundle.records import Record
from evenhand.studies.bundle.verify_bundle import Bundle, rows
from evenhand.studies.models import Recipe
from evenhand.studies.pipeline import model_cache

LARGEST_PICTURE = 2**28  # bytes


@dataclass(frozen=True)
class Share:
    """How many pictures: a share of all of them, 0 < share ≤ 1, or a count."""

    share: float | None = None
    count: int = 0

    def of(self, total: int) -> int:
        """Return the number of pictures, rounded up, so that a share of few is one at least."""
        return min(total, self.count) if self.share is None else math.ceil(self.share * total)


def share_of(text: str) -> Share:
    """Parse ``5%`` or ``20``. Raises ``InputError`` for anything else."""
    try:
        if text.endswith("%"):
            share = float(text[:-1]) / 100
            if 0 < share <= 1:
                return Share(share)
        elif text.isascii() and text.isdigit() and int(text) > 0:
            return Share(count=int(text))
    except ValueError:
        pass
    raise InputError(f"--remake takes a share such as 5% or a number of pictures, not {text!r}")


@dataclass(frozen=True)
class Outcome:
    """What came of one picture. ``problem`` says how it differs, or why it could not be made; empty: it is equal."""

    bytes_are_equal: bool = False
    pixels_are_equal: bool = False
    problem: str = ""


def choice(bundle: Bundle, share: Share, seed: int) -> tuple[list[Record], int]:
    """Return records of generated pictures, chosen at random by ``seed``, and how many there are to choose from."""
    generated = [row for _, row in rows(bundle, "images.jsonl") if row["kind"] == "generated"]
    chosen = random.Random(seed).sample(generated, share.of(len(generated)))
    return sorted(chosen, key=lambda row: int(row["image"])), len(generated)


def remade(bundle: Bundle, chosen: Sequence[Record], checkpoint: str | None = None) -> Iterator[Outcome]:
    """Make pictures again, one after the other. checkpoint: where it lies here, if not where the record says.

    Loading a checkpoint may run its code. One that the bundle names is loaded only where it ships with the application
    or made pictures of a study here; else ``InputError`` asks to name it.
    """
    for row in chosen:
        if not checkpoint:
            _check_known(row["provenance"])
        with bundle.open(row["file"]) as file:
            recorded = file.read(LARGEST_PICTURE)
        provenance = row["provenance"] | ({"checkpoint": checkpoint} if checkpoint else {})
        yield _compared(f"image {row['image']}, {row['file']}", recorded, provenance)


def _check_known(provenance: Record) -> None:
    name, revision = provenance.get("checkpoint"), provenance.get("revision")
    if name in (None, model_cache.DEMO) or Recipe.objects.filter(checkpoint=name, revision=revision).exists():
        return
    raise InputError(
        f"the bundle names the checkpoint {name!r}, which made no study’s pictures here: say --checkpoint {name} "
        "if you trust it, or where it lies"
    )


def _compared(name: str, recorded: bytes, provenance: Record) -> Outcome:
    from evenhand.generation.images import decode_png
    from evenhand.studies.pipeline.remaking import differences, how_far_apart, remake

    try:
        new = remake(provenance)
    except (InputError, RuntimeError) as error:
        return Outcome(problem=f"{name} cannot be made again: {error}")
    if new.data == recorded:
        return Outcome(bytes_are_equal=True, pixels_are_equal=True)
    then, now = decode_png(recorded), decode_png(new.data)
    if then.shape == now.shape and (then == now).all():
        return Outcome(pixels_are_equal=True)
    lines = [f"{name} is another picture when it is made again.", how_far_apart(then, now)]
    lines += list(differences(provenance, new.provenance)) or ["Nothing recorded differs."]
    return Outcome(problem="\n".join(lines))
