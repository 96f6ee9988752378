"""``manage.py methods``: list the guidance methods, or write the JSON Schema of their settings."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from evenhand.generation.guidance import methods
from evenhand.generation.methods.schema import schema


class Command(BaseCommand):
    """Prints a method a line, or with ``--schema`` one JSON document."""

    help = "List the guidance methods that candidates may use, or write the JSON Schema of their settings."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--schema", action="store_true", help="write a JSON Schema of all methods' settings")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["schema"]:
            self.stdout.write(json.dumps(schema(), indent=2, ensure_ascii=False))
            return
        for name, kind in methods().items():
            self.stdout.write(f"{name}: {(kind.__doc__ or '').partition(chr(10))[0]}")
