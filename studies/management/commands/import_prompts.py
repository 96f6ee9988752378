"""``manage.py import_prompts FILE --name NAME``: import a prompt set from a table, JSON or plain text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.sampling.prompts import PromptFileError, SourcePrompt, stream_prompts
from evenhand.studies.prompt_import import PromptImportError, free_name, store_prompts


class Command(BaseCommand):
    """Imports a file as a new set, whole or not at all."""

    help = (
        "Import a prompt file as a new prompt set: .csv, .tsv, .jsonl, .json (COCO's annotations or a list), "
        "anything else: one prompt a line. The paper's set: captions_val2014.json --limit 30000."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--name", required=True, help="the prompt set's name; it must be new")
        parser.add_argument("--column", help="the prompts' column of a table (default: prompt, caption or text)")
        parser.add_argument("--limit", type=int, metavar="N", help="take the first N prompts only")

    def handle(self, *args: Any, **options: Any) -> None:
        start = time.monotonic()
        path, trim_count = options["file"], 0

        def prompts() -> Iterator[SourcePrompt]:
            nonlocal trim_count
            for prompt in stream_prompts(path, options["column"], options["limit"]):
                trim_count += prompt.trimmed
                yield prompt

        try:
            prompt_set = store_prompts(prompts(), name=free_name(options["name"]), source=path.name)
        except (PromptFileError, PromptImportError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Imported “{prompt_set.name}” from {path}: {prompt_set.count} prompts, {trim_count} trimmed, "
            f"{prompt_set.duplicates} duplicates (kept), {time.monotonic() - start:.1f} seconds"
        )
