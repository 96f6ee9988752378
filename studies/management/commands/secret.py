"""``manage.py secret ACTION``: renew the server's secret; what was made with the older one goes on to hold."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from evenhand.studies.access import panel_hmac
from evenhand.studies.models import ApiToken, Evaluator
from evenhand.studies.safekeeping.backup import key_fingerprint
from evenhand.studies.secret_file import forget_older, new_secret, renew


class Command(BaseCommand):
    """Shows no secret but a new one that has to be put into the environment."""

    help = "List the secrets by fingerprint, make a new one, or forget the older ones."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "action",
            choices=("list", "renew", "forget"),
            help="list: fingerprints; renew: make a new secret before the older ones; forget: take those away",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        {"list": self._list, "renew": self._renew, "forget": self._forget}[options["action"]]()

    def _list(self) -> None:
        for number, key in enumerate((settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)):
            self.stdout.write(f"{key_fingerprint(key)}  {'older, still known' if number else 'signs'}")

    def _renew(self) -> None:
        if os.environ.get("EVENHAND_SECRET_KEY"):
            self.stdout.write("Set these, and keep the secret of before at the head of the second:")
            self.stdout.write(f"EVENHAND_SECRET_KEY={new_secret()}")
            self.stdout.write("EVENHAND_SECRET_KEY_FALLBACKS=<what EVENHAND_SECRET_KEY was, then what stood here>")
        else:
            renew(settings.SECRET_FILE)
            self.stdout.write(f"A new secret stands first in {settings.SECRET_FILE}, before the older ones.")
        self.stdout.write("Start all services again, the workers too. What the older secret opened stays open.")

    def _forget(self) -> None:
        people = Evaluator.objects.filter(external_key__isnull=False).select_related("study")
        for person in people.iterator(chunk_size=2000):
            if person.external_hmac != (newest := panel_hmac(person.study, person.external_key or "")):
                Evaluator.objects.filter(pk=person.pk).update(external_hmac=newest)
        if os.environ.get("EVENHAND_SECRET_KEY"):
            self.stdout.write("Take EVENHAND_SECRET_KEY_FALLBACKS away, and start all services again.")
        else:
            forget_older(settings.SECRET_FILE)
            self.stdout.write("Nothing but the newest secret is left. Start all services again, the workers too.")
        deleted = Evaluator.objects.filter(external_key=None).exclude(external_hmac="").count()
        self.stdout.write(
            "Links that were given out before the newest secret open nothing any more. API tokens that were not used"
            f" since end, too ({ApiToken.objects.filter(revoked_at=None).count()} are in force), and {deleted} people"
            " whose panel id is deleted may no longer be known again."
        )
