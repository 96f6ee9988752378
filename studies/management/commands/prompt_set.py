"""``manage.py prompt_set ACTION NAME``: list prompt sets, share and delete one, and try sampling settings on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.errors import InputError
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.management.commands.study import find_prompt_set, find_user
from evenhand.studies.management.study_steps import changed
from evenhand.studies.models import PromptSet
from evenhand.studies.pipeline import sampling_runs
from evenhand.studies.prompt_deletion import delete_prompt_set


class Command(BaseCommand):
    """Does what the console does with a prompt set; ``manage.py import_prompts`` makes one."""

    help = "List prompt sets, share or delete one, or try sampling settings on it."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        actions.add_parser("list", help="write the names and sizes of all sets")
        for name, what in (
            ("share", "show it to every account"),
            ("unshare", "show it only to those who work with it"),
            ("delete", "delete a set that no study uses, with its pictures"),
            ("try", "try sampling settings on it, by workers"),
        ):
            each = actions.add_parser(name, help=what)
            each.add_argument("set", help="its name or number")
            if name == "delete":
                each.add_argument("--by", default="", metavar="USER", help="who does it, for the log")
            if name == "try":
                each.add_argument("--by", required=True, metavar="USER", help="who will see the result")
                each.add_argument(
                    "--configuration", type=Path, required=True, metavar="FILE", help="settings that differ"
                )

    def handle(self, *args: Any, **options: Any) -> None:
        action = options["action"]
        if action == "list":
            for each in PromptSet.objects.order_by("name"):
                self.stdout.write(f"{each.pk} “{each.name}”: {each.count:,} prompts")
            return
        found = find_prompt_set(options["set"])
        actor = find_user(options["by"]) if options.get("by") else None
        try:
            if action == "delete":
                delete_prompt_set(found, actor=actor)
                told = "is deleted, with its pictures"
            elif action == "try":
                configuration = changed(StudyConfiguration(checkpoint="demo"), options["configuration"])
                run = sampling_runs.start(found, configuration, creator=actor)
                told = f"is tried with these settings, try {run.pk}: a worker takes it"
            else:
                PromptSet.objects.filter(pk=found.pk).update(shared=action == "share")
                told = "is shown to every account" if action == "share" else "is shown to those who work with it"
        except InputError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"“{found.name}” {told}")
