"""``manage.py regenerate IMAGE``: make an image again from its record, and compare the bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.errors import InputError
from evenhand.studies.image_store import image_file
from evenhand.studies.models import Image
from evenhand.studies.pipeline.remaking import NewImage, differences, how_far_apart, remake


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


def find_image(name: str) -> Image:
    """Return a generated image by number or hash; raise ``CommandError`` where there is none."""
    number = name.isdigit() and len(name) < 19  # what the database can hold
    image = (Image.objects.filter(pk=int(name)) if number else Image.objects.filter(sha256=name)).first()
    if image is None:
        raise CommandError(f"there is no image {name!r}; give its number or its SHA-256")
    if image.kind != Image.Kind.GENERATED or image.state != Image.State.DONE:
        raise CommandError(f"{image} is {image.kind} and {image.state}; only a generated one that is done has a recipe")
    return image


def file_problem(image: Image) -> str:
    """Say what is wrong with the stored file; empty if its bytes are the recorded ones."""
    from evenhand.generation.images import sha256_of

    file = image_file(image.sha256)
    try:
        sha256 = sha256_of(file.read_bytes())
    except FileNotFoundError:
        return f"The stored file is not there: {file}"
    return "" if sha256 == image.sha256 else f"The stored file was changed: {file} now holds {sha256}"


def image_problem(image: Image, new_image: NewImage) -> str:
    """Say how the image made now differs from the recorded one, and what differs in how they were made."""
    from evenhand.generation.images import decode_png, sha256_of

    if sha256_of(new_image.data) == image.sha256:
        return ""
    lines = ["The picture made now has other bytes than the recorded one."]
    if not file_problem(image):
        then, now = (decode_png(data) for data in (image_file(image.sha256).read_bytes(), new_image.data))
        lines.append(how_far_apart(then, now))
    lines += list(differences(image.provenance, new_image.provenance)) or [
        "Nothing recorded differs: something that is not recorded does."
    ]
    return "\n".join(lines)
