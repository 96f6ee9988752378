"""Make an image again from its record, and say how it differs from the recorded one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evenhand.errors import InputError
from evenhand.studies.pipeline import model_cache

if TYPE_CHECKING:
    from evenhand.generation.trajectory import Generated

ENTRIES = ("prompt", "seed", "guidance", "checkpoint", "revision", "scheduler", "size", "rows", "dtype", "versions")
SAME_RECIPE = ("prompt", "seed", "guidance", "checkpoint", "revision", "batch_size_asked")  # taken from the record
NO_ENTRY = "nothing"


@dataclass(frozen=True)
class NewImage:
    """An image made again: the bytes of its file, and the provenance that would be stored now."""

    data: bytes
    provenance: dict[str, Any]


def remake(record: Mapping[str, Any]) -> NewImage:
    """Make the image that a provenance describes, as ``run_again`` does."""
    from evenhand.generation.images import encode_png, png_versions

    result = run_again(record)
    run = result.provenance | {"versions": result.provenance["versions"] | png_versions()}
    return NewImage(encode_png(result.images["image"][0]), run)


def run_again(record: Mapping[str, Any], **options: Any) -> Generated:
    """Generate what a provenance describes, as the arm ``image``, in calls of the same shape, on as many threads.

    options: more arguments of ``generate``. Raises ``InputError`` for a record that lacks an entry, or for another
    checkpoint than the recorded one.
    """
    missing = [name for name in ENTRIES if name not in record]
    if missing or not isinstance(record["scheduler"], Mapping):
        raise InputError(f"its record lacks {', '.join(missing) or 'the scheduler configuration'}")
    import torch

    from evenhand.generation.guidance import from_dict
    from evenhand.generation.trajectory import generate

    pipeline = model_cache.pipeline_of(record["checkpoint"], record["revision"], record["dtype"])
    thread_count = torch.get_num_threads()
    torch.set_num_threads(record.get("threads", thread_count))
    try:
        return generate(
            pipeline,
            [record["prompt"]],
            [record["seed"]],
            {"image": from_dict(record["guidance"])},
            steps=record["scheduler"]["steps"],
            scheduler=record["scheduler"]["name"],
            batch_size=record["rows"]["vae"],
            **record["size"],
            **options,
        )
    finally:
        torch.set_num_threads(thread_count)


def how_far_apart(then: np.ndarray, now: np.ndarray) -> str:
    """Describe the difference of two images."""
    if then.shape != now.shape:
        return f"Its size was {then.shape[1]}×{then.shape[0]}, now it is {now.shape[1]}×{now.shape[0]}."
    difference = np.abs(then.astype(int) - now)
    if not difference.any():
        return "The pixels are equal: the encoding differs."
    share = (difference.max(axis=-1) > 0).mean()
    return f"{share:.1%} of the pixels differ, by at most {difference.max()} grey levels of 255."


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield the entries in which two records of how an image was made differ, one line each."""
    old, new = (dict(_entries(record)) for record in (then, now))
    for name in sorted(old.keys() | new.keys()):
        before, after = (entries.get(name, NO_ENTRY) for entries in (old, new))
        if name.partition(".")[0] not in SAME_RECIPE and before != after:
            yield f"  {name}: {before} then, {after} now"


def _entries(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _entries(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
