"""``manage.py verify_ratings STUDY``: check every evaluator's chain of ratings, and the root of a closed study."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.studies.management.commands.run_study import find_study
from evenhand.studies.models import Rating
from evenhand.studies.rating import chain


class Command(BaseCommand):
    """Says each fault on a line of its own and ends with status 1; silence is not an answer, so it prints the root."""

    help = "Check that a study's ratings are as they were written."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", help="the study's name or number")

    def handle(self, *args: Any, **options: Any) -> None:
        study = find_study(options["study"])
        found = [str(fault) for fault in chain.faults(study)]
        root = chain.root(study)
        if study.ratings_root and study.ratings_root != root:
            found.append(f"the root is {root}, when the study was closed it was {study.ratings_root}")
        for fault in found:
            self.stderr.write(fault)
        if found:
            raise CommandError(f"{len(found)} faults in the ratings of “{study.name}”")
        rows = Rating.objects.filter(evaluator__study=study)
        deleted = rows.exclude(deleted_at=None).count()
        self.stdout.write(f"{rows.count()} ratings, {deleted} of them deleted on request: every chain holds.")
        self.stdout.write(f"root {root}{' (as at closing)' if study.ratings_root else ' (the study is not closed)'}")
