"""Say a study's audit events in sentences, and sort them into kinds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from evenhand.studies import audit
from evenhand.studies.models import AuditEvent

Detail = Mapping[str, Any]
SHORT = 12  # hex digits of a hash


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, such as “1 answer” or “1,200 answers”."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _version(detail: Detail) -> str:
    return f"configuration {detail['version_hash'][:SHORT]}"


def _opened(detail: Detail) -> str:
    accepted = " and ".join(detail.get("accepted", []))
    return f"Opened for evaluators, although it had {accepted}" if accepted else "Opened for evaluators"


def _strata(detail: Detail) -> str:
    double = detail.get("identical_prompts")
    text = f"Chose the final subset of {counted(detail['prompts'], 'prompt')}"
    return f"{text}, {double:,} of them with the same text" if double else text


def _left_out(detail: Detail) -> str:
    prompts = detail["prompts"]
    first = f"the first, “{prompts[0]['prompt']}”," if len(prompts) > 1 else f"“{prompts[0]['prompt']}”,"
    return f"Left out {counted(len(prompts), 'prompt')} that could not be drawn: {first} because {prompts[0]['error']}"


def _scoring(detail: Detail) -> str:
    what = [*detail["metrics"], *detail["spaces"]]
    return f"Started scoring {detail['scoring']}: {', '.join(what)} on {counted(detail['count'], 'prompt')}"


def _exchanged(detail: Detail) -> str:
    (old, new), (old_fault, new_fault) = detail["prompt"], detail["fault"]
    changed = f"“{old}” became “{new}”" if old != new else f"“{old}”: {old_fault} became {new_fault}"
    return f"Exchanged check pair {detail['number'] + 1} ({detail['use']}): {changed}"


def _pair(detail: Detail) -> str:
    return f"pair {detail['pair']} of comparison {detail['comparison']}, “{detail['prompt']}”,"


def _bundle(detail: Detail) -> str:
    form = "anonymous" if detail["anonymous"] else "full"
    return f"Wrote a {form} bundle of {detail['size']:,} bytes with the root {detail['root'][:SHORT]}"


def _imported_scores(detail: Detail) -> str:
    counts = ", ".join(f"{count:,} of {metric}" for metric, count in detail["metrics"].items())
    return f"Imported scores from {detail['file']}: {counts}"


def _by_token(detail: Detail) -> str:
    return f" by the API token “{detail['token']}”" if "token" in detail else ""


def _token_made(detail: Detail) -> str:
    expires = detail.get("expires_on")
    return f"Made the API token “{detail['token']}”, {f'until {expires}' if expires else 'without an end'}"


Says = Callable[[Detail], str]
KINDS: dict[str, dict[str, Says]] = {
    "plan": {
        "created": lambda d: f"Created the study, {_version(d)}",
        "changed": lambda d: f"Changed the plan, now {_version(d)}",
        "revised": lambda d: f"Revised {', '.join(d['changed'])}, now {_version(d)}",
        "returned to draft": lambda d: f"Returned to the draft; deleted {d['deleted'] or 'nothing'}",
        "duplicated": lambda d: f"Copied from “{d['source_name']}”",
        "replicated": lambda d: (
            f"Replicated “{d['original']}” from the bundle with the root {d['bundle_root'][:SHORT]}"
        ),
    },
    "preparation": {
        "prepared": lambda d: f"Started the preparation, {_version(d)}",
        "ready": lambda _: "Finished the preparation",
        "stopped": lambda d: f"Stopped the preparation at {', '.join(d['stages'])}",
        "retried": lambda d: f"Tried the stage {d['stage']} again",
        "unknown_words": lambda d: f"Found {counted(d['different'], 'word')} that the checkpoint does not know",
        "strata": _strata,
        "prompts left out": _left_out,
        "check pair exchanged": _exchanged,
        "arm uploaded": lambda d: f"Uploaded {counted(d['pictures'], 'picture')} as the candidate “{d['arm']}”",
        "pairs taken": lambda d: (
            f"Took {counted(d['pairs'], 'ready-made pair')} of {counted(d['pictures'], 'picture')}"
        ),
    },
    "collection": {
        "kept out": lambda d: f"Kept out the people of {' and '.join(d['studies']) or 'no study'}",
        "opened": _opened,
        "paused": lambda _: "Paused",
        "resumed": lambda _: "Resumed",
        "closed": lambda _: "Closed",
        "archived": lambda _: "Archived",
        "restored": lambda _: "Put back into the list of studies",
        "pair marked unusable": lambda d: f"Marked {_pair(d)} as unusable: {d['reason']}",
        "pair used again": lambda d: f"Used {_pair(d)} again",
        "root": lambda d: f"Recorded the root of the rating chains, {d['ratings_root'][:SHORT]}",
    },
    "evaluators": {
        audit.INVITED: lambda d: f"Made {counted(d['count'], 'personal link')}",
        "pilot invited": lambda d: f"Made {counted(d['count'], 'pilot link')}",
        audit.SIMULATED: lambda d: f"Enrolled {counted(d['count'], 'simulated evaluator')}",
        "enrolment link renewed": lambda _: "Renewed the enrolment link",
        "excluded": lambda d: f"Left out evaluator e{d['evaluator']}: {d['reason']}",
        "places freed": lambda d: f"Gave {counted(d['places'], 'pair')} of evaluator e{d['evaluator']} to others",
        "open pairs freed": lambda d: f"Gave the open pairs of evaluator e{d['evaluator']} to others",
        "open pairs kept": lambda d: f"Let evaluator e{d['evaluator']} have their open pairs again",
        "note changed": lambda d: f"Changed the note of evaluator e{d['evaluator']}",
        "personal link renewed": lambda d: f"Renewed the link of evaluator e{d['evaluator']}",
        "panel compared": lambda d: f"Compared with a panel's table of {counted(d['rows'], 'row')}",
        "panel file written": lambda d: (
            f"Downloaded the panel's {d['file']} with {counted(d['people'], 'person', 'people')}"
        ),
        "exclusion lifted": lambda d: f"Counted evaluator e{d['evaluator']} again",
        "people forgotten": lambda d: (
            f"Emptied the ids of {counted(d['ids'], 'person', 'people')}, {counted(d['notes'], 'note')}"
            f" and the texts of {counted(d['reports'], 'report')}"
        ),
        "withdrawal": lambda d: (
            f"Withdrew evaluator e{d['evaluator']} and deleted their data, with {counted(d['deleted'], 'answer')}"
            if d.get("asked")
            else f"Evaluator e{d['evaluator']} withdrew"
            + (f" and had {counted(d['deleted'], 'answer')} deleted" if d.get("deleted") else "")
        ),
    },
    "files": {
        audit.TABLE: lambda d: f"Downloaded {d['table']}.csv{_by_token(d)}",
        audit.READ_BY_API: lambda d: f"Read the {d['table']}{_by_token(d)}, for the first time that day",
        audit.PEOPLE: lambda _: "Downloaded people.csv, which names evaluators",
        audit.LINKS: lambda _: "Downloaded the personal links",
        audit.PERSON: lambda d: f"Downloaded what is stored of evaluator e{d['evaluator']}",
        audit.BUNDLE: _bundle,
        "scores imported": _imported_scores,
        "scoring started": _scoring,
    },
    "members": {
        "member added": lambda d: f"Made {d['username']} {d['role']}",
        "role changed": lambda d: f"Made {d['username']} {d['role']}, who was {d['before']}",
        "member removed": lambda d: f"Took the role of {d['role']} from {d['username']}",
    },
}
OF_ACCOUNTS: dict[str, Says] = {  # in no study's log
    audit.TOKEN_MADE: _token_made,
    audit.TOKEN_REVOKED: lambda d: f"Revoked the API token “{d['token']}”",
}
SENTENCES = {action: says for actions in (*KINDS.values(), OF_ACCOUNTS) for action, says in actions.items()}
KIND_OF = {action: kind for kind, actions in (*KINDS.items(), ("account", OF_ACCOUNTS)) for action in actions}


def sentence_of(event: AuditEvent) -> str:
    """Say an event; one of an unknown action, or with details of an older form, as it is stored."""
    says = SENTENCES.get(event.action)
    if says is not None:
        try:
            return says(event.detail)
        except (KeyError, TypeError, ValueError, AttributeError):
            pass  # an event of an older version has other details
    detail = json.dumps(event.detail, ensure_ascii=False, sort_keys=True) if event.detail else ""
    return f"{event.action.replace('_', ' ').capitalize()} {detail}".strip()


def actor_of(event: AuditEvent) -> str:
    """Return who did it: a username, or the application itself or a command."""
    return event.actor.get_username() if event.actor is not None else "the application"
