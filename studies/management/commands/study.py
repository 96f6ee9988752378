"""``manage.py study ACTION``: what the console does with studies, for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from evenhand.errors import InputError
from evenhand.studies import audit, lifecycle, undo
from evenhand.studies.access import link_for
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of, create_study
from evenhand.studies.exclusions import exclude, lift
from evenhand.studies.management.commands.run_study import find_study
from evenhand.studies.management.study_steps import MORE, changed, evaluator_of
from evenhand.studies.models import Evaluator, PromptSet, Study
from evenhand.studies.rating.enrolment import enrol

STEPS: dict[str, tuple[Callable[..., None], str]] = {
    "open": (lifecycle.open_study, "let evaluators in"),
    "pause": (lifecycle.pause_study, "let nobody rate for a while"),
    "resume": (lifecycle.resume_study, "go on after a pause"),
    "close": (lifecycle.close_study, "end collecting for good"),
    "archive": (lifecycle.archive_study, "take it out of the list of studies"),
    "restore": (lifecycle.restore_study, "put an archived study back into the list"),
    "redraft": (undo.return_to_draft, "return to the draft, where nobody has rated"),
    "delete": (undo.delete_study, "delete a study that nobody has rated"),
}


class Command(BaseCommand):
    """Does one thing to one study, and records who did it where --by names a user."""

    help = "Do what the console does with a study: plan, prepare, open, close, copy, delete; people, pairs, results."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        for name, (_, what) in STEPS.items():
            parser_of_step = _study_parser(actions, name, what)
            if name == "open":
                parser_of_step.add_argument(
                    "--accept-odd-pairs",
                    action="store_true",
                    help="although pairs have no visible difference, or a picture of one colour",
                )
        for name, step in MORE.items():
            step.arguments(_study_parser(actions, name, step.what, by_required=step.by))
        create = actions.add_parser("create", help="create a draft from a configuration as JSON")
        create.add_argument("name")
        create.add_argument("--prompts", required=True, help="name or number of a prompt set")
        create.add_argument("--configuration", type=Path, required=True, metavar="FILE", help="settings that differ")
        create.add_argument("--by", required=True, metavar="USER", help="username of the owner")
        copy = _study_parser(actions, "copy", "create a draft with another study's plan", by_required=True)
        copy.add_argument("--name", required=True, help="of the new study")
        copy.add_argument("--keep-out", action="store_true", help="do not let in who takes part in the other study")
        _study_parser(actions, "show", "write the configuration in force as JSON")
        invite = _study_parser(actions, "invite", "make personal links and write them, one a line")
        invite.add_argument("--count", type=int, default=1)
        invite.add_argument("--note", default="")
        invite.add_argument("--base", default="", metavar="URL", help="before each link, such as https://example.org")
        leave_out = _study_parser(actions, "exclude", "leave an evaluator out of the results", by_required=True)
        leave_out.add_argument("evaluator", help="as in the CSV: e12")
        leave_out.add_argument("--reason", required=True)
        leave_out.add_argument("--free", action="store_true", help="give the pairs to others, too")
        include = _study_parser(actions, "include", "count an evaluator again who was left out", by_required=True)
        include.add_argument("evaluator", help="as in the CSV: e12")

    def handle(self, *args: Any, **options: Any) -> None:
        action = options["action"]
        actor = find_user(options["by"]) if options["by"] else None
        try:
            if action in STEPS:
                study = find_study(options["study"])
                accepted = {"accept_odd_pairs": True} if options.get("accept_odd_pairs") else {}
                STEPS[action][0](study, actor=actor, **accepted)
                self.stdout.write(f"“{study.name}”: {action} done")
            elif action in MORE:
                for line in MORE[action].does(find_study(options["study"]), options, actor):
                    self.stdout.write(line)
            else:
                self._others[action](options, actor)
        except InputError as error:
            raise CommandError(str(error)) from error

    @property
    def _others(self) -> dict[str, Callable[[dict[str, Any], Any], None]]:
        return {
            "create": self._create,
            "copy": self._copy,
            "show": self._show,
            "invite": self._invite,
            "exclude": self._exclude,
            "include": self._include,
        }

    def _create(self, options: dict[str, Any], actor: AbstractBaseUser) -> None:
        configuration = _configuration(options["configuration"])
        prompt_set = find_prompt_set(options["prompts"])
        if Study.objects.filter(name=options["name"]).exists():
            raise CommandError(f"there is a study named “{options['name']}” already")
        study = create_study(owner=actor, name=options["name"], prompt_set=prompt_set, configuration=configuration)
        self.stdout.write(f"“{study.name}” is a draft, number {study.pk}, configuration {configuration.sha256}")

    def _copy(self, options: dict[str, Any], actor: AbstractBaseUser) -> None:
        if Study.objects.filter(name=options["name"]).exists():
            raise CommandError(f"there is a study named “{options['name']}” already")
        study = undo.duplicate(
            find_study(options["study"]), name=options["name"], owner=actor, keep_out=options["keep_out"]
        )
        self.stdout.write(f"“{study.name}” is a draft, number {study.pk}")

    def _show(self, options: dict[str, Any], _actor: AbstractBaseUser | None) -> None:
        configuration = configuration_of(find_study(options["study"]))
        self.stdout.write(json.dumps(json.loads(configuration.to_json()), indent=2, ensure_ascii=False))

    def _invite(self, options: dict[str, Any], actor: AbstractBaseUser | None) -> None:
        study = find_study(options["study"])
        if not 1 <= options["count"] <= 500:
            raise CommandError(f"--count must lie in 1…500, not {options['count']}")
        with transaction.atomic():
            people = [enrol(study, note=options["note"]) for _ in range(options["count"])]
            audit.record(study, audit.INVITED, actor=actor, count=len(people))
        for person in people:
            self.stdout.write(f"{options['base'].rstrip('/')}{link_for(person)}")

    def _exclude(self, options: dict[str, Any], actor: AbstractBaseUser) -> None:
        person = _evaluator(options)
        exclude(person, reason=options["reason"], actor=actor, free=options["free"])
        self.stdout.write(f"{options['evaluator']} is left out: {options['reason']}")

    def _include(self, options: dict[str, Any], actor: AbstractBaseUser) -> None:
        lift(_evaluator(options), actor=actor)
        self.stdout.write(f"{options['evaluator']} counts again")


def _study_parser(actions: Any, name: str, what: str, *, by_required: bool = False) -> CommandParser:
    parser: CommandParser = actions.add_parser(name, help=what)
    parser.add_argument("study", help="the study's name or number")
    parser.add_argument("--by", required=by_required, default="", metavar="USER", help="who does it, for the record")
    return parser


def find_user(name: str) -> AbstractBaseUser:
    """Return a user by name. Raises ``CommandError``."""
    users = get_user_model()
    found = users.objects.filter(**{users.USERNAME_FIELD: name}).first()
    if found is None:
        raise CommandError(f"there is no user “{name}”")
    return found


def find_prompt_set(name: str) -> PromptSet:
    """Return a prompt set by name or number. Raises ``CommandError``."""
    found = PromptSet.objects.filter(name=name).first()
    if found is None and name.isdigit():
        found = PromptSet.objects.filter(pk=int(name)).first()
    if found is None:
        names = ", ".join(f"“{n}”" for n in PromptSet.objects.order_by("name").values_list("name", flat=True)[:20])
        raise CommandError(f"there is no prompt set “{name}”; there are: {names or 'none yet'}")
    return found


def _configuration(path: Path) -> StudyConfiguration:
    """Read a file of settings; those that it leaves out are the paper's."""
    return changed(StudyConfiguration(checkpoint="demo"), path)


def _evaluator(options: dict[str, Any]) -> Evaluator:
    return evaluator_of(find_study(options["study"]), options["evaluator"])
