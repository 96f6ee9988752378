"""``manage.py alarms``: list what is wrong with studies, and send what is new to whom the settings name."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from evenhand.studies.models import Study
from evenhand.studies.watching import alarms
from evenhand.studies.watching.delivery import send_alarms


class Command(BaseCommand):
    """List alarms, and send those that are new."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--every", type=float, metavar="SECONDS", help="look again and again; default: once")

    def handle(self, *args: Any, **options: Any) -> None:
        self._look()
        while options["every"]:
            time.sleep(max(1.0, options["every"]))
            self._look()

    def _look(self) -> None:
        studies = {
            study.pk: study for study in Study.objects.filter(state__in=(Study.State.PREPARING, Study.State.COLLECTING))
        }
        for pk, found in alarms.find(studies.values()).items():
            for alarm in found:
                self.stdout.write(f"{studies[pk]}: {alarm.text} {alarm.action}")
        for notice in send_alarms():
            self.stderr.write(f"sent: {notice.key} of “{notice.study}”")
