"""Define what ``manage.py study`` does with a study that is there, step by step as the console does it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.core.management.base import CommandError, CommandParser

from evenhand.studies import audit, check_exchange, links, revision, undo, unusable_pairs
from evenhand.studies.access import enrolment_link, link_for
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import change_draft, configuration_of
from evenhand.studies.exclusions import free_open_pairs, free_places, keep_open_pairs
from evenhand.studies.members import remove_member, set_role
from evenhand.studies.models import CheckPair, Evaluator, Exclusion, Membership, Pair, Study
from evenhand.studies.pipeline import recipe_checks, scorings, semantic_maps, stages
from evenhand.studies.plan_in_words import preregistration
from evenhand.studies.results import export
from evenhand.studies.results.report import POPULATIONS, study_report
from evenhand.studies.sweeps import expanded

Options = dict[str, Any]
Does = Callable[[Study, Options, Any], Iterator[str]]


@dataclass(frozen=True)
class Step:
    """One action: what it does in words, its arguments, whether it wants a user, and the function, which says lines."""

    what: str
    does: Does
    arguments: Callable[[CommandParser], object] = lambda _: None
    by: bool = False


def read_settings(path: Path) -> dict[str, Any]:
    """Read a file of settings. Raises ``CommandError`` for what is no object, or names no setting."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(settings, dict):
        raise CommandError(f"{path} must hold an object with settings, not {type(settings).__name__}")
    unknown = sorted(set(settings) - {field.name for field in dataclasses.fields(StudyConfiguration)})
    if unknown:
        raise CommandError(f"{path}: there is no setting {unknown[0]!r}")
    return settings


def changed(base: StudyConfiguration, path: Path) -> StudyConfiguration:
    """Return a configuration with the settings of a file in place of its own."""
    settings = read_settings(path)
    try:
        if isinstance(settings.get("candidates"), list):
            settings["candidates"] = [each for candidate in settings["candidates"] for each in expanded(candidate)]
        return StudyConfiguration.from_json(json.dumps(json.loads(base.to_json()) | settings))
    except (TypeError, AttributeError, KeyError) as error:
        raise CommandError(f"{path}: a setting has another shape than it should: {error}") from error


def evaluator_of(study: Study, name: str) -> Evaluator:
    """Return a study's evaluator by pseudonym, as e12. Raises ``CommandError``."""
    number = name.removeprefix("e")
    found = study.evaluators.filter(pk=int(number)).first() if number.isdigit() and len(number) < 19 else None
    if found is None:
        raise CommandError(f"“{study.name}” has no evaluator “{name}”; the CSV names them e1, e2 …")
    return found


def _prepare(study: Study, _: Options, actor: AbstractBaseUser | None) -> Iterator[str]:
    stages.prepare(study, actor=actor)
    yield f"“{study.name}” is being prepared: a worker takes its stages"


def _retry(study: Study, _: Options, actor: AbstractBaseUser | None) -> Iterator[str]:
    yield f"{stages.retry(study, actor=actor)} batches of “{study.name}” will be tried again"


def _stop(study: Study, _: Options, actor: AbstractBaseUser | None) -> Iterator[str]:
    undo.stop_preparation(study, actor=actor)
    yield f"the preparation of “{study.name}” is stopped"


def _change(study: Study, options: Options, actor: AbstractBaseUser) -> Iterator[str]:
    configuration = changed(configuration_of(study), options["configuration"])
    name = options["name"] or None
    if name and Study.objects.filter(name=name).exclude(pk=study.pk).exists():
        raise CommandError(f"there is a study named “{name}” already")
    change_draft(study=study, actor=actor, configuration=configuration, name=name)
    yield f"“{name or study.name}” has the configuration {configuration.sha256}"


def _revise(study: Study, options: Options, actor: AbstractBaseUser | None) -> Iterator[str]:
    settings = read_settings(options["configuration"])
    values = changed(configuration_of(study), options["configuration"])
    version = revision.revise(study, actor=actor, **{name: getattr(values, name) for name in settings})
    yield f"version {version.number} of “{study.name}” is in force, configuration {version.sha256}"


def _member(study: Study, options: Options, actor: AbstractBaseUser | None) -> Iterator[str]:
    user, role = options["user"], options["role"]
    if role != "none":
        set_role(study, user, role, actor=actor)
        yield f"{user} is {role} of “{study.name}”"
        return
    member = study.memberships.select_related("user", "study").filter(user__username=user).first()
    if member is None:
        raise CommandError(f"{user} has no role in “{study.name}” that could be taken")
    remove_member(member, actor=actor)
    yield f"{user} has no role in “{study.name}” any more"


def _exchange(study: Study, options: Options, actor: AbstractBaseUser | None) -> Iterator[str]:
    pair = CheckPair.objects.select_related("study", "prompt", "better").filter(
        study=study, number=options["number"] - 1
    ).first()  # fmt: skip
    if pair is None:
        raise CommandError(f"“{study.name}” has no check pair {options['number']}")
    if options["fault"]:
        made = check_exchange.exchange_fault(pair, options["fault"], actor=actor)
    else:
        made = check_exchange.exchange_prompt(pair, actor=actor)
    yield f"check pair {options['number']}: {made.fault} of “{made.prompt.text}”"


def _free(study: Study, options: Options, actor: AbstractBaseUser) -> Iterator[str]:
    person = evaluator_of(study, options["evaluator"])
    if Exclusion.objects.filter(evaluator=person, lifted_at=None).exists():
        free_places(person, actor=actor)
    else:
        free_open_pairs(person, actor=actor)
    yield f"the open pairs of {options['evaluator']} go to others"


def _keep(study: Study, options: Options, actor: AbstractBaseUser) -> Iterator[str]:
    keep_open_pairs(evaluator_of(study, options["evaluator"]), actor=actor)
    yield f"{options['evaluator']} has the open pairs again"


def _note(study: Study, options: Options, actor: AbstractBaseUser | None) -> Iterator[str]:
    links.change_note(evaluator_of(study, options["evaluator"]), options["note"], actor=actor)
    yield f"the note of {options['evaluator']} is “{options['note']}”"


def _renew(study: Study, options: Options, actor: AbstractBaseUser | None) -> Iterator[str]:
    if options["evaluator"]:
        person = evaluator_of(study, options["evaluator"])
        links.renew_personal_link(person, actor=actor)
        person.refresh_from_db()
        yield link_for(person)
        return
    links.renew_enrolment_link(study, actor=actor)
    study.refresh_from_db()
    yield enrolment_link(study)


def _pair(study: Study, options: Options, actor: AbstractBaseUser) -> Iterator[str]:
    related = Pair.objects.select_related("comparison__study", "prompt")
    pair = related.filter(comparison__study=study, pk=options["pair"]).first()
    if pair is None:
        raise CommandError(f"“{study.name}” has no pair {options['pair']}; the CSV numbers them")
    if options["use"]:
        unusable_pairs.take_back(pair, actor=actor)
        yield f"pair {pair.pk} is used again"
    else:
        unusable_pairs.mark_unusable(pair, reason=options["reason"], actor=actor)
        yield f"pair {pair.pk} is unusable: {options['reason']}"


def _try(study: Study, _: Options, actor: AbstractBaseUser | None) -> Iterator[str]:
    check = recipe_checks.ask(study, actor=actor, again=True)
    yield f"a worker is asked to try the recipe of “{study.name}”, check {check.pk}; the plan's review shows its answer"


def _maps(study: Study, options: Options, _: object) -> Iterator[str]:
    related = Pair.objects.select_related("baseline_image", "candidate_image")
    pair = related.filter(comparison__study=study, pk=options["pair"]).first()
    if pair is None:
        raise CommandError(f"“{study.name}” has no pair {options['pair']}; the CSV numbers them")
    asked = semantic_maps.ask([pair.baseline_image, pair.candidate_image])
    yield f"a worker is asked for {len(asked)} maps of pair {pair.pk}; the pair's page shows them"


def _report(study: Study, options: Options, _: object) -> Iterator[str]:
    yield json.dumps(study_report(study, population=options["ratings"]), indent=2)


def _preregister(study: Study, _: Options, __: object) -> Iterator[str]:
    configuration_of(study)
    assert study.current_version is not None  # configuration_of read it
    yield preregistration(study, study.current_version)


def _people(study: Study, _: Options, actor: AbstractBaseUser | None) -> Iterator[str]:
    audit.record(study, audit.PEOPLE, actor=actor)
    yield from (line.removesuffix("\n") for line in export.people_lines(study))


def _links(study: Study, options: Options, actor: AbstractBaseUser | None) -> Iterator[str]:
    audit.record(study, audit.LINKS, actor=actor)
    yield from (line.removesuffix("\n") for line in export.link_lines(study, options["base"].rstrip("/")))


def _score_again(study: Study, options: Options, _: object) -> Iterator[str]:
    scoring = study.scorings.filter(pk=options["scoring"]).first()
    if scoring is None:
        raise CommandError(f"“{study.name}” has no scoring {options['scoring']}")
    yield f"{scorings.retry(scoring)} parts of scoring {scoring.pk} will be tried again"


def _scoring(parser: CommandParser) -> None:
    parser.add_argument("scoring", type=int, help="its number on the page of metrics")


def _file(parser: CommandParser) -> None:
    parser.add_argument("--configuration", type=Path, required=True, metavar="FILE", help="settings that differ")


def _changed_draft(parser: CommandParser) -> None:
    _file(parser)
    parser.add_argument("--name", default="", help="another name of the study")


def _role(parser: CommandParser) -> None:
    parser.add_argument("user", help="username of the account")
    parser.add_argument("role", choices=[*Membership.Role.values, "none"], help="none: take it back")


def _check(parser: CommandParser) -> None:
    parser.add_argument("number", type=int, help="its number on the page, from 1")
    parser.add_argument("--fault", default="", help="give it another fault, not another prompt")


def _evaluator(parser: CommandParser) -> None:
    parser.add_argument("evaluator", help="as in the CSV: e12")


def _noted(parser: CommandParser) -> None:
    _evaluator(parser)
    parser.add_argument("note", help="who holds the link; empty text deletes it")


def _pair_number(parser: CommandParser) -> None:
    parser.add_argument("pair", type=int, help="as in the CSV")


def _marked(parser: CommandParser) -> None:
    _pair_number(parser)
    either = parser.add_mutually_exclusive_group(required=True)
    either.add_argument("--reason", default="", help="why it is unusable")
    either.add_argument("--use", action="store_true", help="use it again")


def _somebody(parser: CommandParser) -> None:
    parser.add_argument("evaluator", nargs="?", default="", help="whose personal link; left out: the enrolment link")


def _whose(parser: CommandParser) -> None:
    parser.add_argument("--ratings", choices=POPULATIONS, help="whose (default: the simulated only where none is real)")


def _base(parser: CommandParser) -> None:
    parser.add_argument("--base", default="", metavar="URL", help="before each link, such as https://example.org")


MORE = {
    "try": Step("let a worker try a draft's recipe before it is frozen", _try),
    "prepare": Step("prepare a draft, by workers", _prepare),
    "retry": Step("try a stopped preparation again", _retry),
    "stop": Step("stop the preparation", _stop),
    "change": Step("change a draft's settings", _change, _changed_draft, by=True),
    "revise": Step("change the quota and texts of a prepared study", _revise, _file),
    "member": Step("give an account a role, or take it back", _member, _role),
    "exchange-check": Step("exchange a check pair before the opening", _exchange, _check),
    "free": Step("give an evaluator's open pairs to others", _free, _evaluator, by=True),
    "keep": Step("let an evaluator have the open pairs again", _keep, _evaluator, by=True),
    "note": Step("change the note on an evaluator", _note, _noted),
    "renew-link": Step("make a link anew and write its path", _renew, _somebody),
    "pair": Step("mark a pair as unusable, or use it again", _pair, _marked, by=True),
    "maps": Step("let a worker make the semantic maps of a pair", _maps, _pair_number),
    "score-again": Step("go on with a failed scoring, by workers", _score_again, _scoring),
    "report": Step("write the results as JSON", _report, _whose),
    "preregister": Step("write the plan as a document for preregistration", _preregister),
    "people": Step("write who evaluators are, as CSV", _people),
    "links": Step("write the personal links, as CSV", _links, _base),
}
