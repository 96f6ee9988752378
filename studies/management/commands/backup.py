"""``manage.py backup FOLDER``: copy the database and the pictures into a new folder, while the installation runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.errors import InputError
from evenhand.studies.safekeeping.backup import back_up


class Command(BaseCommand):
    """Prints what was copied, and which secret key belongs to it."""

    help = "Copy the database and the pictures into a new folder."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="a folder that does not exist yet, or is empty")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            record = back_up(options["folder"])
        except (InputError, OSError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{record.database} and {record.pictures} picture files lie in {options['folder']}.")
        self.stdout.write(
            f"The secret key is not among them. Keep it elsewhere (fingerprint {record.secret_key}): it is"
            " EVENHAND_SECRET_KEY, or the file secret_key in EVENHAND_VAR."
        )
