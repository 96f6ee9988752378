"""``manage.py api_token ACTION USER``: make, list and revoke the tokens of a user."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.errors import InputError
from evenhand.studies.management.commands.study import find_user
from evenhand.studies.models import ApiToken
from evenhand.studies.tokens import make_token, revoke_token


class Command(BaseCommand):
    """Writes a new token alone to standard output, so that it can be piped into a store of secrets."""

    help = "Make, list or revoke a user's API tokens; docs/api.md tells what they are for."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        made = actions.add_parser("make", help="make a token and write it, this once")
        revoked = actions.add_parser("revoke", help="let a token open nothing any more")
        listed = actions.add_parser("list", help="write names, last days and last uses")
        for each in (made, revoked, listed):
            each.add_argument("user", help="whose it is")
        for each in (made, revoked):
            each.add_argument("name", help="where it is used")
        made.add_argument("--until", type=date.fromisoformat, metavar="DAY", help="its last day, as 2030-12-31")

    def handle(self, *args: Any, **options: Any) -> None:
        user = find_user(options["user"])
        in_force = ApiToken.objects.filter(user=user.pk, revoked_at=None)
        if options["action"] == "list":
            for token in in_force:
                until, used = token.expires_on or "revoked", token.last_used_on or "never"
                self.stdout.write(f"{token.name}: made {token.created_at:%Y-%m-%d}, until {until}, last used {used}")
            return
        try:
            if options["action"] == "make":
                self.stdout.write(make_token(user, options["name"], expires_on=options["until"])[1])
                return
            revoke_token(in_force.get(name=options["name"]))
        except ApiToken.DoesNotExist as error:
            raise CommandError(f"{options['user']} has no token named “{options['name']}”") from error
        except InputError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"“{options['name']}” opens nothing any more")
