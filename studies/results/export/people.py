"""Join pseudonyms with panel's ids, notes and states: for owner and superusers alone, and never part of a bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator

from evenhand.studies.access import link_for
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Evaluator, Study
from evenhand.studies.results.export.cells import boolean, moment, words
from evenhand.studies.results.export.columns import Column

PEOPLE_COLUMNS = (
    Column("study", "text", "Name of the study.", "any text"),
    Column("evaluator", "text", "Pseudonym of the evaluator, as in the ratings.", "e and a number"),
    Column("evaluator_public_id", "text", "The evaluator's id in personal links.", "12 characters"),
    Column("simulated", "boolean", "Whether it is a simulation, not a person.", "TRUE, FALSE"),
    Column("note", "text", "The admin's reminder of who holds the link.", "any text; empty where there is none"),
    Column("state", "text", "How far the evaluator has come.",
           "invited, consented, finished, screened out, withdrawn, deleted"),
    *(
        Column(f"{name}_at", "time, UTC", text, "ISO 8601; empty where it did not happen")
        for name, text in (
            ("came", "When the link was made, or the person came."),
            ("consented", "When the consent was given."),
            ("finished", "When the last trial was answered."),
            ("screened_out", "When the comprehension check was failed."),
            ("withdrawn", "When the person withdrew."),
            ("deleted", "When answers and ids were deleted on request."),
        )
    ),
    Column("later_visits", "JSON", "The panel's ids of later visits, with their times.", "a list"),
)  # fmt: skip
# The panel's parameters of the study follow, one column each, under the panel's own names.


def people_lines(study: Study) -> Iterator[str]:
    """Yield a row an evaluator with everything that tells who it is; the panel's parameters stand last."""
    configuration = configuration_of(study)
    names = configuration.panel_parameters
    yield ",".join([*(column.name for column in PEOPLE_COLUMNS), *map(words, names)]) + "\n"
    for person in Evaluator.objects.filter(study=study).order_by("pk").iterator(2000):
        cells = [
            words(study.name),
            f"e{person.pk}",
            words(person.public_id),
            boolean(person.simulated),
            words(person.note),
            _state(person),
            *(
                moment(at)
                for at in (
                    person.created_at,
                    person.consented_at,
                    person.finished_at,
                    person.screened_out_at,
                    person.withdrawn_at,
                    person.deleted_at,
                )
            ),
            words(json.dumps(person.later_ids, ensure_ascii=False)) if person.later_ids else "",
            *(words(person.external_ids.get(name)) for name in names),
        ]
        yield ",".join(cells) + "\n"


def link_lines(study: Study, base: str) -> Iterator[str]:
    """Yield a row a personal link, for a mailing: note, state and the whole link. base: scheme and host.

    People of a panel and simulations have none; those of the pilot are left out.
    """
    yield "note,state,link\n"
    people = Evaluator.objects.filter(study=study, simulated=False, pilot=False, external_key=None, external_hmac="")
    for person in people.order_by("pk").iterator(2000):
        yield f"{words(person.note)},{_state(person)},{base}{link_for(person)}\n"


def _state(person: Evaluator) -> str:
    for at, name in (
        (person.deleted_at, "deleted"),
        (person.withdrawn_at, "withdrawn"),
        (person.screened_out_at, "screened out"),
        (person.finished_at, "finished"),
        (person.consented_at, "consented"),
    ):
        if at is not None:
            return name
    return "invited"
