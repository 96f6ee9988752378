"""``manage.py doctor``: examine the installation, and repair it on request."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.studies import doctor


class Command(BaseCommand):
    """Prints one line a finding; ends with status 1 where something is wrong and was not repaired."""

    help = "Check database, broker, storage, checkpoints, pictures, rating chains and stalled work."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--repair",
            action="store_true",
            help="make lost and damaged pictures again, remove files without a record that are older than a day, "
            "record the root of an interrupted closing, and try failed work again",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["repair"]:
            for finding in doctor.examine(repair=True):
                self._write(finding)
            self.stdout.write("After the repair:")
        faults = 0
        for finding in doctor.examine():
            self._write(finding)
            faults += not finding.well
        if faults:
            raise CommandError(f"{faults} things are wrong")
        self.stdout.write("All is well.")

    def _write(self, finding: doctor.Finding) -> None:
        mark = "ok   " if finding.well else "WRONG"
        self.stdout.write(f"{mark} {finding.subject:10} {finding.text}")
