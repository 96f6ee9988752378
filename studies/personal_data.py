"""Say all that is stored of one evaluator, and let go of what identifies people once a study is over.

What is let go of: a panel's ids (a keyed hash stays, so that nobody takes part twice), admins' notes, and the texts of
reports. Answers stay with their remarks, because the hash chains cover them; ``withdrawal.withdraw`` deletes those.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from evenhand.studies import audit
from evenhand.studies.access import panel_hmac
from evenhand.studies.models import AuditEvent, Booklet, Evaluator, Exclusion, Rating, Skip, Study

SECRET = ("nonce",)  # half of what the personal link is made of
PERSON, ANSWER = ("study", "version", "id", *SECRET), ("id", "trial", "evaluator", "version", "corrects")


@dataclass(frozen=True)
class Identifying:
    """How much of what identifies people a study holds: people with a panel's ids, notes, texts of reports."""

    ids: int
    notes: int
    reports: int

    @property
    def any(self) -> bool:
        """Whether there is something to let go of."""
        return bool(self.ids or self.notes or self.reports)


def record_of(evaluator: Evaluator) -> dict[str, Any]:
    """Return all that is stored of an evaluator, ready for JSON: the person, answers, skips, exclusions, the log."""
    ratings = Rating.objects.filter(evaluator=evaluator).select_related("trial__pair__prompt").order_by("sequence")
    skips = Skip.objects.filter(trial__booklet__evaluator=evaluator).select_related("trial").order_by("pk")
    booklet = Booklet.objects.filter(evaluator=evaluator).first()
    events = AuditEvent.objects.filter(study=evaluator.study_id, detail__evaluator=evaluator.pk).order_by("at")
    return {
        "study": evaluator.study.name,
        "evaluator": f"e{evaluator.pk}",
        "person": _values(evaluator, leave_out=PERSON),
        "booklet": _values(booklet, leave_out=("study", "evaluator", "id")) if booklet else None,
        "answers": [
            {"trial": str(each.trial.public_id), "prompt": each.trial.pair.prompt.text if each.trial.pair else None}
            | _values(each, leave_out=ANSWER)
            for each in ratings
        ],
        "skips": [{"trial": str(each.trial.public_id)} | _values(each, leave_out=("id", "trial")) for each in skips],
        "exclusions": [
            _values(each, leave_out=("id", "study", "evaluator", "rating", "pair", "made_by", "lifted_by"))
            for each in Exclusion.objects.filter(Q(evaluator=evaluator) | Q(rating__evaluator=evaluator)).order_by("pk")
        ],
        "log": [{"at": each.at.isoformat(), "what": each.action, "detail": each.detail} for each in events],
    }


def _values(row: Any, *, leave_out: tuple[str, ...]) -> dict[str, Any]:
    found = {field.name: getattr(row, field.attname) for field in row._meta.fields if field.name not in leave_out}
    return {name: _plain(value) for name, value in found.items()}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (dict, list, int)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


# ------------------------------------------------------------------------------ retention


def closed_for(days: int) -> QuerySet[Study]:
    """Return the studies that were closed at least so many days ago."""
    before = timezone.now() - timedelta(days=days)
    closed = Study.objects.filter(state=Study.State.CLOSED, events__action="closed")
    return closed.annotate(closed=Max("events__at", filter=Q(events__action="closed"))).filter(closed__lte=before)


def identifying(study: Study) -> Identifying:
    """Count what identifies people of a study."""
    people = Evaluator.objects.filter(study=study)
    return Identifying(
        ids=people.filter(_has_ids()).count(),
        notes=people.exclude(note="").count(),
        reports=Skip.objects.filter(trial__booklet__study=study).exclude(note="").count(),
    )


def forget_people(study: Study, *, actor: AbstractBaseUser | None = None) -> Identifying:
    """Let go of what identifies people of a study; a repeated call changes nothing. Answers and chains stay."""
    with transaction.atomic():
        found = identifying(study)
        for person in _with_something(study):
            if person.external_key:
                person.external_hmac = panel_hmac(study, person.external_key)
            person.external_key, person.external_ids, person.later_ids, person.note = None, {}, [], ""
            person.save(update_fields=["external_hmac", "external_key", "external_ids", "later_ids", "note"])
        Skip.objects.filter(trial__booklet__study=study).exclude(note="").update(note="")
        if found.any:
            audit.record(study, "people forgotten", actor=actor, **asdict(found))
    return found


def _has_ids() -> Q:
    return Q(external_key__isnull=False) | ~Q(external_ids={}) | ~Q(later_ids=[])


def _with_something(study: Study) -> list[Evaluator]:
    return list(Evaluator.objects.select_for_update().filter(_has_ids() | ~Q(note=""), study=study))
