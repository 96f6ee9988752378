"""``manage.py demo``: run the whole job on this machine, from prompts to the histogram, then serve it."""

from __future__ import annotations

import json
import resource
import secrets
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.demonstration import processes
from evenhand.studies.demonstration.progress import watch_preparation
from evenhand.studies.models import PromptSet, Rating, Stage, Study

STUDY = "Demo: coloured shapes"
PROMPTS = "Built-in scenes"
ADMIN = "admin"
EVALUATORS = 17
SEED = 11


class Command(BaseCommand):
    """Continues where an earlier run has stopped: every step does only what is not done yet."""

    help = "Run the whole job with the embedded model and simulated evaluators, then serve the result."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-serve", action="store_true", help="end when the results are written")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--prompts", type=int, default=2400, help="built-in scene prompts to import")
        parser.add_argument("--subset", type=int, default=300, help="prompts of the first subset")
        parser.add_argument("--per-stratum", type=int, default=10)
        parser.add_argument("--evaluators", type=int, default=EVALUATORS)

    def handle(self, *args: Any, **options: Any) -> None:
        start = time.monotonic()
        output = Path(settings.VAR) / "demo"
        output.mkdir(parents=True, exist_ok=True)
        self._say("Preparing the database")
        call_command("migrate", verbosity=0)
        admin = self._admin()
        study = self._study(admin, options)
        timings = {"setup": time.monotonic() - start}
        try:
            self._prepare(study, output, timings)
            port = self._port(options["port"])
            log = output / "server.log"
            with processes.running(processes.server_command(port), log) as server:
                base_url = f"http://127.0.0.1:{port}"
                processes.wait_until_it_answers(f"{base_url}/healthz", server, log)
                self._rate(study, base_url, options["evaluators"], timings)
                timings["total"] = time.monotonic() - start
                self._write_results(study, output, timings)
                if not options["no_serve"]:
                    self._serve(study, base_url, server)
        except processes.ProcessError as error:
            raise CommandError(str(error)) from error

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    # ------------------------------------------------------------------ records

    def _admin(self) -> AbstractBaseUser:
        """Return the admin login; its random password is printed only when the login is made."""
        users = get_user_model().objects
        admin = users.filter(username=ADMIN).first()
        if admin is None:
            password = secrets.token_urlsafe(12)
            admin = users.create_superuser(username=ADMIN, email="", password=password)
            self._say(f"Made the login “{ADMIN}” with the password {password}   (shown only now)")
        return admin

    def _study(self, admin: AbstractBaseUser, options: dict[str, Any]) -> Study:
        from evenhand.demo.scenes import built_in_prompts
        from evenhand.studies.drafts import create_study
        from evenhand.studies.prompt_import import import_texts

        study = Study.objects.filter(name=STUDY).first()
        if study is not None:
            return study
        prompt_set = PromptSet.objects.filter(name=PROMPTS).first()
        if prompt_set is None:
            prompt_set = import_texts(built_in_prompts(options["prompts"]), name=PROMPTS, source="demo.scenes")
            self._say(f"Imported {prompt_set.count} scene prompts")
        return create_study(owner=admin, name=STUDY, prompt_set=prompt_set, configuration=demo_configuration(options))

    # ------------------------------------------------------------------ the stages, in a real worker

    def _prepare(self, study: Study, output: Path, timings: dict[str, float]) -> None:
        from evenhand.studies.pipeline import stages

        start = time.monotonic()
        if study.state == Study.State.DRAFT:
            stages.prepare(study)
        elif study.state == Study.State.PREPARING:
            self._say("Going on with a preparation that was interrupted")
            if study.stages.filter(state=Stage.State.FAILED).exists():
                stages.retry(study)
        if study.state != Study.State.PREPARING:
            return
        self._say("Starting a Celery worker (it loads the models first)")
        log = output / "worker.log"
        with processes.running(processes.worker_command(), log) as worker:
            watch_preparation(study, worker, log)
        study.refresh_from_db()
        timings["preparation"] = time.monotonic() - start

    # ------------------------------------------------------------------ simulated evaluators, over HTTP

    def _rate(self, study: Study, base_url: str, evaluators: int, timings: dict[str, float]) -> None:
        from evenhand.demo.judge import quality
        from evenhand.studies.lifecycle import open_study
        from evenhand.studies.simulation.deciders import Population, enrol_simulated
        from evenhand.studies.simulation.visits import visit_all

        start = time.monotonic()
        if study.state == Study.State.READY:
            open_study(study)
            study.refresh_from_db()
        enrol_simulated(study, evaluators - study.evaluators.filter(simulated=True).count())
        raters = list(study.evaluators.filter(simulated=True, finished_at=None))
        if not raters:
            return
        self._say(f"{len(raters)} simulated evaluators rate over HTTP, by what the pictures show of their prompts")
        with tqdm(
            total=len(raters),
            desc="Simulated evaluators",
            bar_format="{desc:32} |{bar:24}| {n_fmt}/{total_fmt}",
        ) as bar:
            visit_all(base_url, Population(quality).visitors(raters, SEED), on_finish=lambda _: bar.update())
        timings["rating"] = time.monotonic() - start

    # ------------------------------------------------------------------ results

    def _write_results(self, study: Study, output: Path, timings: dict[str, float]) -> None:
        from evenhand.studies.results import artefacts
        from evenhand.studies.results.report import plural, study_report

        artefacts.write(study, output, population="simulated")
        report = study_report(study, population="simulated") | {"demo": measurements(study, timings)}
        (output / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        self._say("")
        self._say(artefacts.terminal(study, population="simulated"))
        names = ", ".join(sorted(path.name for path in output.iterdir() if path.suffix != ".log"))
        ratings = Rating.objects.filter(evaluator__study=study)
        real = ratings.filter(evaluator__simulated=False).count()
        self._say(f"{ratings.count() - real} ratings, all of them SIMULATED")
        if real:
            self._say(
                f"Beside them {plural(real, 'rating')} by visitors: in the CSV and the console, not in these figures"
            )
        self._say(f"Written to {output}: {names}")

    def _port(self, preferred: int) -> int:
        port = processes.free_port(preferred)
        if port != preferred:
            self._say(f"Port {preferred} is in use; taking {port}")
        return port

    def _serve(self, study: Study, base_url: str, server: Any) -> None:
        from evenhand.studies.access import link_for
        from evenhand.studies.rating.enrolment import enrol

        guest = study.evaluators.filter(simulated=False, finished_at=None).first() or enrol(study, note="demo visitor")
        self._say(
            f"\nStudy admin:  {base_url}/console/   (login “{ADMIN}”; lost the password? manage.py changepassword)"
        )
        self._say(f"Evaluator:    {base_url}{link_for(guest)}")
        self._say("Ctrl-C ends the server.")
        try:
            server.wait()
        except KeyboardInterrupt:
            self._say("\nStopped.")


def demo_configuration(options: dict[str, Any]) -> StudyConfiguration:
    """Return the demo's study: the guidance settings of the model card, and sizes for a few minutes' work."""
    from evenhand.generation.guidance import from_dict

    settings_file = Path(settings.DEMO_CHECKPOINT) / "study.json"
    guidance = json.loads(settings_file.read_text())
    return StudyConfiguration(
        checkpoint="demo",
        subset_size=options["subset"],
        per_stratum=options["per_stratum"],
        curve_sizes=(20, 50, 100, 200, 600, 1200),
        baseline=from_dict(guidance["baseline"]),
        candidates=tuple(from_dict(candidate) for candidate in guidance["candidates"]),
        measure_strength=2,
        trials_per_evaluator=30,
        quota=max(EVALUATORS, options["evaluators"]) + 3,
    )


def measurements(study: Study, timings: dict[str, float]) -> dict[str, Any]:
    """Return this run's network evaluations beside method §1.12's formula, its times and its memory."""
    from evenhand.generation.plan import count_evaluations
    from evenhand.studies.drafts import configuration_of

    configuration = configuration_of(study)
    arms = {str(i): guidance for i, guidance in enumerate(configuration.candidates)}
    stages = {stage.name: stage for stage in study.stages.all()}
    steps, scheduler = configuration.steps, configuration.scheduler
    return {
        "evaluations": {
            "baseline": stages["baseline"].evaluations,
            "baseline_per_prompt": count_evaluations({"baseline": configuration.baseline}, steps, scheduler),
            "arms": stages["arms"].evaluations,
            "arms_per_prompt": count_evaluations(
                arms, steps, scheduler, measure_strength=configuration.measure_strength
            ),
            "naive_per_prompt": 2 * configuration.steps * (1 + len(arms)),
            "first_subset": stages["baseline"].total,
            "final_subset": stages["arms"].total,
        },
        "seconds": {name: round(value, 1) for name, value in timings.items()},
        "stage_seconds": {
            name: round((stage.finished_at - stage.started_at).total_seconds(), 1)
            for name, stage in stages.items()
            if stage.finished_at and stage.started_at
        },
        "peak_memory_gb": {
            who: round(resource.getrusage(flag).ru_maxrss / 1e6, 2)
            for who, flag in (("command", resource.RUSAGE_SELF), ("largest_child", resource.RUSAGE_CHILDREN))
        },
    }
