"""``manage.py simulate_evaluators STUDY``: let simulated evaluators rate a study over HTTP."""

from __future__ import annotations

import time
from argparse import ArgumentDefaultsHelpFormatter
from collections import Counter
from typing import Any

import httpx
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from evenhand.analysis.simulate import SimulatedEvaluator
from evenhand.errors import InputError
from evenhand.studies.access import enrolment_link
from evenhand.studies.drafts import configuration_of
from evenhand.studies.management.commands.run_study import find_study
from evenhand.studies.models import Study
from evenhand.studies.simulation.deciders import Population, Preference, enrol_simulated
from evenhand.studies.simulation.visits import SimulationError, Visit, visit_all

JUDGES = ("preference", "pictures")


class Command(BaseCommand):
    """Checks all options before anybody is enrolled."""

    help = (
        "Let simulated evaluators rate a study over HTTP; their ratings are marked as simulated for good. "
        "Strengths, noise, side bias and thresholds are in latent units: an answer is slightly better beyond 0.4, much "
        "better beyond 1.5. The server must use this database and secret key. "
        "With more than one thread, who gets which booklet depends on who comes first."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = ArgumentDefaultsHelpFormatter
        parser.add_argument("study", help="the study's name or number")
        parser.add_argument("--evaluators", type=int, default=17, help="new simulated evaluators")
        parser.add_argument("--threads", type=int, default=4, help="evaluators at once")
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the server runs")
        parser.add_argument(
            "--judge", choices=JUDGES, default="preference",
            help="what they go by: a chosen preference, or what the pictures of the built-in scenes show",
        )  # fmt: skip
        parser.add_argument(
            "--preference", type=float, nargs="+", default=[0.5], metavar="STRENGTH",
            help="strength towards the candidate: one for all, one a comparison, or these for each criterion in turn",
        )  # fmt: skip
        parser.add_argument("--noise", type=float, default=1.0, help="standard deviation")
        parser.add_argument("--side-bias", type=float, default=0.0, help="towards the right")
        parser.add_argument("--lapse-rate", type=float, default=0.02, help="share of trials answered at random")
        parser.add_argument("--drop-out-rate", type=float, default=0.0, help="share of evaluators who leave for good")
        parser.add_argument("--no-pictures", action="store_true", help="fetch no pictures")
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        study = find_study(options["study"])
        population = self._population(study, options)
        self._check(study, options)
        first_stream = study.evaluators.filter(simulated=True).count()  # so a second run draws other random numbers
        evaluators = enrol_simulated(study, options["evaluators"])
        start = time.monotonic()
        with tqdm(total=len(evaluators), desc="Simulated evaluators", disable=options["verbosity"] == 0) as bar:
            try:
                visits = visit_all(
                    options["url"],
                    population.visitors(evaluators, options["seed"], first=first_stream),
                    threads=options["threads"],
                    fetch=not options["no_pictures"],
                    on_finish=lambda _: bar.update(),
                )
            except SimulationError as error:
                raise CommandError(f"stopped: {error}") from error
        self._report(visits, time.monotonic() - start)

    def _population(self, study: Study, options: dict[str, Any]) -> Population:
        for name in ("lapse_rate", "drop_out_rate"):
            if not 0 <= options[name] <= 1:
                raise CommandError(f"--{name.replace('_', '-')} is a share, 0 to 1, not {options[name]:g}")
        by_pictures = options["judge"] == "pictures"
        try:
            character = SimulatedEvaluator(
                sensitivity=SimulatedEvaluator.sensitivity if by_pictures else 1.0,
                noise=options["noise"],
                side_bias=options["side_bias"],
                lapse_rate=options["lapse_rate"],
            )
            judge = _picture_quality() if by_pictures else Preference(_strengths(study, options["preference"]))
            return Population(judge, character, options["drop_out_rate"])
        except InputError as error:
            raise CommandError(str(error)) from error

    def _check(self, study: Study, options: dict[str, Any]) -> None:
        for name in ("evaluators", "threads"):
            if options[name] < 1:
                raise CommandError(f"--{name} must be at least 1, not {options[name]}")
        if options["seed"] < 0:
            raise CommandError(f"--seed must not be negative, as {options['seed']} is")
        if options["judge"] == "pictures" and any(each.hide_prompt for each in configuration_of(study).criteria):
            raise CommandError("--judge pictures measures how well a picture shows its text, and a criterion hides it")
        if options["judge"] == "pictures" and options["no_pictures"]:
            raise CommandError("--judge pictures looks at the pictures: leave --no-pictures out")
        if study.state != Study.State.COLLECTING:
            raise CommandError(f"“{study.name}” is {study.state}; evaluators rate while a study is collecting")
        self._check_server(study, options["url"])

    def _check_server(self, study: Study, url: str) -> None:
        """Raise ``CommandError`` unless the server shows the study's enrolment page; the request changes nothing."""
        try:
            response = httpx.get(f"{url.rstrip('/')}{enrolment_link(study)}", timeout=10)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise CommandError(f"{url} does not answer: {error}") from error
        if response.status_code != 200:
            raise CommandError(
                f"the server at {url} answers {response.status_code} for “{study.name}”: "
                "does it run Evenhand with this database and secret key?"
            )

    def _report(self, visits: list[Visit], seconds: float) -> None:
        ratings = sum(visit.ratings for visit in visits)
        outcomes = Counter(visit.outcome for visit in visits)
        summary = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in outcomes.most_common())
        self.stdout.write(f"{len(visits)} SIMULATED evaluators ({summary}) gave {ratings} ratings in {seconds:.1f} s.")


def _strengths(study: Study, strengths: list[float]) -> tuple[float, ...]:
    comparisons, criteria = study.comparisons.count(), len(configuration_of(study).criteria)
    if len(strengths) not in (1, comparisons, comparisons * criteria):
        each = f", or {comparisons * criteria}, those of each criterion in turn" if criteria > 1 else ""
        raise InputError(
            f"--preference takes one strength or {comparisons}, one a comparison{each}, not {len(strengths)}"
        )
    return tuple(strengths)


def _picture_quality() -> Any:
    from evenhand.demo.judge import quality

    return quality
