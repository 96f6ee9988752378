"""Keep people out of a study who took part in an earlier one.

Each study hashes a panel's ids under a key of its own, so that two studies' records cannot be joined by their hashes.
An arriving id is therefore hashed as each earlier study would, and looked for there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Q

from evenhand.studies import audit
from evenhand.studies.access import has_panel_id, studies_of
from evenhand.studies.models import Evaluator, Study


def earlier_studies(study: Study, user: AbstractBaseUser) -> list[Study]:
    """Return the studies that this user may name: those that they may read and that people have, or may come to."""
    unfinished = (Study.State.DRAFT, Study.State.PREPARING)
    return list(studies_of(user).exclude(pk=study.pk).exclude(state__in=unfinished).order_by("name"))


def keep_out_people_of(study: Study, earlier: Iterable[Study], *, actor: AbstractBaseUser) -> None:
    """Name the earlier studies whose people are kept out, among those that the actor may name; others stay as they are.

    Whoever is in the study already stays in it. A repeated call changes nothing.
    """
    may_name = {each.pk for each in earlier_studies(study, actor)}
    with transaction.atomic():
        before = set(study.keeps_out.values_list("pk", flat=True))
        after = (before - may_name) | ({each.pk for each in earlier} & may_name)
        if after == before:
            return
        study.keeps_out.set(after)
        names = list(Study.objects.filter(pk__in=after).order_by("name").values_list("name", flat=True))
        audit.record(study, "kept out", actor=actor, studies=names)


def took_part_before(study: Study, external_key: str | None, public_ids: Mapping[int, str]) -> bool:
    """Whether an arriving person consented in one of the earlier studies, in a pilot of it too.

    external_key: the panel's id of the person; None without one. public_ids: by study, whom the browser's cookies name.
    """
    who = Q()
    for earlier in study.keeps_out.all():
        if external_key is not None:
            who |= has_panel_id(earlier, external_key)
        if earlier.pk in public_ids:
            who |= Q(study=earlier, public_id=public_ids[earlier.pk])
    return bool(who) and Evaluator.objects.filter(who, consented_at__isnull=False, simulated=False).exists()
