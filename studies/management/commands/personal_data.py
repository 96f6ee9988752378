"""``manage.py personal_data ACTION``: export or delete what is stored of one person; forget people of old studies."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.studies.management.commands.run_study import find_study
from evenhand.studies.management.study_steps import evaluator_of
from evenhand.studies.models import Evaluator
from evenhand.studies.personal_data import closed_for, forget_people, identifying, record_of
from evenhand.studies.rating.withdrawal import withdraw


class Command(BaseCommand):
    """Prints the export to standard output; everything that is changed stands in the study's log."""

    help = "Export or delete what is stored of one evaluator, or forget the people of studies closed long ago."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for name, what in (
            ("export", "write all that is stored of one evaluator as JSON"),
            ("delete", "withdraw an evaluator, and delete their answers and ids, as their own page does; for good"),
        ):
            action = actions.add_parser(name, help=what)
            action.add_argument("study", help="the study's name or number")
            action.add_argument("evaluator", help="as in the CSV, e12")
        forget = actions.add_parser("forget", help="empty panel ids, notes and texts of reports; answers stay")
        forget.add_argument(
            "--days",
            type=int,
            default=settings.KEEP_DAYS,
            help="of studies that were closed so many days ago; default: EVENHAND_KEEP_DAYS",
        )
        forget.add_argument("--study", help="of this study alone, by name or number")
        forget.add_argument("--dry-run", action="store_true", help="say what would be emptied, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "forget":
            return self._forget(options)
        person = evaluator_of(find_study(options["study"]), options["evaluator"])
        if options["action"] == "export":
            return self.stdout.write(json.dumps(record_of(person), indent=2, ensure_ascii=False))
        return self._delete(person)

    def _delete(self, person: Evaluator) -> None:
        withdraw(person, delete=True)
        self.stdout.write(f"e{person.pk} of “{person.study.name}” has withdrawn; their answers and ids are deleted")

    def _forget(self, options: dict[str, Any]) -> None:
        days = options["days"]
        if days is None or days < 0:
            raise CommandError("say --days N, or set EVENHAND_KEEP_DAYS")
        due = closed_for(days)
        if options["study"]:
            due = due.filter(pk=find_study(options["study"]).pk)
            if not due.exists():
                raise CommandError(f"“{options['study']}” was not closed at least {days} days ago")
        for study in due:
            found = identifying(study) if options["dry_run"] else forget_people(study)
            what = f"ids of {found.ids} people, {found.notes} notes, {found.reports} reports"
            if found.any:
                self.stdout.write(f"“{study.name}”: {what} {'would be' if options['dry_run'] else 'are'} emptied")
