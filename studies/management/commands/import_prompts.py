"""``manage.py import_prompts FILE --name NAME``: import a prompt set from a table, JSON, plain text or an archive."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.sampling.encodings import ENCODINGS
from evenhand.sampling.inspection import Inspection, inspect
from evenhand.sampling.prompts import ENDINGS, PromptFileError, SourcePrompt, open_rows, stream_prompts
from evenhand.sampling.reading import NO_SEPARATOR, SEPARATORS, Reading
from evenhand.sampling.tokens import TokenCounter
from evenhand.studies.prompt_import import PromptImportError, free_name, store_prompts, whole_prompts
from evenhand.studies.prompt_lengths import TokenLengths, checkpoints_at_hand, counter_of
from evenhand.studies.prompt_reading import sentences

_YES = {"yes": True, "no": False}


class Command(BaseCommand):
    """Imports a file as a new set, whole or not at all."""

    help = (
        f"Import a prompt file as a new prompt set: {', '.join(filter(None, ENDINGS))}, or a folder of one text a "
        "file. Separator, quoting, header and encoding are found out and told; --dry-run tells without storing. "
        "The paper's set: captions_val2014.json --limit 30000."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--name", help="the prompt set's name; it must be new")
        parser.add_argument("--dry-run", action="store_true", help="tell how the file is read, and store nothing")
        parser.add_argument("--column", help="the prompts' column (default: prompt, caption, text or description)")
        parser.add_argument("--limit", type=int, metavar="N", help="take the first N prompts only")
        parser.add_argument("--encoding", choices=list(ENCODINGS), help="of a text without a mark that is not UTF-8")
        parser.add_argument("--separator", choices=[*SEPARATORS, NO_SEPARATOR], help="none: every line is a prompt")
        parser.add_argument("--quoting", choices=list(_YES), help="whether quotation marks enclose fields")
        parser.add_argument("--header", choices=list(_YES), help="whether the first row names the columns")
        parser.add_argument("--skip-empty", action="store_true", help="leave out rows without a prompt")
        parser.add_argument("--skip-long", action="store_true", help="leave out prompts of more than 10,000 characters")
        parser.add_argument(
            "--skip-cut-by", action="append", default=[], metavar="CHECKPOINT", help="and those that it would cut"
        )
        parser.add_argument("--ignore-ids", action="store_true", help="use no column of ids")
        parser.add_argument("--ignore-seeds", action="store_true", help="use no column of seeds")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        reading = _reading_of(options)
        try:
            if options["dry_run"]:
                self._tell(path, reading)
                return
            if options["name"] is None:
                raise CommandError("a prompt set needs a --name; --dry-run stores nothing and needs none")
            self._import(path, reading, free_name(options["name"]), _counters_of(options["skip_cut_by"]))
        except (PromptFileError, PromptImportError) as error:
            raise CommandError(str(error)) from error

    def _import(self, path: Path, reading: Reading, name: str, counters: list[TokenCounter]) -> None:
        start, trim_count = time.monotonic(), 0

        def prompts() -> Iterator[SourcePrompt]:
            nonlocal trim_count
            for prompt in whole_prompts(stream_prompts(path, reading=reading), counters):
                trim_count += prompt.trimmed
                yield prompt

        for line in sentences(open_rows(path, reading).found):
            self.stdout.write(line)
        prompt_set = store_prompts(prompts(), name=name, source=path.name)
        self.stdout.write(
            f"Imported “{prompt_set.name}” from {path}: {prompt_set.count} prompts, {trim_count} trimmed, "
            f"{prompt_set.duplicates} duplicates (kept), {time.monotonic() - start:.1f} seconds"
        )

    def _tell(self, path: Path, reading: Reading) -> None:
        checkpoints = checkpoints_at_hand()
        lengths = [TokenLengths(each.name, each.counter.limit) for each in checkpoints]

        def count(texts: list[str]) -> None:
            for each, checkpoint in zip(lengths, checkpoints, strict=True):
                each.add(texts, checkpoint.counter.lengths(texts))

        result = inspect(path, reading, count)
        self.stdout.write("\n".join(_told(result, lengths)))
        if result.error is not None:
            raise result.error
        if not result.usable:
            raise CommandError(f"{path}: cannot be imported as it is read")


def _told(result: Inspection, lengths: list[TokenLengths]) -> list[str]:
    lines = sentences(result.found) if result.found else []
    lines += [f"  {i}: {prompt.text}" for i, prompt in enumerate(result.first)]
    lines.append(f"{result.count:,} prompts, {result.trimmed:,} trimmed, {result.duplicates:,} duplicates")
    for trouble in result.troubles.values():
        state = "left out" if trouble.left_out else "cannot be used"
        lines.append(f"{trouble.count:,} rows {state}, the first: {trouble.first[0]}")
    for each in lengths:
        text = f"{each.checkpoint}: at most {each.longest:,} tokens, it reads {each.limit:,}"
        lines.append(f"{text}; it would cut {each.cut:,} prompts" if each.cut else text)
    return lines


def _reading_of(options: dict[str, Any]) -> Reading:
    return Reading(
        encoding=options["encoding"],
        separator=options["separator"],
        quoting=_YES.get(options["quoting"]),
        header=_YES.get(options["header"]),
        column=options["column"],
        skip_empty=options["skip_empty"],
        skip_long=options["skip_long"],
        ignore_ids=options["ignore_ids"],
        ignore_seeds=options["ignore_seeds"],
        limit=options["limit"],
    )


def _counters_of(names: list[str]) -> list[TokenCounter]:
    found = []
    for name in names:
        counter = counter_of(name)
        if counter is None:
            raise CommandError(f"the tokenizer of the checkpoint “{name}” is not at hand")
        found.append(counter)
    return found
