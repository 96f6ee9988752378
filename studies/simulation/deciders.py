"""Decide for simulated evaluators: by what the pictures show, or by which one is the candidate's.

The candidate's side, and the right answer of a check, are looked up in the database by the trial's id, because the
server never sends them.
"""

from __future__ import annotations

import io
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from django.db import transaction
from numpy.typing import NDArray
from PIL import Image as PillowImage

from evenhand.analysis.simulate import SimulatedEvaluator, answer_check, choose
from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.access import link_for
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Evaluator, Study, Trial
from evenhand.studies.rating.enrolment import enrol
from evenhand.studies.simulation.visits import SIDES, Visitor

Quality = Callable[[NDArray[np.uint8], str], float]  # (pixels, prompt) -> quality, 0–1


@dataclass(frozen=True)
class Preference:
    """A chosen preference: strength towards the candidate, one a comparison in their order.

    Where there are more strengths than comparisons, they go on with the comparisons of the next criterion.

    With a character of sensitivity 1 these are latent units, as its noise, bias and thresholds are.
    """

    strengths: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.strengths)):
            raise InputError(f"strengths must be finite, not {self.strengths}")

    def of(self, comparison: int, criterion: int, comparisons: int) -> float:
        """Return the strength of one of ``comparisons`` by one criterion."""
        return self.strengths[(criterion * comparisons + comparison) % len(self.strengths)]


@dataclass(frozen=True)
class Population:
    """A kind of simulated evaluators.

    judge      their criterion: the pictures' measured quality, or a chosen preference
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
        """Return one of them, with a random stream of its own."""
        chance, share = rng.random(2)
        decider = RecordDecider(evaluator, self.judge, self.character, rng)
        return Visitor(link_for(evaluator), decider, rng, share if chance < self.drop_out else None, at_most)

    def visitors(self, evaluators: Sequence[Evaluator], seed: int, first: int = 0) -> list[Visitor]:
        """Return all of them; ``first`` is the number of the first random stream."""
        streams = [np.random.default_rng([seed, first + i]) for i in range(len(evaluators))]
        return [self.visitor(evaluator, rng) for evaluator, rng in zip(evaluators, streams, strict=True)]


def enrol_simulated(study: Study, count: int) -> list[Evaluator]:
    """Enrol simulated evaluators, and record it; the mark is permanent."""
    with transaction.atomic():
        evaluators = [enrol(study, simulated=True) for _ in range(count)]
        audit.record(study, audit.SIMULATED, count=len(evaluators))
    return evaluators


@dataclass(frozen=True)
class TrialRecord:
    """What the database holds of a trial and the server does not send."""

    expected: int | None  # sign of a check's right answer
    candidate_on_left: bool | None
    comparison: int | None
    criterion: int = 0


@dataclass
class RecordDecider:
    """Decides for one evaluator, with the database's records of the trials."""

    evaluator: Evaluator
    judge: Quality | Preference
    character: SimulatedEvaluator
    rng: np.random.Generator
    records: dict[str, TrialRecord] = field(default_factory=dict)
    comparisons: int = 0  # of the study; read with the records

    def choose(self, trial: Mapping[str, Any], pictures: Mapping[str, bytes]) -> int:
        """Return a choice: of checks by the right answer, of pairs by the judge; a check without one is a guess."""
        record = self._record(trial["id"])
        if record.expected is not None:
            return answer_check(record.expected, self.character, self.rng)
        if isinstance(self.judge, Preference):
            strength = 0.0
            if record.comparison is not None:
                strength = self.judge.of(record.comparison, record.criterion, self.comparisons)
            left, right = (strength, 0.0) if record.candidate_on_left else (0.0, strength)
        else:
            left, right = (self.judge(_pixels(pictures[side]), trial["prompt"]) for side in SIDES)
        return choose(left, right, self.character, self.rng)

    def comprehension(self) -> dict[str, str]:
        """Return the right option of every question, from the configuration."""
        questions = configuration_of(self.evaluator.study).comprehension
        return {f"q{i}": str(question.right) for i, question in enumerate(questions)}

    def _record(self, trial: str) -> TrialRecord:
        if trial not in self.records:  # all of the booklet in one query, so that simulations hardly load the database
            rows = Trial.objects.filter(booklet__evaluator=self.evaluator).values_list(
                "public_id", "expected_choice", "candidate_on_left", "pair__comparison__position", "criterion"
            )
            self.comparisons = self.evaluator.study.comparisons.count()
            self.records = {str(row[0]): TrialRecord(*row[1:]) for row in rows}
        return self.records[str(uuid.UUID(trial))]


def _pixels(png: bytes) -> NDArray[np.uint8]:
    with PillowImage.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)
