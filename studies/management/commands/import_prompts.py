"""``manage.py import_prompts FILE --name NAME``: a prompt set from a CSV, TSV or plain text file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sampling.prompts import PromptFileError, read_prompts
from studies.prompt_import import PromptImportError, free_name, store_prompts


class Command(BaseCommand):
    """Read the whole file, then write the whole set."""

    help = "Import a prompt file (.csv, .tsv, anything else: one prompt a line) as a new prompt set."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--name", required=True, help="the prompt set's name; it must be new")
        parser.add_argument("--column", help="the prompts' column of a table (default: prompt, caption or text)")

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.monotonic()
        try:
            name = free_name(options["name"])
            file = read_prompts(options["file"], options["column"])
            prompt_set = store_prompts(file.prompts, name=name, source=file.path.name)
        except (PromptFileError, PromptImportError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Imported “{prompt_set.name}” from {file.path}: {prompt_set.count} prompts, {file.trimmed} trimmed, "
            f"{prompt_set.duplicates} duplicates (kept), {time.monotonic() - began:.1f} seconds"
        )
