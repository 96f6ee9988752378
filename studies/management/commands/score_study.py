"""``manage.py score_study STUDY``: score a study's arms by metrics, in this process or by the workers."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.errors import InputError
from evenhand.generation.guidance import ClassifierFree, Guidance, from_dict
from evenhand.studies.chosen_prompts import CHOICES
from evenhand.studies.drafts import configuration_of
from evenhand.studies.management.commands.run_study import find_study
from evenhand.studies.models import Scoring, ScoringPart, Study
from evenhand.studies.pipeline import scorings
from evenhand.studies.work import queue as work_queue


class Command(BaseCommand):
    """Starts a scoring, or goes on with one; pictures and scores that are stored are not computed again."""

    help = "Score a study's arms: CLIP score, PickScore, FID and its kin. May be interrupted and started again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", help="the study's name or number")
        parser.add_argument("--prompts", choices=CHOICES, default="final", help="of which prompts (default final)")
        parser.add_argument(
            "--metrics", nargs="*", default=["clip"], metavar="METRIC",
            help="of single pictures: clip, clip=MODEL,TAG, pickscore, pickscore=FOLDER, hps=FILE (default clip)",
        )  # fmt: skip
        parser.add_argument(
            "--reference", default="", metavar="FOLDER",
            help="pictures that the arms are compared with; “scenes” renders the demo's captions",
        )  # fmt: skip
        parser.add_argument(
            "--spaces", nargs="*", default=[], metavar="SPACE",
            help="of features: clip, clip=MODEL,TAG, inception, inception=FILE, dinov2=FOLDER",
        )  # fmt: skip
        parser.add_argument("--crop", action="store_true", help="cut reference pictures to the study's square")
        parser.add_argument(
            "--sweep", nargs="+", type=float, default=[], metavar="W", help="classifier-free arms beside"
        )
        parser.add_argument(
            "--arm", action="append", default=[], metavar="JSON", help="a guidance beside the study's arms"
        )
        parser.add_argument(
            "--go-on", action="store_true", help="go on with the study's newest scoring, failed parts too"
        )
        parser.add_argument("--workers", action="store_true", help="leave the work to the workers")

    def handle(self, *args: Any, **options: Any) -> None:
        study = find_study(options["study"])
        try:
            scoring = _newest(study) if options["go_on"] else scorings.start(study, _request(study, options))
        except InputError as error:
            raise CommandError(str(error)) from error
        if options["go_on"]:
            scorings.retry(scoring)
        if not options["workers"]:
            work_queue.work_through({ScoringPart: scorings.HANDLER}, scorings.QUEUE)
        progress = scorings.progress_of(scoring)
        self.stdout.write(f"scoring {scoring.pk}: {progress.state}, {progress.done} of {progress.total}")
        if progress.state == "failed":
            raise CommandError(f"{progress.error}. Mend it, then run this with --go-on.")


def _newest(study: Study) -> Scoring:
    scoring = study.scorings.first()
    if scoring is None:
        raise scorings.ScoringError(f"“{study.name}” has no scoring to go on with")
    return scoring


def _request(study: Study, options: dict[str, Any]) -> scorings.Request:
    """Read the options; raises ``InputError`` for an arm that is no guidance."""
    negative = configuration_of(study).baseline
    prompt = negative.negative_prompt if isinstance(negative, ClassifierFree) else ""
    arms: list[Guidance] = [ClassifierFree(strength, negative_prompt=prompt) for strength in options["sweep"]]
    for text in options["arm"]:
        try:
            settings = json.loads(text)
        except (ValueError, RecursionError) as error:  # also thousands of digits, or of objects in one another
            raise scorings.ScoringError(f"--arm {text!r} is no JSON: {error}") from error
        arms.append(from_dict(settings))
    return scorings.Request(
        arms=tuple(arms),
        prompts=options["prompts"],
        metrics=tuple(options["metrics"]),
        spaces=tuple(options["spaces"]),
        reference=options["reference"],
        crop=options["crop"],
    )
