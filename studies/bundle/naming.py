"""Name people, booklets, trials and times in a bundle: as the study's records do, or anonymously.

Anonymous names are drawn anew for every bundle, and nothing is kept that leads from them back to a public id.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import SystemRandom
from typing import Any

from evenhand.studies.models import Booklet, Evaluator, Study


@dataclass(frozen=True)
class Place:
    """A booklet's name and its place: ``block`` and ``number`` from 0; a remainder has no number."""

    booklet: str
    block: int
    number: int | None


@dataclass(frozen=True)
class Naming:
    """The names of one bundle. ``evaluators``, ``booklets`` and ``starts`` are by primary key."""

    anonymous: bool
    evaluators: Mapping[int, str]
    booklets: Mapping[int, Place]
    starts: Mapping[int, datetime | None]  # an evaluator's consent, from which anonymous times count

    def evaluator(self, pk: int | None) -> str | None:
        """Return an evaluator's pseudonym; None for none."""
        return None if pk is None else self.evaluators[pk]

    def trial(self, public_id: object, booklet: int | None, position: int | None) -> str | None:
        """Return a trial's name: its public id, or its booklet's name and its position; None for no trial."""
        if public_id is None or booklet is None:
            return None
        return f"{self.booklets[booklet].booklet}-{position}" if self.anonymous else str(public_id)

    def time(self, at: datetime | None, evaluator: int | None) -> str | int | None:
        """Return a time in UTC (ISO 8601); anonymously whole seconds since the evaluator's consent, else None."""
        if at is None:
            return None
        if not self.anonymous:
            return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        start = None if evaluator is None else self.starts.get(evaluator)
        return None if start is None else int((at - start).total_seconds())


def naming_of(study: Study, *, anonymous: bool) -> Naming:
    """Return the names for a bundle of a study."""
    people = dict(Evaluator.objects.filter(study=study, pilot=False).order_by("pk").values_list("pk", "consented_at"))
    rows = list(
        Booklet.objects.filter(study=study, pilot=False)
        .order_by("simulated", "remainder", "number", "pk")
        .values("pk", "block", "number", "simulated", "remainder")
    )
    if anonymous:
        return Naming(True, pseudonyms(people), _shuffled(rows), people)
    places = {row["pk"]: Place(f"b{row['pk']}", row["block"], row["number"]) for row in rows}
    return Naming(False, {pk: f"e{pk}" for pk in people}, places, people)


def pseudonyms(people: Iterable[int]) -> dict[int, str]:
    """Return a random name for each evaluator, eight hex digits behind an ``a``; all differ."""
    names: dict[int, str] = {}
    used: set[str] = set()
    for pk in people:
        name = f"a{secrets.token_hex(4)}"
        while name in used:
            name = f"a{secrets.token_hex(4)}"
        used.add(name)
        names[pk] = name
    return names


def _shuffled(rows: Sequence[Mapping[str, Any]]) -> dict[int, Place]:
    """Number booklets anew, because a booklet's number says when it was claimed.

    Each block stays whole, and a block stays beside its mirror image, so that a study made of the first of them is as
    balanced as before.
    """
    random = SystemRandom()
    places: dict[int, Place] = {}
    for simulated in (False, True):
        planned = [row for row in rows if row["simulated"] == simulated and not row["remainder"]]
        blocks: dict[int, list[int]] = defaultdict(list)
        for row in planned:
            blocks[row["block"]].append(row["pk"])
        number = 0
        for block, old in enumerate(_order_of_blocks(sorted(blocks), random)):
            for pk in random.sample(blocks[old], len(blocks[old])):
                places[pk] = Place("", block, number)
                number += 1
    rest = [row["pk"] for row in rows if row["remainder"]]
    places |= {pk: Place("", 0, None) for pk in random.sample(rest, len(rest))}
    return {pk: replace(place, booklet=f"b{i}") for i, (pk, place) in enumerate(places.items(), start=1)}


def _order_of_blocks(blocks: Sequence[int], random: SystemRandom) -> list[int]:
    """Return blocks in a new order: pairs of mirror images shuffled, and each pair turned or not."""
    pairs = [list(blocks[i : i + 2]) for i in range(0, len(blocks), 2)]
    last = [pairs.pop()] if pairs and len(pairs[-1]) == 1 else []
    random.shuffle(pairs)
    for pair in pairs:
        random.shuffle(pair)
    return [block for pair in [*pairs, *last] for block in pair]
