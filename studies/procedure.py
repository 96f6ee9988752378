"""Define what an evaluator goes through: texts, counts and rules, as part of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_noop

from evenhand.errors import InputError
from evenhand.studies.criteria import ORDERS, RUNS, TOGETHER, Criterion, criteria_problem
from evenhand.studies.panels import PRESETS, EndReturn, parameters_problem, url_problem

DEFAULT_CONSENT = gettext_noop(
    "You will see pairs of pictures that a computer made from a short text, and say which one is better: "
    "in picture quality and in how well it matches the text. There are no right or wrong answers. "
    "Taking part is voluntary."
)
PROLIFIC = PRESETS["prolific"].parameters
MOST_REASONS, LONGEST_REASON = 12, 60
TRIES = 2  # of the comprehension check, as Prolific asks


@dataclass(frozen=True)
class ComprehensionQuestion:
    """A question about the instructions with one right option."""

    text: str
    options: tuple[str, ...]
    right: int  # index of the right option

    def __post_init__(self) -> None:
        if not self.text.strip() or len(self.options) < 2 or not all(option.strip() for option in self.options):
            raise InputError(f"a comprehension question needs a text and two options at least: {self.text!r}")
        if not 0 <= self.right < len(self.options):
            raise InputError(f"the right option {self.right} of {self.text!r} is none of its {len(self.options)}")


@dataclass(frozen=True, kw_only=True)
class Procedure:
    """Settings of the evaluator's side. Defaults are the paper's study (§5.3): thirty pairs per evaluator, no others.

    Counts of practice, attention checks and repeats are per evaluator and come on top of ``trials_per_evaluator``.
    """

    trials_per_evaluator: int = 30
    quota: int = 17
    allow_correction: bool = True  # of the last answer; both answers are kept, the later one counts
    options_delay_ms: int = 400  # how long the options stay shut after both pictures are visible
    confirm_answers: bool = False  # an option is marked first and taken with Enter
    introduction: bool = False  # a page of instructions with an example, after the consent
    practice_trials: int = 0  # with feedback, before the first trial
    attention_checks: int = 0
    repeats: int = 0  # earlier pairs with the sides swapped
    break_every: int = 0  # trials between two breaks; 0: no breaks
    comprehension: tuple[ComprehensionQuestion, ...] = ()
    lease_minutes: int = 180  # of silence, after which the open trials may be given to somebody else
    criteria: tuple[Criterion, ...] = (Criterion(),)
    criteria_order: str = TOGETHER  # of each pair one after the other, or "runs": one run of trials for each criterion
    both_bad_option: str = ""  # text of a sixth option, stored apart from “no preference”; empty: there is none
    reasons: tuple[str, ...] = ()  # tags to choose from after an answer
    ask_remark: bool = False  # a line of text after an answer
    reasons_share: float = 1.0  # of the trials, where reasons or a remark are asked for, 0–1
    zoom: bool = True  # both pictures enlarged together
    flip: bool = False  # both pictures in one place, by turns
    smallest_picture: int = 0  # width at which a picture must be displayed, CSS pixels; 0: any
    computer_only: bool = False  # no phones and tablets
    consent: str = DEFAULT_CONSENT
    payment: str = ""  # what is paid, and what happens to it when somebody stops early
    skips_are_paid: bool = True  # so that the page may say that skipping does not affect the payment
    minutes: float = 0.0  # how long taking part is said to take; 0: measured
    contact: str = ""
    approval: str = ""  # the ethics board's number
    recruitment: str = ""  # who evaluators are and how they are found, for the printed report; no evaluator reads it
    minimum_age: int = 0  # confirmed with the consent; 0: not asked
    debriefing: str = ""
    panel: str = PRESETS["prolific"].name  # as evaluators read it; empty: no name
    panel_parameters: tuple[str, ...] = PROLIFIC  # of a panel's link; the first one names the person
    completion_code: str = ""  # the panel's; empty: one of each evaluator's own
    completion_url: str = ""  # where to return; {code} and {id} stand for the code and the panel's id of the person
    end_returns: tuple[EndReturn, ...] = ()  # of the other ends
    redirect_at_once: bool = False  # to the return address, when the last answer is stored

    def procedure_problems(self) -> dict[str, str]:
        """Say what is wrong with each field; empty strings where nothing is."""
        trials = self.trials_per_evaluator
        return {
            "trials_per_evaluator": between(trials, 1, 10_000),
            "quota": between(self.quota, 1, 1_000_000),
            "practice_trials": between(self.practice_trials, 0, 20),
            "attention_checks": between(self.attention_checks, 0, min(100, trials)),
            "repeats": between(self.repeats, 0, trials // 2),
            "break_every": between(self.break_every, 0, 10_000),
            "options_delay_ms": between(self.options_delay_ms, 0, 10_000),
            "lease_minutes": between(self.lease_minutes, 1, 525_600),
            "minimum_age": between(self.minimum_age, 0, 120),
            "criteria": criteria_problem(self.criteria),
            "criteria_order": "" if self.criteria_order in ORDERS else f"{self.criteria_order!r} is no order",
            "reasons": self._reasons_problem(),
            "reasons_share": "" if 0 <= self.reasons_share <= 1 else f"{self.reasons_share} is not between 0 and 1",
            "smallest_picture": between(self.smallest_picture, 0, 4096),
            "minutes": "" if 0 <= self.minutes <= 1440 else f"{self.minutes} is not between 0 and 1440",
            "panel_parameters": parameters_problem(self.panel_parameters),
            "completion_code": "" if self.completion_code.isascii() else "use plain letters and digits",
            "completion_url": url_problem(self.completion_url),
            "end_returns": self._ends_problem(),
        }

    @property
    def checks_needed(self) -> int:
        """Count the check pairs that the study makes: for the example, for practice and for attention checks.

        There are more than twice as many for attention as one evaluator sees, so that two seldom see the same ones.
        """
        example = 1 if self.introduction else 0
        return example + self.practice_trials + (self.attention_checks and 2 * self.attention_checks + 2)

    @property
    def runs(self) -> bool:
        """Whether each criterion has a run of trials of its own."""
        return self.criteria_order == RUNS and len(self.criteria) > 1

    @property
    def asks_reasons(self) -> bool:
        """Whether something is asked after some of the answers."""
        return bool(self.reasons or self.ask_remark) and self.reasons_share > 0

    def _reasons_problem(self) -> str:
        if len(set(self.reasons)) < len(self.reasons) or not all(tag.strip() for tag in self.reasons):
            return "give different reasons, one a line"
        if len(self.reasons) > MOST_REASONS or any(len(tag) > LONGEST_REASON for tag in self.reasons):
            return f"give {MOST_REASONS} reasons at most, of {LONGEST_REASON} characters at most"
        return ""

    def _ends_problem(self) -> str:
        ends = [each.end for each in self.end_returns]
        if len(set(ends)) < len(ends):
            return "give one code and one address for each end"
        return next(filter(None, (each.problem() for each in self.end_returns)), "")


def questions_from(data: list[dict[str, Any]]) -> tuple[ComprehensionQuestion, ...]:
    """Return comprehension questions from plain JSON."""
    return tuple(ComprehensionQuestion(q["text"], tuple(q["options"]), int(q["right"])) for q in data)


def parse_questions(text: str) -> tuple[ComprehensionQuestion, ...]:
    """Parse questions as an admin writes them: one per line, ``question | option | *the right option | option``."""
    questions = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        question, *options = (part.strip() for part in line.split("|"))
        right = [i for i, option in enumerate(options) if option.startswith("*")]
        if len(right) != 1:
            raise InputError(f"mark one right option of {question!r} with a star in front; {len(right)} are marked")
        questions.append(ComprehensionQuestion(question, tuple(option.lstrip("* ") for option in options), right[0]))
    return tuple(questions)


def questions_text(questions: tuple[ComprehensionQuestion, ...]) -> str:
    """Return the text that ``parse_questions`` reads."""
    return "\n".join(
        " | ".join([q.text, *(("*" if i == q.right else "") + option for i, option in enumerate(q.options))])
        for q in questions
    )


def between(value: int, low: int, high: int) -> str:
    """Say what is wrong with a number that must lie in low … high; empty if nothing is."""
    return "" if low <= value <= high else f"{value} is not between {low} and {high}"
