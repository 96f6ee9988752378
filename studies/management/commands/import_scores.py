"""``manage.py import_scores STUDY FILE``: store scores of pictures that another program has computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.errors import InputError
from evenhand.studies.management.commands.run_study import find_study
from evenhand.studies.score_imports import import_scores


class Command(BaseCommand):
    """Checks the whole file before anything is stored."""

    help = "Store scores by metrics that do not run here (ImageReward, VQAScore, HPSv3): CSV of image, metric, value."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", help="the study's name or number")
        parser.add_argument("file", type=Path, help="CSV with the columns image (SHA-256 of the file), metric, value")
        parser.add_argument("--dry-run", action="store_true", help="only tell what the file holds")

    def handle(self, *args: Any, **options: Any) -> None:
        study = find_study(options["study"])
        try:
            found = import_scores(study, options["file"], dry_run=options["dry_run"])
        except InputError as error:
            raise CommandError(str(error)) from error
        for metric, count in found.stored.items():
            self.stdout.write(f"{metric}: {count:,} pictures{' would be stored' if options['dry_run'] else ' stored'}")
        for note in found.notes:
            self.stdout.write(note)
