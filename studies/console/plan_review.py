"""Check a draft's plan step by step against its prompt set, and count what it will cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from evenhand.generation.plan import count_evaluations
from evenhand.studies.arm_recipes import arms_by_part, drawn
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.console.comparison_fields import ratings_a_pair
from evenhand.studies.models import RecipeCheck, Study
from evenhand.studies.models.work import WorkerSign
from evenhand.studies.pipeline.recipe_checks import Findings
from evenhand.studies.pipeline.stages import PreparationError, check_sizes
from evenhand.studies.work import signs

QUEUE = "gpu"  # of the workers that generate


@dataclass(frozen=True)
class Mark:
    """What is not in order at a step; ``stops``: the study cannot be prepared as it stands."""

    text: str
    stops: bool


@dataclass(frozen=True)
class Made:
    """What one checkpoint draws: pictures, and network evaluations with padding excluded."""

    pictures: int
    evaluations: int


@dataclass(frozen=True)
class Cost:
    """What a plan's preparation makes, as a whole and by checkpoint (in the order of ``arms_by_part``)."""

    first: int  # pictures of the baseline, one for each prompt of the first subset
    final: int  # pictures of the candidates
    checks: int  # check pairs
    parts: tuple[Made, ...]

    @property
    def evaluations(self) -> int:
        """Network evaluations of all checkpoints."""
        return sum(made.evaluations for made in self.parts)


@dataclass(frozen=True)
class Share:
    """What one person does: showings by kind."""

    pairs: int
    repeats: int
    attention: int
    practice: int

    @property
    def showings(self) -> int:
        """All pairs that a person looks at."""
        return self.pairs + self.repeats + self.attention + self.practice


@dataclass(frozen=True)
class Workers:
    """The workers that generate: how many gave a sign lately, and when the last sign of one was."""

    alive: int
    seen_at: datetime | None


def marks_of(study: Study, configuration: StudyConfiguration, check: RecipeCheck | None) -> dict[str, Mark]:
    """Return what is not in order, by the slug of its step; at most one mark a step, two queries.

    check: the last one of this configuration's recipe.
    """
    marks: dict[str, Mark] = {}
    if configuration.ready_made:
        return marks
    try:
        check_sizes(study, configuration)
    except PreparationError as error:
        marks["sampling"] = Mark(_sentence(str(error).removeprefix("subset_size: ")), stops=True)
    if check is not None and check.state == check.State.FAILED:
        marks["recipe"] = Mark(f"A worker could not use this recipe: {_sentence(check.error)}", stops=True)
    if text := _coverage_problem(configuration):
        marks["people"] = Mark(text, stops=False)
    return marks


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _coverage_problem(configuration: StudyConfiguration) -> str:
    """Say where the pairs of all people together are fewer than the study's, or one person's more."""
    comparisons = len(configuration.compared)
    runs = len(configuration.criteria) if configuration.runs else 1
    prompts = configuration.per_stratum * len(configuration.percentiles)
    wanted, each = prompts * comparisons * runs, configuration.trials_per_evaluator
    if each > wanted:
        return f"A person is to rate {each:,} pairs, and the study has {wanted:,}."
    if ratings_a_pair(configuration, comparisons) < 1:
        return (
            f"A quota of {configuration.quota:,} with {each:,} pairs each leaves pairs without a rating: the study has "
            f"{wanted:,}. A quota of {math.ceil(wanted / each):,} has each of them rated once."
        )
    return ""


def cost_of(configuration: StudyConfiguration) -> Cost:
    """Count the pictures and network evaluations that a plan takes where none of its pictures is there yet."""
    prompts = configuration.per_stratum * len(configuration.percentiles)
    baseline = [("0", drawn(configuration.baseline))]
    evaluations = count_evaluations(baseline, configuration.steps, configuration.scheduler, configuration.subset_size)
    parts = []
    for number, (part, arms) in enumerate(arms_by_part(configuration).items()):
        candidates = [(str(i), each) for i, each in enumerate(arms) if number or i]  # the first arm is the baseline
        made = Made(prompts * len(candidates), 0)
        if candidates:
            counted = count_evaluations(candidates, part.steps, part.scheduler, prompts, configuration.measure_strength)
            made = Made(made.pictures, counted)
        if not number:
            made = Made(made.pictures + configuration.subset_size, made.evaluations + evaluations)
        parts.append(made)
    candidates_made = len(configuration.candidates) - len(configuration.brought)
    return Cost(configuration.subset_size, prompts * candidates_made, configuration.checks_needed, tuple(parts))


def seconds_of(cost: Cost, findings: Findings, prompts: int) -> float:
    """Return how long one worker takes for a plan's pictures and for encoding ``prompts``, as one was found to take."""
    drawing = sum(
        made.evaluations * found.evaluation + made.pictures * (found.picture or 0)
        for made, found in zip(cost.parts, findings.parts, strict=True)
    )
    return drawing + prompts * findings.prompt


def share_of(configuration: StudyConfiguration) -> Share:
    """Return what one person does."""
    return Share(
        configuration.trials_per_evaluator,
        configuration.repeats,
        configuration.attention_checks,
        configuration.practice_trials,
    )


def workers() -> Workers:
    """Return the workers that generate; one query."""
    known = [sign for sign in WorkerSign.objects.all() if QUEUE in sign.queues.split(",")]
    return Workers(len(signs.alive(QUEUE, known)), max((sign.seen_at for sign in known), default=None))
