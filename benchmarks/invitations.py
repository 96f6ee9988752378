"""Enrol people for the benchmarks of the evaluator's side."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evenhand.studies.models import Study


def invited(study: Study, count: int) -> list[str]:
    """Enrol people who consent and are at their first trial, and return their links."""
    from evenhand.studies.access import link_for
    from evenhand.studies.rating.enrolment import consent, enrol

    people = [enrol(study, simulated=True) for _ in range(count)]
    for person in people:
        consent(person)
    return [link_for(person) for person in people]
