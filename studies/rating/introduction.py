"""Handle the steps before and between trials: instructions, practice, comprehension check, breaks."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import CheckPair, Evaluator, Rating, Trial
from evenhand.studies.procedure import TRIES
from evenhand.studies.rating.progress import Progress, State


def leave_step(evaluator: Evaluator, progress: Progress) -> None:
    """Leave the instructions or a run's announcement, or end the break; a repeated call changes nothing."""
    if progress.state == State.INSTRUCTIONS:
        Evaluator.objects.filter(pk=evaluator.pk, introduced_at=None).update(introduced_at=timezone.now())
    elif progress.state == State.BREAK:
        due = (progress.position - 1) // configuration_of(evaluator.study).break_every
        Evaluator.objects.filter(pk=evaluator.pk, breaks_taken__lt=due).update(breaks_taken=due)
    elif progress.state == State.QUESTION and progress.trial is not None:
        Evaluator.objects.filter(pk=evaluator.pk).update(told_criterion=progress.trial.criterion)
    evaluator.refresh_from_db(fields=["introduced_at", "breaks_taken", "told_criterion"])


def answer_comprehension(evaluator: Evaluator, answers: Mapping[str, str], key: uuid.UUID | None = None) -> bool:
    """Take one try of the comprehension check: ``answers["q0"]`` is the index of the option for the first question.

    key: made with the form; the same key is the same try, however often it arrives. None: every call is a try.
    Returns whether the check is passed. After the last wrong try the evaluator is screened out, and the trials may be
    given to somebody else.
    """
    questions = configuration_of(evaluator.study).comprehension
    wrong = [i for i, question in enumerate(questions) if answers.get(f"q{i}") != str(question.right)]
    row = Evaluator.objects.filter(
        pk=evaluator.pk, comprehension_passed_at=None, screened_out_at=None, comprehension_tries__lt=TRIES
    )
    if key is not None:
        row = row.filter(Q(comprehension_key=None) | ~Q(comprehension_key=key))
    now = timezone.now()
    row.update(
        comprehension_tries=F("comprehension_tries") + 1,
        comprehension_key=key,
        comprehension_wrong=wrong,
        comprehension_passed_at=None if wrong else now,
        screened_out_at=Case(When(comprehension_tries__gte=TRIES - 1, then=Value(now))) if wrong else None,
    )
    evaluator.refresh_from_db(
        fields=["comprehension_tries", "comprehension_wrong", "comprehension_passed_at", "screened_out_at"]
    )
    return evaluator.comprehension_passed_at is not None


def example_of(evaluator: Evaluator) -> CheckPair | None:
    """Return the check pair that the instructions show."""
    pairs = CheckPair.objects.filter(study=evaluator.study_id, use=CheckPair.Use.EXAMPLE)
    return pairs.select_related("prompt", "better", "worse").first()


@dataclass(frozen=True)
class Feedback:
    """What the study says to a practice answer.

    right: whether the picture was preferred that is better; None for no preference, and where nothing is right.
    fault: what is wrong with the worse picture, by ``CheckPair.Fault``; empty where the criterion cannot tell it.
    better_side: where the better picture stood, left or right; empty where the criterion cannot tell it.
    """

    right: bool | None
    fault: str = ""
    better_side: str = ""


def feedback_on(rating: Rating | None) -> Feedback | None:
    """Return the feedback on a practice answer; None for an answer to another kind of trial."""
    if rating is None or rating.trial.kind != Trial.Kind.PRACTICE or rating.choice is None:
        return None
    expected, pair = rating.trial.expected_choice, rating.trial.check_pair
    if expected is None or pair is None:
        return Feedback(None)
    side = "left" if expected < 0 else "right"
    return Feedback(rating.choice * expected > 0 if rating.choice else None, pair.fault, side)


def last_practice(evaluator: Evaluator) -> Rating | None:
    """Return the evaluator's latest practice answer."""
    practice = Rating.objects.filter(evaluator=evaluator, trial__kind=Trial.Kind.PRACTICE, superseded=False)
    return practice.select_related("trial__check_pair").order_by("-sequence").first()
