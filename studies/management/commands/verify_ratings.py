"""``manage.py verify_ratings STUDY``: check the hash chains of a study's ratings, and its closing root."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.studies.management.commands.run_study import find_study
from evenhand.studies.models import Rating
from evenhand.studies.rating import chain


class Command(BaseCommand):
    """Prints each fault on a line and ends with status 1; without faults it prints the count and the root."""

    help = "Check that a study's ratings are as they were written."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", help="the study's name or number")

    def handle(self, *args: Any, **options: Any) -> None:
        study = find_study(options["study"])
        faults = [str(fault) for fault in chain.faults(study)]
        root = chain.root(study)
        if fault := chain.closing_fault(study):
            faults.append(f"{fault}: computed is {root}, recorded {study.ratings_root or 'none'}")
        for fault in faults:
            self.stderr.write(fault)
        if faults:
            raise CommandError(f"{len(faults)} faults in the ratings of “{study.name}”")
        ratings = Rating.objects.filter(evaluator__study=study)
        deleted = ratings.exclude(deleted_at=None).count()
        self.stdout.write(f"{ratings.count()} ratings, {deleted} of them deleted on request: every chain holds.")
        self.stdout.write(f"root {root}{' (as at closing)' if study.ratings_root else ' (the study is not closed)'}")
