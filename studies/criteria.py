"""Define what evaluators are asked about a pair: one to three criteria, each with its own wording."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_noop

from evenhand.errors import InputError

DEFAULT_QUESTION = gettext_noop("Which picture is better, in quality and in how well it matches the text?")
DEFAULT_OPTIONS = (
    gettext_noop("Left is much better"),
    gettext_noop("Left is slightly better"),
    gettext_noop("No preference"),
    gettext_noop("Right is slightly better"),
    gettext_noop("Right is much better"),
)
# What options say where pictures do not stand left and right; other texts stay as they are.
LETTERS = {
    "Left is much better": gettext_noop("A is much better"),
    "Left is slightly better": gettext_noop("A is slightly better"),
    "Right is slightly better": gettext_noop("B is slightly better"),
    "Right is much better": gettext_noop("B is much better"),
    "Left matches much better": gettext_noop("A matches much better"),
    "Left matches slightly better": gettext_noop("A matches slightly better"),
    "Right matches slightly better": gettext_noop("B matches slightly better"),
    "Right matches much better": gettext_noop("B matches much better"),
    "Left looks much better": gettext_noop("A looks much better"),
    "Left looks slightly better": gettext_noop("A looks slightly better"),
    "Right looks slightly better": gettext_noop("B looks slightly better"),
    "Right looks much better": gettext_noop("B looks much better"),
    "Left has far fewer": gettext_noop("A has far fewer"),
    "Left has slightly fewer": gettext_noop("A has slightly fewer"),
    "Right has slightly fewer": gettext_noop("B has slightly fewer"),
    "Right has far fewer": gettext_noop("B has far fewer"),
}
DECIDED_BY = ("both", "quality", "match")
MOST_CRITERIA = 3
TOGETHER, RUNS = "together", "runs"
ORDERS = (TOGETHER, RUNS)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class Criterion:
    """One question about a pair, with its five options from left to right.

    name         names the criterion in the CSV and in reports
    hide_prompt  whether the evaluator judges without the text
    decided_by   what the better picture is told by: "quality", "match" (with the text) or "both"; a check pair has a
                 right answer only where its fault is of that kind
    """

    name: str = "overall"
    question: str = DEFAULT_QUESTION
    options: tuple[str, ...] = DEFAULT_OPTIONS
    hide_prompt: bool = False
    decided_by: str = "both"

    def tells(self, fault: str) -> bool:
        """Whether this criterion tells which picture of a check pair is better, by ``CheckPair.Fault``."""
        return self.decided_by == "both" or (self.decided_by == "quality") == (fault == "damaged")

    def problems(self) -> dict[str, str]:
        """Say what is wrong with each field; empty strings where nothing is."""
        given = len(list(filter(str.strip, self.options)))
        known = self.decided_by in DECIDED_BY
        return {
            "name": "" if _NAME.fullmatch(self.name) else "use small letters, digits and underscores, 40 at most",
            "question": "" if self.question.strip() else "give a question",
            "options": "" if given == 5 == len(self.options) else f"give five options; {given} are given",
            "decided_by": "" if known else f"{self.decided_by!r} is none of {', '.join(DECIDED_BY)}",
            "hide_prompt": "without the text only quality can tell the better picture"
            if self.hide_prompt and self.decided_by != "quality"
            else "",
        }


def criteria_problem(criteria: Sequence[Criterion]) -> str:
    """Say what is wrong with a study's criteria; empty if nothing is."""
    if not 1 <= len(criteria) <= MOST_CRITERIA:
        return f"give one to {MOST_CRITERIA} criteria, not {len(criteria)}"
    names = [criterion.name for criterion in criteria]
    if len(set(names)) < len(names):
        return f"give every criterion a name of its own, not {', '.join(names)}"
    return "; ".join(
        f"{criterion.name or 'criterion'}: {field}: {problem}"
        for criterion in criteria
        for field, problem in criterion.problems().items()
        if problem
    )


def criterion_from(data: dict[str, Any]) -> Criterion:
    """Return a criterion from plain JSON."""
    try:
        return Criterion(**{**data, "options": tuple(data["options"])})
    except (KeyError, TypeError) as error:
        raise InputError(f"this is no criterion: {data!r}") from error


PRESETS = {
    "overall": Criterion(
        "overall",
        gettext_noop("Overall, which picture would you rather get for this text?"),
    ),
    "match": Criterion(
        "match",
        gettext_noop("Which picture matches the text better? Ignore defects."),
        (
            gettext_noop("Left matches much better"),
            gettext_noop("Left matches slightly better"),
            gettext_noop("No preference"),
            gettext_noop("Right matches slightly better"),
            gettext_noop("Right matches much better"),
        ),
        decided_by="match",
    ),
    "appeal": Criterion(
        "appeal",
        gettext_noop("Which picture looks better?"),
        (
            gettext_noop("Left looks much better"),
            gettext_noop("Left looks slightly better"),
            gettext_noop("No preference"),
            gettext_noop("Right looks slightly better"),
            gettext_noop("Right looks much better"),
        ),
        hide_prompt=True,
        decided_by="quality",
    ),
    "defects": Criterion(
        "defects",
        gettext_noop("Which picture has fewer defects, such as parts that are missing, doubled or misshapen?"),
        (
            gettext_noop("Left has far fewer"),
            gettext_noop("Left has slightly fewer"),
            gettext_noop("No preference"),
            gettext_noop("Right has slightly fewer"),
            gettext_noop("Right has far fewer"),
        ),
        decided_by="quality",
    ),
}
