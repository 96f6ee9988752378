"""``manage.py fetch_model NAME``: download a model from the hub into ``var/models``, where that is allowed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.errors import InputError
from evenhand.studies.model_downloads import KINDS, fetch


class Command(BaseCommand):
    """Downloads the safetensors of one revision, and prints the folder that plans and metrics name."""

    help = "Download a model from the hub (owner/name); EVENHAND_MODEL_DOWNLOADS=1 allows it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="on the hub: owner/name")
        parser.add_argument("--kind", choices=sorted(KINDS), default="checkpoint")
        parser.add_argument("--revision", default="main", help="a branch, a tag or a commit (default: main)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = fetch(options["name"], options["kind"], options["revision"])
        except InputError as error:
            raise CommandError(str(error)) from error
        said = "is there already" if found.was_there else "downloaded"
        self.stdout.write(f"{options['name']} at commit {found.commit} {said}:")
        self.stdout.write(str(found.folder))
