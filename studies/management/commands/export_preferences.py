"""``manage.py export_preferences STUDY``: write a study's ratings as CSV to standard output."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.studies import audit
from evenhand.studies.management.commands.run_study import find_study
from evenhand.studies.results.export import (
    EXCEL_MARK,
    codebook,
    csv_lines,
    evaluator_lines,
    pair_lines,
    pilot_lines,
    prompt_lines,
)

TABLES = {
    "ratings": csv_lines,
    "pairs": pair_lines,
    "evaluators": evaluator_lines,
    "prompts": prompt_lines,
    "pilot": pilot_lines,
}


class Command(BaseCommand):
    """Writes only the CSV to standard output, so that it can be piped."""

    help = "Write a study's ratings, pairs, evaluators, final prompts or pilot as CSV; see docs/codebook.md."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", nargs="?", help="the study's name or number")
        parser.add_argument("--table", choices=TABLES, default="ratings", help="what a row is (default: a rating)")
        parser.add_argument("--excel", action="store_true", help="begin with a byte-order mark, for Excel on Windows")
        parser.add_argument("--codebook", action="store_true", help="write the columns' explanation instead")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["codebook"]:
            self.stdout.write(codebook(), ending="")
            return
        if not options["study"]:
            raise CommandError("name a study, or ask for --codebook")
        if options["excel"]:
            self.stdout.write(EXCEL_MARK, ending="")
        study, name = find_study(options["study"]), options["table"]
        audit.record(study, audit.TABLE, table="preferences" if name == "ratings" else name)
        for line in TABLES[name](study):
            self.stdout.write(line, ending="")
