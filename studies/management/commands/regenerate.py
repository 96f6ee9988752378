"""``manage.py regenerate IMAGE``: make an image again from its row alone, and say whether the bytes are equal."""

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

NEEDED = ("prompt", "seed", "guidance", "checkpoint", "revision", "scheduler", "size", "rows", "dtype", "versions")
SAME_RECIPE = ("prompt", "seed", "guidance", "checkpoint", "revision", "batch_size_asked")  # taken from the record
ABSENT = "nothing"


class Command(BaseCommand):
    """Three things are compared: the row's hash, the stored file, and the picture made now."""

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
            made = remake(image.provenance)
        except (InputError, RuntimeError) as error:
            raise CommandError(f"{image} cannot be made again: {error}") from error
        if output is not None:
            output.write_bytes(made.data)
        self.stdout.write(f"{image}: recorded {image.sha256}")
        self.stdout.write(f"made now: {sha256_of(made.data)}")
        problems = [problem for problem in (file_problem(image), picture_problem(image, made)) if problem]
        if problems:
            raise CommandError("\n".join(problems))
        self.stdout.write("The bytes are equal: record, stored file and the picture made now.")


@dataclass(frozen=True)
class Remade:
    """A picture made again. provenance: as it would be stored now."""

    data: bytes
    provenance: dict[str, Any]


def find_image(name: str) -> Image:
    """An image that was generated, by number or hash; ``CommandError`` otherwise."""
    number = name.isdigit() and len(name) < 19  # what the database can hold
    image = (Image.objects.filter(pk=int(name)) if number else Image.objects.filter(sha256=name)).first()
    if image is None:
        raise CommandError(f"there is no image {name!r}; give its number or its SHA-256")
    if image.kind != Image.Kind.GENERATED or image.state != Image.State.DONE:
        raise CommandError(f"{image} is {image.kind} and {image.state}; only a generated one that is done has a recipe")
    return image


def remake(record: Mapping[str, Any]) -> Remade:
    """The picture that a provenance describes, from calls of the same shape, on as many threads.

    Raises ValueError for a record that lacks something or a checkpoint that is not the one recorded.
    """
    missing = [name for name in NEEDED if name not in record]
    if missing or not isinstance(record["scheduler"], Mapping):
        raise InputError(f"its record lacks {', '.join(missing) or 'the scheduler configuration'}")
    import torch

    from evenhand.generation.guidance import from_dict
    from evenhand.generation.images import encode_png, png_versions
    from evenhand.generation.trajectory import generate

    pipeline = model_cache.pipeline_of(record["checkpoint"], record["revision"], record["dtype"])
    before = torch.get_num_threads()
    torch.set_num_threads(record.get("threads", before))
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
        torch.set_num_threads(before)
    run = result.provenance | {"versions": result.provenance["versions"] | png_versions()}
    return Remade(encode_png(result.images["image"][0]), run)


def file_problem(image: Image) -> str:
    """What is wrong with the stored file; empty if its bytes are the recorded ones."""
    from evenhand.generation.images import sha256_of

    path = image_path(image.sha256)
    if not path.exists():
        return f"The stored file is not there: {path}"
    found = sha256_of(path.read_bytes())
    return "" if found == image.sha256 else f"The stored file was changed: {path} now holds {found}"


def picture_problem(image: Image, made: Remade) -> str:
    """How the picture made now differs from the recorded one, and what differs in how they were made."""
    from evenhand.generation.images import decode_png, sha256_of

    if sha256_of(made.data) == image.sha256:
        return ""
    lines = ["The picture made now has other bytes than the recorded one."]
    if not file_problem(image):
        then, now = (decode_png(data) for data in (image_path(image.sha256).read_bytes(), made.data))
        lines.append(how_far_apart(then, now))
    different = list(differences(image.provenance, made.provenance))
    lines += different or ["Nothing recorded differs: something that is not recorded does."]
    return "\n".join(lines)


def how_far_apart(then: np.ndarray, now: np.ndarray) -> str:
    """The difference of two pictures in words."""
    if then.shape != now.shape:
        return f"Its size was {then.shape[1]}×{then.shape[0]}, now it is {now.shape[1]}×{now.shape[0]}."
    apart = np.abs(then.astype(int) - now)
    if not apart.any():
        return "The pixels are equal: the encoding differs."
    return f"{(apart.max(axis=-1) > 0).mean():.1%} of the pixels differ, by at most {apart.max()} grey levels of 255."


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """The entries in which two records of how a picture was made differ, one line each."""
    old, new = (dict(_entries(record)) for record in (then, now))
    for name in sorted(old.keys() | new.keys()):
        if name.partition(".")[0] not in SAME_RECIPE and old.get(name, ABSENT) != new.get(name, ABSENT):
            yield f"  {name}: {old.get(name, ABSENT)} then, {new.get(name, ABSENT)} now"


def _entries(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _entries(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
