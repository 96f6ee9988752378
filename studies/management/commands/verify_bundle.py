"""``manage.py verify_bundle PATH``: verify a bundle, and on request make some of its pictures again."""

from __future__ import annotations

import secrets
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.errors import InputError
from evenhand.studies.bundle import remaking, verify_bundle


class Command(BaseCommand):
    """Prints each problem on a line and ends with status 1; otherwise says what was verified."""

    help = "Verify a bundle's checksums, hash chains and records; it may come from anywhere. docs/bundle.md."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", help="the bundle: its folder, or its zip file")
        parser.add_argument("--root", help="the root that the study's owner has published")
        parser.add_argument(
            "--remake", metavar="SHARE", help="also make a random share of the pictures again, such as 5%%, or so many"
        )
        parser.add_argument("--seed", type=int, help="of the choice of pictures; default: drawn and printed")
        parser.add_argument("--checkpoint", help="where the recorded checkpoint lies on this machine")

    def handle(self, *args: Any, **options: Any) -> None:
        path = options["path"]
        try:
            share = remaking.share_of(options["remake"]) if options["remake"] else None
        except InputError as error:
            raise CommandError(str(error)) from error
        result = verify_bundle.verify_path(path, options["root"])
        self._stop_at(result.problems, path)
        self.stdout.write(result.summary())
        if share is not None:
            self._remake(path, share, options)

    def _remake(self, path: str, share: remaking.Share, options: dict[str, Any]) -> None:
        seed = secrets.randbelow(2**32) if options["seed"] is None else options["seed"]
        self.stdout.write(f"choice of pictures  seed {seed}")
        bundle = verify_bundle.open_bundle(path)
        try:
            chosen, of = remaking.choice(bundle, share, seed)
            outcomes = remaking.remade(bundle, chosen, options["checkpoint"])
            problems, equal, encoded = [], 0, 0
            for outcome in outcomes:
                equal += outcome.bytes_are_equal
                encoded += outcome.pixels_are_equal and not outcome.bytes_are_equal
                if outcome.problem:
                    problems.append(outcome.problem)
        except InputError as error:
            raise CommandError(str(error)) from error
        finally:
            bundle.close()
        self.stdout.write(f"{len(chosen)} of {of} generated pictures were made again: {equal} with equal bytes")
        if encoded:
            self.stdout.write(f"{encoded} with equal pixels in another encoding")
        self._stop_at(problems, path)

    def _stop_at(self, problems: list[str], path: str) -> None:
        for problem in problems[: verify_bundle.PROBLEMS_SHOWN]:
            self.stderr.write(problem)
        if problems:
            count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
            raise CommandError(f"{count}: {path} is not what it says")
