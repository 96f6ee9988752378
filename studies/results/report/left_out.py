"""Tell who and what results leave out, and what was changed after the study was closed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenhand.studies.results.report.records import Records, reasons_counted


def moment(at: datetime | None) -> str | None:
    """Write a time as ISO 8601 in UTC."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def left_out(records: Records, population: NDArray[np.bool_], *, counted: int, for_pairs: int) -> dict[str, Any]:
    """Count the population's evaluators and answers that are left out, with their reasons.

    People who withdrew are counted apart, whatever was excluded of them before: no number holds anybody twice.
    counted: its ratings that count. for_pairs: those that would, were no pair marked as unusable.
    """
    people = records.people
    staying = population & ~people.withdrawn
    members = set(people.pk[staying].tolist())
    have_rated = np.isin(people.pk, np.unique(records.answers.evaluator))
    in_force = [each for each in records.exclusions if each["lifted_at"] is None]
    excluded = [each for each in in_force if each["evaluator"] in members]
    pairs = [each for each in in_force if each["pair"] is not None]
    single = [each for each in in_force if each["rating_evaluator"] in members]
    return {
        "evaluators": len(excluded),
        "of": int(((have_rated | people.excluded) & staying).sum()),
        "reasons": reasons_counted(excluded),
        "ratings": len(single),
        "rating_reasons": reasons_counted(single),
        "pairs": len(pairs),
        "pair_reasons": reasons_counted(pairs),
        "pair_ratings": for_pairs,
        "n_without_pairs": counted,  # as the report counts
        "n_with_pairs": counted + for_pairs,
        "withdrawn": int((people.withdrawn & population).sum()),
        "rules": records.configuration.exclusion_rules,  # as the plan stated them
        "stopping_rule": records.configuration.stopping_rule,
    }


def changes_after_closing(records: Records) -> list[dict[str, Any]]:
    """List what changed the results after the closing, the earliest first; nothing while the study is open."""
    closed = records.last("closed") if records.study.state == "closed" else None
    if closed is None:
        return []
    changes: list[tuple[datetime, dict[str, Any]]] = []

    def note(at: datetime | None, change: str, **what: Any) -> None:
        if at is not None and at > closed:
            changes.append((at, {"at": moment(at), "change": change, **what}))

    for each in records.exclusions:
        of_pair = each["pair"] is not None
        what = {
            "evaluator": _target(each),
            "of": "one answer" if each["rating"] else "all answers",
            "reason": each["reason"],
        }
        note(each["made_at"], "pair marked as unusable" if of_pair else "exclusion made", **what)
        note(each["lifted_at"], "pair used again" if of_pair else "exclusion lifted", **what)
    for pk, (withdrawn, deleted) in records.people.left_at.items():
        note(withdrawn, "evaluator withdrew", evaluator=f"e{pk}", of="all answers", reason="")
        note(deleted, "answers deleted on request", evaluator=f"e{pk}", of="all answers", reason="")
    return [change for _, change in sorted(changes, key=lambda each: each[0])]


def _target(exclusion: Mapping[str, Any]) -> str:
    """Name the evaluator, or the pair, whose answers are left out."""
    if exclusion["pair"] is not None:
        return f"pair {exclusion['pair']}"
    return f"e{exclusion['evaluator'] or exclusion['rating_evaluator']}"


def exclusions_listed(records: Records) -> list[dict[str, Any]]:
    """List every exclusion, the lifted ones too, as the record that researchers cite."""
    return [
        {
            "evaluator": None if each["pair"] else _target(each),
            "pair": each["pair"],
            "rating": each["rating_sequence"],
            "reason": each["reason"],
            "made_at": moment(each["made_at"]),
            "lifted_at": moment(each["lifted_at"]),
        }
        for each in records.exclusions
    ]
