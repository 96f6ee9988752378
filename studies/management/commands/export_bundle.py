"""``manage.py export_bundle STUDY --to PATH``: write a study with pictures, ratings and proofs as one bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.bundle.writing import export
from evenhand.studies.management.commands.run_study import find_study


class Command(BaseCommand):
    """Nothing is overwritten, and nothing is left where it fails."""

    help = "Write a study as a bundle that can be verified, analysed and replicated elsewhere; docs/bundle.md."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", help="the study's name or number")
        parser.add_argument(
            "--to", type=Path, required=True, metavar="PATH", help="a new folder, or a new file that ends in .zip"
        )
        parser.add_argument(
            "--anonymous", action="store_true",
            help="with names drawn at random and without owner, remarks and windows; its hash chain cannot be verified",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        study = find_study(options["study"])
        with tqdm(desc="Pictures", unit=" pictures", disable=options["verbosity"] == 0) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            try:
                collected = export(study, options["to"], anonymous=options["anonymous"], progress=progress)
            except InputError as error:
                raise CommandError(str(error)) from error
        audit.record_bundle(study, root=collected.root, anonymous=collected.anonymous, size=collected.size)
        self.stdout.write(f"{len(collected.entries)} files, {collected.size:,} bytes: {options['to']}")
        self.stdout.write(f"root {collected.root}")
