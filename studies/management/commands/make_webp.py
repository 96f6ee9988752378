"""Write a lossless WebP beside stored pictures that have none: those of studies from before there were any."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from evenhand.studies.image_store import add_webp, image_file, webp_file
from evenhand.studies.management.commands.run_study import find_study
from evenhand.studies.models import Image


class Command(BaseCommand):
    """``manage.py make_webp [STUDY]``; a second run makes what is still missing."""

    help = "write lossless WebP files beside stored pictures, so that evaluators' browsers load less"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the arguments."""
        parser.add_argument("study", nargs="?", metavar="STUDY", help="name or number; none: all pictures")

    def handle(self, *args: object, **options: Any) -> None:
        """Encode in threads, and say what was saved."""
        hashes = self._hashes(options["study"])
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as threads:
            sizes = list(tqdm(threads.map(_sizes_with_webp, hashes), total=len(hashes), unit="picture", disable=None))
        there = [(png, webp) for png, webp in sizes if webp]
        lost = sum(png == 0 for png, _ in sizes)
        self.stdout.write(f"{len(there):,} of {len(hashes):,} pictures have a WebP")
        if there:
            png, webp = (sum(column) for column in zip(*there, strict=True))
            self.stdout.write(f"{png:,} bytes as PNG, {webp:,} as WebP: {1 - webp / png:.0%} less")
        if lost:
            raise CommandError(f"{lost:,} pictures have no file")

    def _hashes(self, name: str | None) -> list[str]:
        images = Image.objects.filter(state=Image.State.DONE)
        if name is not None:
            study = find_study(name)
            prompts = study.prompt_set.prompts.values("pk")
            images = images.filter(prompt__in=prompts)
        return sorted(set(images.values_list("sha256", flat=True)))


def _sizes_with_webp(sha256: str) -> tuple[int, int]:
    """Return the bytes of a picture as PNG and as WebP, which is made where it is missing; 0 where there is none."""
    file = image_file(sha256)
    try:
        png = file.size()
    except FileNotFoundError:
        return 0, 0
    if webp_file(sha256).exists() or add_webp(sha256, file.read_bytes()):
        return png, webp_file(sha256).size()
    return png, 0
