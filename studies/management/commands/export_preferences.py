"""``manage.py export_preferences STUDY``: write a study's ratings as CSV to standard output."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.studies.management.commands.run_study import find_study
from evenhand.studies.results.export import codebook, csv_lines


class Command(BaseCommand):
    """Writes only the CSV to standard output, so that it can be piped."""

    help = "Write a study's ratings as CSV to standard output; docs/codebook.md explains the columns."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", nargs="?", help="the study's name or number")
        parser.add_argument("--codebook", action="store_true", help="write the columns' explanation instead")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["codebook"]:
            self.stdout.write(codebook(), ending="")
            return
        if not options["study"]:
            raise CommandError("name a study, or ask for --codebook")
        for line in csv_lines(find_study(options["study"])):
            self.stdout.write(line, ending="")
