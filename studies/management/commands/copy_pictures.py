"""``manage.py copy_pictures FOLDER``: copy a folder's pictures into the store in use, and compare every byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from evenhand.studies import image_store
from evenhand.studies.models import Image
from evenhand.studies.safekeeping.pictures import take_in

SHOWN = 5  # files that could not be copied


class Command(BaseCommand):
    """A second run copies what is still missing; files of the folder stay as they are."""

    help = (
        "Copy the pictures of another installation's folder into the bucket or folder in use; "
        "every hash is verified, and every copy read back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="the folder of pictures, images in EVENHAND_VAR")

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"]
        if not folder.is_dir():
            raise CommandError(f"there is no folder {folder}")
        recorded = Image.objects.filter(state=Image.State.DONE).values_list("sha256", flat=True)
        with tqdm(unit="file", disable=None) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            try:
                copied = take_in(folder, progress)
                gone = image_store.missing(recorded)
            except OSError as error:
                raise CommandError(f"{error}; run it again, it goes on where it stopped") from None
        self.stdout.write(
            f"{image_store.store().place()}: {copied.written:,} files written and {copied.there:,} there already, "
            "each read back and equal."
        )
        for name, reason in list(copied.refused.items())[:SHOWN]:
            self.stderr.write(f"{name}: {reason}")
        if copied.refused:
            raise CommandError(f"{len(copied.refused):,} files were not copied")
        if gone:
            raise CommandError(f"{len(gone):,} recorded pictures lie neither in {folder} nor in the store")
