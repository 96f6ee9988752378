"""``manage.py regenerate IMAGE``: make an image again from its record, and compare the bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.errors import InputError
from evenhand.studies.image_store import image_path
from evenhand.studies.models import Image
from evenhand.studies.pipeline import model_cache

ENTRIES = ("prompt", "seed", "guidance", "checkpoint", "revision", "scheduler", "size", "rows", "dtype", "versions")
SAME_RECIPE = ("prompt", "seed", "guidance", "checkpoint", "revision", "batch_size_asked")  # taken from the record
NO_ENTRY = "nothing"


class Command(BaseCommand):
    """Compares three things: the record's hash, the stored file, and the image made now."""

    help = "Make an image again from what its row records; fails where the bytes differ or the stored file was changed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("image", help="the image's number, or its SHA-256")
        parser.add_argument("--output", type=Path, metavar="FILE", help="also write the picture made now to a new file")

    def handle(self, *args: Any, **options: Any) -> None:
        from evenhand.generation.images import sha256_of

        image = find_image(options["image"])
        output: Path | None = options["output"]
        if output is not None and output.exists():
            raise CommandError(f"{output} is there already, and is not overwritten")
        try:
            new_image = remake(image.provenance)
        except (InputError, RuntimeError) as error:
            raise CommandError(f"{image} cannot be made again: {error}") from error
        if output is not None:
            output.write_bytes(new_image.data)
        self.stdout.write(f"{image}: recorded {image.sha256}")
        self.stdout.write(f"made now: {sha256_of(new_image.data)}")
        problems = [problem for problem in (file_problem(image), image_problem(image, new_image)) if problem]
        if problems:
            raise CommandError("\n".join(problems))
        self.stdout.write("The bytes are equal: record, stored file and the picture made now.")


@dataclass(frozen=True)
class NewImage:
    """An image made again: the bytes of its file, and the provenance that would be stored now."""

    data: bytes
    provenance: dict[str, Any]


def find_image(name: str) -> Image:
    """Return a generated image by number or hash; raise ``CommandError`` where there is none."""
    number = name.isdigit() and len(name) < 19  # what the database can hold
    image = (Image.objects.filter(pk=int(name)) if number else Image.objects.filter(sha256=name)).first()
    if image is None:
        raise CommandError(f"there is no image {name!r}; give its number or its SHA-256")
    if image.kind != Image.Kind.GENERATED or image.state != Image.State.DONE:
        raise CommandError(f"{image} is {image.kind} and {image.state}; only a generated one that is done has a recipe")
    return image


def remake(record: Mapping[str, Any]) -> NewImage:
    """Make the image that a provenance describes, in calls of the same shape, on as many threads.

    Raises ``InputError`` for a record that lacks an entry, or for another checkpoint than the recorded one.
    """
    missing = [name for name in ENTRIES if name not in record]
    if missing or not isinstance(record["scheduler"], Mapping):
        raise InputError(f"its record lacks {', '.join(missing) or 'the scheduler configuration'}")
    import torch

    from evenhand.generation.guidance import from_dict
    from evenhand.generation.images import encode_png, png_versions
    from evenhand.generation.trajectory import generate

    pipeline = model_cache.pipeline_of(record["checkpoint"], record["revision"], record["dtype"])
    thread_count = torch.get_num_threads()
    torch.set_num_threads(record.get("threads", thread_count))
    try:
        result = generate(
            pipeline,
            [record["prompt"]],
            [record["seed"]],
            {"image": from_dict(record["guidance"])},
            steps=record["scheduler"]["steps"],
            scheduler=record["scheduler"]["name"],
            batch_size=record["rows"]["vae"],
            **record["size"],
        )
    finally:
        torch.set_num_threads(thread_count)
    run = result.provenance | {"versions": result.provenance["versions"] | png_versions()}
    return NewImage(encode_png(result.images["image"][0]), run)


def file_problem(image: Image) -> str:
    """Say what is wrong with the stored file; empty if its bytes are the recorded ones."""
    from evenhand.generation.images import sha256_of

    path = image_path(image.sha256)
    if not path.exists():
        return f"The stored file is not there: {path}"
    sha256 = sha256_of(path.read_bytes())
    return "" if sha256 == image.sha256 else f"The stored file was changed: {path} now holds {sha256}"


def image_problem(image: Image, new_image: NewImage) -> str:
    """Say how the image made now differs from the recorded one, and what differs in how they were made."""
    from evenhand.generation.images import decode_png, sha256_of

    if sha256_of(new_image.data) == image.sha256:
        return ""
    lines = ["The picture made now has other bytes than the recorded one."]
    if not file_problem(image):
        then, now = (decode_png(data) for data in (image_path(image.sha256).read_bytes(), new_image.data))
        lines.append(how_far_apart(then, now))
    lines += list(differences(image.provenance, new_image.provenance)) or [
        "Nothing recorded differs: something that is not recorded does."
    ]
    return "\n".join(lines)


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
