"""Define what an evaluator goes through: texts, counts and rules, as part of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext_noop

from evenhand.errors import InputError

DEFAULT_CONSENT = gettext_noop(
    "You will see pairs of pictures that a computer made from a short text, and say which one is better: "
    "in picture quality and in how well it matches the text. There are no right or wrong answers. "
    "We store your answers and how long each one took, and nothing that tells who you are. "
    "Taking part is voluntary; you can stop at any time by closing the page."
)
DEFAULT_QUESTION = gettext_noop("Which picture is better, in quality and in how well it matches the text?")
DEFAULT_OPTIONS = (
    gettext_noop("Left is much better"),
    gettext_noop("Left is slightly better"),
    gettext_noop("No preference"),
    gettext_noop("Right is slightly better"),
    gettext_noop("Right is much better"),
)
PROLIFIC = ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")
TRIES = 2  # of the comprehension check, as Prolific asks
CODE = "{code}"  # stands for the completion code in the return address


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
    consent: str = DEFAULT_CONSENT
    question: str = DEFAULT_QUESTION
    options: tuple[str, ...] = DEFAULT_OPTIONS
    contact: str = ""
    approval: str = ""  # the ethics board's number
    minimum_age: int = 0  # confirmed with the consent; 0: not asked
    debriefing: str = ""
    panel_parameters: tuple[str, ...] = PROLIFIC  # of a panel's link; the first one names the person
    completion_code: str = ""  # the panel's; empty: one of each evaluator's own
    completion_url: str = ""  # where to return; {code} stands for the completion code

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
            "options": ""
            if len(list(filter(str.strip, self.options))) == 5 == len(self.options)
            else "give five texts",
            "question": "" if self.question.strip() else "give a question",
            "panel_parameters": self._panel_problem(),
            "completion_code": "" if self.completion_code.isascii() else "use plain letters and digits",
            "completion_url": self._url_problem(),
        }

    @property
    def checks_needed(self) -> int:
        """Count the check pairs that the study makes: for the example, for practice and for attention checks.

        There are more than twice as many for attention as one evaluator sees, so that two seldom see the same ones.
        """
        example = 1 if self.introduction else 0
        return example + self.practice_trials + (self.attention_checks and 2 * self.attention_checks + 2)

    def _panel_problem(self) -> str:
        names = self.panel_parameters
        if not names or len(set(names)) < len(names) or not all(name.isidentifier() for name in names):
            return "give different names of letters, digits and underscores; the first names the person"
        return ""

    def _url_problem(self) -> str:
        if not self.completion_url:
            return ""
        try:
            parts = urlsplit(self.completion_url)
        except ValueError:  # an unfinished IPv6 address
            return f"{self.completion_url!r} is no web address"
        if parts.scheme not in ("https", "http") or not parts.netloc:
            return f"{self.completion_url!r} is no web address"
        return ""


def questions_from(data: list[dict[str, Any]]) -> tuple[ComprehensionQuestion, ...]:
    """Return comprehension questions from plain JSON."""
    return tuple(ComprehensionQuestion(q["text"], tuple(q["options"]), int(q["right"])) for q in data)


def questions_to(questions: tuple[ComprehensionQuestion, ...]) -> list[dict[str, Any]]:
    """Return the plain JSON that ``questions_from`` reads."""
    return [{"text": q.text, "options": list(q.options), "right": q.right} for q in questions]


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
