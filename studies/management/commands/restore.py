"""``manage.py restore FOLDER``: read a backup into an empty installation, and verify every hash and chain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.errors import InputError
from evenhand.studies.models import Image, Rating
from evenhand.studies.safekeeping.backup import faults, key_fingerprint, restore


class Command(BaseCommand):
    """Prints each fault on a line and ends with status 1; without faults it prints what was verified."""

    help = "Read a backup into an empty installation, and verify it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="the folder that `manage.py backup` wrote")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            record = restore(options["folder"])
        except (InputError, OSError) as error:
            raise CommandError(str(error)) from None
        call_command("migrate", verbosity=0)  # the backup may be of an earlier version
        found = faults()
        for fault in found:
            self.stderr.write(fault)
        if found:
            raise CommandError(f"{len(found)} faults in what was restored")
        images = Image.objects.order_by().values("sha256").distinct().count()
        self.stdout.write(f"{images} pictures have their hashes; {Rating.objects.count()} ratings, every chain holds.")
        keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
        if record.secret_key not in map(key_fingerprint, keys):
            self.stderr.write(
                f"The secret key is another one (the backup's has the fingerprint {record.secret_key}): links to"
                " evaluators and logins of before are void until EVENHAND_SECRET_KEY is the backup's."
            )
