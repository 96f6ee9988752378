"""Answer reviewers' checklists from the record, and leave open what the record cannot know.

HEDS 3.0  Belz & Thomson 2025, The Human Evaluation Data Sheet, version 3.0
NeurIPS   the paper checklist of the conference, questions 14 and 15
"""

from __future__ import annotations

from dataclasses import dataclass

from evenhand.studies.printed import answers
from evenhand.studies.printed.answers import Facts, Item
from evenhand.studies.printed.heds import HEDS

NEURIPS = (
    Item("14", "Full text of instructions, screenshots, and compensation, where people took part", answers.texts),
    Item("15", "Risks to participants, whether they were told, and the review board’s approval", answers.risks),
)
CHECKLISTS = {"HEDS 3.0": HEDS, "NeurIPS paper checklist, 14 and 15": NEURIPS}


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
