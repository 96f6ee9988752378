"""Answer reviewers' checklists from the record, and leave open what the record cannot know.

HEDS 3.0     Belz & Thomson 2025, The Human Evaluation Data Sheet, version 3.0
NeurIPS      the paper checklist of the conference, questions 14 and 15
Otani et al. Otani et al. 2023, Toward Verifiable and Reproducible Human Evaluation for Text-to-Image Generation
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Study


@dataclass(frozen=True)
class Facts:
    """What answers are told from."""

    study: Study
    configuration: StudyConfiguration
    report: Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """A question of a checklist. ``answer``: from the record; an empty text leaves it to the researcher."""

    number: str
    asks: str
    answer: Callable[[Facts], str]


@dataclass(frozen=True)
class AnsweredItem:
    """A question with its answer; empty where the record cannot know."""

    number: str
    asks: str
    answer: str


@dataclass(frozen=True)
class Checklist:
    """A checklist's questions with their answers."""

    source: str
    items: tuple[AnsweredItem, ...]

    @property
    def answered(self) -> int:
        """Number of questions with an answer."""
        return sum(bool(item.answer) for item in self.items)


def answered(facts: Facts) -> list[Checklist]:
    """Return every checklist with the answers that the record gives."""
    return [
        Checklist(source, tuple(AnsweredItem(item.number, item.asks, item.answer(facts).strip()) for item in items))
        for source, items in CHECKLISTS.items()
    ]


# ------------------------------------------------------------------------------ answers


def _approval(facts: Facts) -> str:
    approval = facts.configuration.approval.strip()
    return f"Approval {approval}." if approval else ""


def _payment(facts: Facts) -> str:
    return facts.configuration.payment.strip()


def _texts(facts: Facts) -> str:
    questions = "; ".join(f"“{each.question}”" for each in facts.configuration.criteria)
    paid = f" Payment: {_payment(facts)}" if _payment(facts) else " Payment is not in the record: add it."
    return f"Consent, instructions, a pair as it was shown and all options stand above. Asked: {questions}.{paid}"


def _risks(facts: Facts) -> str:
    approval = _approval(facts)
    return f"The consent that was read stands above. {approval}" if approval else ""


NEURIPS = (
    Item("14", "Full text of instructions, screenshots, and compensation, where people took part", _texts),
    Item("15", "Risks to participants, whether they were told, and the review board’s approval", _risks),
)

CHECKLISTS = {"NeurIPS paper checklist, 14 and 15": NEURIPS}
