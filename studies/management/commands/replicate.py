"""``manage.py replicate BUNDLE --name NAME --owner USER``: open a new study from a bundle, for other people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from evenhand.errors import InputError
from evenhand.studies.bundle.replicating import OWN, replicate
from evenhand.studies.models import Replication


class Command(BaseCommand):
    """Verifies the bundle first; where anything fails, no record is stored."""

    help = (
        "Open a new study from a bundle: the same pairs, sides, booklets, wording and rules. No picture is generated. "
        "docs/bundle.md says what the new owner fills in."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("bundle", type=Path, help="the bundle: its folder, or its zip file")
        parser.add_argument("--name", required=True, help="of the new study")
        parser.add_argument("--owner", required=True, metavar="USER", help="username of the new study's owner")

    def handle(self, *args: Any, **options: Any) -> None:
        users = get_user_model()
        owner = users.objects.filter(**{users.USERNAME_FIELD: options["owner"]}).first()
        if owner is None:
            raise CommandError(f"there is no user “{options['owner']}”")
        with tqdm(desc="Pictures", unit=" pictures", disable=options["verbosity"] == 0) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            try:
                study = replicate(options["bundle"], name=options["name"], owner=owner, progress=progress)
            except InputError as error:
                raise CommandError(str(error)) from error
        replication = Replication.objects.get(study=study)
        self.stdout.write(f"“{study.name}” replicates “{replication.original_name}” and is ready to be opened.")
        self.stdout.write(f"root of the bundle  {replication.bundle_root}")
        self.stdout.write(f"Fill in anew, where you need them: {', '.join((*OWN, 'end_returns'))}.")
