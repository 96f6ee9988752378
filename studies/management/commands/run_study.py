"""``manage.py run_study STUDY``: prepare a study in this process, without a broker."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.errors import InputError
from evenhand.studies.models import Stage, Study
from evenhand.studies.pipeline import stages


class Command(BaseCommand):
    """Prepares a draft, or continues a preparation, by running its batches in this process."""

    help = "Prepare a study in this process; several of these may run at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", help="the study's name or number")

    def handle(self, *args: Any, **options: Any) -> None:
        study = find_study(options["study"])
        try:
            if study.state == Study.State.DRAFT:
                stages.prepare(study)
            elif Stage.objects.filter(study=study, state=Stage.State.FAILED).exists():
                stages.retry(study)
            else:
                stages.advance(study)
        except InputError as error:
            raise CommandError(str(error)) from error
        count = stages.work_through()
        study.refresh_from_db()
        for stage in study.stages.all():
            self.stdout.write(f"{stage.name:10} {stage.state:8} {stage.done}/{stage.total} {stage.error}".rstrip())
        self.stdout.write(f"{count} batches done; the study is {study.state}.")
        if study.stages.filter(state=Stage.State.FAILED).exists():
            raise CommandError("a stage failed; its error stands above")


def find_study(name: str) -> Study:
    """Return a study by name or number; raise ``CommandError`` with the existing names where there is none."""
    study = Study.objects.filter(name=name).first()
    if study is None and name.isdigit():
        study = Study.objects.filter(pk=int(name)).first()
    if study is None:
        names = ", ".join(f"“{n}”" for n in Study.objects.order_by("name").values_list("name", flat=True)[:20])
        raise CommandError(f"there is no study “{name}”; there are: {names or 'none yet'}")
    return study
