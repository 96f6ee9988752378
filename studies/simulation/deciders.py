"""How simulated evaluators decide: by what the pictures show, or by which of them is the candidate's.

Which side holds the candidate, and which of a check's pictures is the right one, is looked up in the database by the
trial's id: it is never served.
"""

from __future__ import annotations

import io
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from evenhand.analysis.simulate import SimulatedEvaluator, answer_check, choose
from evenhand.errors import InputError
from evenhand.studies.access import link_for
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Evaluator, Study, Trial
from evenhand.studies.rating.enrolment import enrol
from evenhand.studies.simulation.visits import SIDES, Visitor

Quality = Callable[[NDArray[np.uint8], str], float]  # (picture, prompt) -> how good, 0–1


@dataclass(frozen=True)
class Preference:
    """A chosen preference: strength towards the candidate, one a comparison in their order.

    With a character of sensitivity 1 these are latent units, as its noise, bias and thresholds are.
    """

    strengths: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.strengths)):
            raise InputError(f"strengths must be finite, not {self.strengths}")


@dataclass(frozen=True)
class Population:
    """What simulated evaluators are like.

    judge      what they go by: the pictures' measured quality, or a chosen preference
    character  how a difference becomes a choice, with noise, side bias and lapses
    drop_out   share of them who leave before the end, each after a random share of the trials
    """

    judge: Quality | Preference
    character: SimulatedEvaluator = field(default_factory=SimulatedEvaluator)
    drop_out: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.drop_out <= 1:
            raise InputError(f"drop_out {self.drop_out} lies outside 0 … 1")

    def visitor(self, evaluator: Evaluator, rng: np.random.Generator, at_most: int | None = None) -> Visitor:
        """One of them, with a random stream of their own."""
        leaves, where = rng.random(2)
        decider = RecordDecider(evaluator, self.judge, self.character, rng)
        return Visitor(link_for(evaluator), decider, rng, where if leaves < self.drop_out else None, at_most)

    def visitors(self, evaluators: Sequence[Evaluator], seed: int, first: int = 0) -> list[Visitor]:
        """All of them; ``first`` numbers the random streams."""
        return [self.visitor(who, np.random.default_rng([seed, first + i])) for i, who in enumerate(evaluators)]


def enrol_simulated(study: Study, count: int) -> list[Evaluator]:
    """New simulated evaluators, marked so for good."""
    return [enrol(study, simulated=True) for _ in range(count)]


@dataclass(frozen=True)
class Known:
    """What the record says of a trial beside what is served."""

    expected: int | None  # sign of a check's right answer
    candidate_on_left: bool | None
    comparison: int | None


@dataclass
class RecordDecider:
    """Decides for one evaluator, with the record at hand."""

    evaluator: Evaluator
    judge: Quality | Preference
    character: SimulatedEvaluator
    rng: np.random.Generator
    trials: dict[str, Known] = field(default_factory=dict)

    def choose(self, trial: Mapping[str, Any], pictures: Mapping[str, bytes]) -> int:
        """A choice: checks by which picture is right, pairs by the judge."""
        known = self._known(trial["id"])
        if known.expected is not None:
            return answer_check(known.expected, self.character, self.rng)
        if isinstance(self.judge, Preference):
            assert known.comparison is not None  # a trial that is no check shows a pair
            strength = self.judge.strengths[known.comparison]
            left, right = (strength, 0.0) if known.candidate_on_left else (0.0, strength)
        else:
            left, right = (self.judge(_decoded(pictures[side]), trial["prompt"]) for side in SIDES)
        return choose(left, right, self.character, self.rng)

    def comprehension(self) -> dict[str, str]:
        """The right option of every question, from the configuration."""
        questions = configuration_of(self.evaluator.study).comprehension
        return {f"q{i}": str(question.right) for i, question in enumerate(questions)}

    def _known(self, trial: str) -> Known:
        if trial not in self.trials:  # all of the booklet in one query: simulations should not load the database
            rows = Trial.objects.filter(booklet__evaluator=self.evaluator).values_list(
                "public_id", "expected_choice", "candidate_on_left", "pair__comparison__position"
            )
            self.trials = {str(row[0]): Known(*row[1:]) for row in rows}
        return self.trials[str(uuid.UUID(trial))]


def _decoded(data: bytes) -> NDArray[np.uint8]:
    with PillowImage.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)
