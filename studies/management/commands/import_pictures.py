"""``manage.py import_pictures PATH …``: take pictures that were made elsewhere, as a study or as a candidate."""

from __future__ import annotations

import tempfile
from argparse import BooleanOptionalAction
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from evenhand.errors import InputError
from evenhand.studies.drafts import configuration_of
from evenhand.studies.management.commands.run_study import find_study
from evenhand.studies.management.commands.study import find_prompt_set, find_user
from evenhand.studies.uploaded.beside import arm_plan_of, take_arm
from evenhand.studies.uploaded.bringing import files_of
from evenhand.studies.uploaded.collection import Collection, Matching, look_through, plan_of
from evenhand.studies.uploaded.matching import RULES
from evenhand.studies.uploaded.plan import UNEQUAL, Choices, Finding, Plan
from evenhand.studies.uploaded.procedures import changed, plain_procedure
from evenhand.studies.uploaded.storing import About
from evenhand.studies.uploaded.taking import free_study_name, take

PICTURE_LIMIT = 200_000
NUMBERS = {
    "trials": "pairs a person (default: 30",
    "quota": "people wanted (default: 17",
    "practice": "practice pairs a person (default: 0",
    "checks": "attention checks a person (default: 0",
}
ABOUT = ("name", "model", "source", "licence")


class Command(BaseCommand):
    """Looks at every picture, says what it found, and stores nothing under ``--dry-run`` or where anything blocks."""

    help = "Make a study, or one candidate of a draft, of folders or archives of pictures; docs/uploads.md tells how."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="folders, archives, a table (CSV)")
        parser.add_argument("--name", required=True, help="of the new study, or of the candidate")
        parser.add_argument(
            "--owner", required=True, metavar="USER", help="username of the study's owner, or of who adds it"
        )
        parser.add_argument("--prompts", metavar="SET", help="prompt set (name or number) that the files belong to")
        parser.add_argument(
            "--match", choices=list(RULES), default="index", help="how files without a table are matched"
        )
        parser.add_argument(
            "--first-number", type=int, default=0, metavar="N", help="of the first prompt, in file names"
        )
        parser.add_argument("--unequal", choices=list(UNEQUAL), default="refuse", help="pairs of unequal size")
        parser.add_argument("--baseline", default="", metavar="ARM", help="the arm that others are compared with")
        parser.add_argument("--hold-out", action="store_true", help="take prompts of pairs for practice and checks")
        parser.add_argument("--like", metavar="STUDY", help="ask, explain and check as this study does")
        for what, help_ in NUMBERS.items():
            parser.add_argument(f"--{what}", type=int, metavar="N", help=f"{help_}, or as --like has it)")
        parser.add_argument(
            "--introduction", action=BooleanOptionalAction, help="instructions with an example (default: no)"
        )
        for what in ABOUT:
            parser.add_argument(
                f"--{what}-of", action="append", default=[], metavar="ARM=TEXT", help=f"an arm's {what}"
            )
        parser.add_argument(
            "--beside", metavar="STUDY", help="add all pictures as one candidate to this draft, beside generated arms"
        )
        for what in ABOUT[1:]:
            parser.add_argument(f"--{what}", default="", metavar="TEXT", help=f"with --beside: the candidate's {what}")
        parser.add_argument("--fit", action="store_true", help="with --beside: scale pictures of another size to fit")
        parser.add_argument("--dry-run", action="store_true", help="look and tell, and store nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["beside"]:
                self._add(options)
            else:
                self._run(options)
        except InputError as error:
            raise CommandError(str(error)) from error

    def _run(self, options: dict[str, Any]) -> None:
        owner, name = find_user(options["owner"]), free_study_name(options["name"])
        prompt_set = find_prompt_set(options["prompts"]) if options["prompts"] else None
        like = configuration_of(find_study(options["like"])) if options["like"] else None
        configuration = changed(
            plain_procedure(like),
            trials_per_evaluator=options["trials"], quota=options["quota"], practice_trials=options["practice"],
            attention_checks=options["checks"], introduction=options["introduction"],
        )  # fmt: skip
        about = _about(options)
        with _collected(options) as (collection, bar):
            matching = Matching(prompt_set, options["match"], options["first_number"])
            choices = Choices(options["unequal"], options["baseline"], options["hold_out"])
            plan = plan_of(collection, matching, configuration, choices)
            self._tell(plan)
            unknown = set(about) - set(plan.arms)
            if unknown:
                raise CommandError(f"{', '.join(sorted(unknown))} is none of the arms {', '.join(plan.arms)}")
            if options["dry_run"]:
                self.stdout.write("Nothing was stored.")
                return
            with bar("Stored") as progress:
                study = take(
                    plan, collection.pictures, name=name, owner=owner, prompt_set=prompt_set, about=about,
                    progress=progress,
                )  # fmt: skip
        self.stdout.write(f"“{study.name}” has {len(plan.pairs):,} pairs and is ready to be opened.")

    def _add(self, options: dict[str, Any]) -> None:
        study, owner = find_study(options["beside"]), find_user(options["owner"])
        about = About(**{what: options[what] for what in ABOUT})
        with _collected(options) as (collection, bar):
            matching = Matching(None, options["match"], options["first_number"])
            plan = arm_plan_of(collection, study, matching, fit=options["fit"])
            self._findings(plan.findings)
            if options["dry_run"]:
                self.stdout.write("Nothing was stored.")
                return
            with bar("Stored") as progress:
                added = take_arm(plan, collection.pictures, study, actor=owner, about=about, progress=progress)
        self.stdout.write(f"“{study.name}” has the candidate “{added.label()}” of {len(plan.taken):,} pictures.")

    def _tell(self, plan: Plan) -> None:
        self._findings(plan.findings)
        for arm, count in plan.pairs_by_arm.items():
            self.stdout.write(f"{arm} against {plan.arms[0]}: {count:,} pairs")
        self.stdout.write("sizes: " + ", ".join(f"{count:,} of {size}" for size, count in plan.sizes.items()))
        self.stdout.write("strata: " + ", ".join(f"{name} {count:,}" for name, count in plan.strata.items()))

    def _findings(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            mark = "  !" if finding.blocks else "  -"
            self.stdout.write(f"{mark} {finding.text}")
            for each in finding.first:
                self.stdout.write(f"      {each}")
            if finding.more:
                self.stdout.write(f"      and {finding.more:,} more")


@contextmanager
def _collected(options: dict[str, Any]) -> Iterator[tuple[Collection, Callable[[str], _Bar]]]:
    """Yield the pictures that were looked at, and what makes a progress bar; then remove what was unpacked."""
    bar = partial(_Bar, quiet=options["verbosity"] == 0)
    (settings.VAR / "uploads").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.VAR / "uploads", prefix="import-") as folder:
        files = files_of(options["paths"], Path(folder))
        with bar("Looked at") as progress:
            collection = look_through(files, most=PICTURE_LIMIT, progress=progress)
        yield collection, bar


def _about(options: dict[str, Any]) -> dict[str, About]:
    """Return what is said of each arm, from ``ARM=TEXT``."""
    said: dict[str, dict[str, str]] = {}
    for what in ABOUT:
        for text in options[f"{what}_of"]:
            arm, separator, value = text.partition("=")
            if not separator:
                raise CommandError(f"--{what}-of takes ARM=TEXT, not {text!r}")
            said.setdefault(arm, {})[what] = value
    return {arm: About(**values) for arm, values in said.items()}


class _Bar:
    """A progress bar that ``progress`` functions call."""

    def __init__(self, title: str, quiet: bool) -> None:
        self.bar = tqdm(desc=title, unit=" pictures", disable=quiet)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def __call__(self, done: int, total: int) -> None:
        self.bar.total = total
        self.bar.update(done - self.bar.n)
