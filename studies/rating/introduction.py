"""Handle the steps before and between trials: instructions, practice, comprehension check, breaks."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import F
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


def answer_comprehension(evaluator: Evaluator, answers: Mapping[str, str]) -> bool:
    """Take one try of the comprehension check: ``answers["q0"]`` is the index of the option for the first question.

    Returns whether the check is passed. After the last wrong try the evaluator is screened out, and the trials may be
    given to somebody else.
    """
    questions = configuration_of(evaluator.study).comprehension
    right = all(answers.get(f"q{i}") == str(question.right) for i, question in enumerate(questions))
    row = Evaluator.objects.filter(
        pk=evaluator.pk, comprehension_passed_at=None, screened_out_at=None, comprehension_tries__lt=TRIES
    )
    now = timezone.now()
    tries = F("comprehension_tries") + 1
    if row.update(comprehension_tries=tries, **({"comprehension_passed_at": now} if right else {})):
        Evaluator.objects.filter(
            pk=evaluator.pk, comprehension_passed_at=None, screened_out_at=None, comprehension_tries__gte=TRIES
        ).update(screened_out_at=now)
    evaluator.refresh_from_db(fields=["comprehension_tries", "comprehension_passed_at", "screened_out_at"])
    return evaluator.comprehension_passed_at is not None


def example_of(evaluator: Evaluator) -> CheckPair | None:
    """Return the check pair that the instructions show."""
    pairs = CheckPair.objects.filter(study=evaluator.study_id, use=CheckPair.Use.EXAMPLE)
    return pairs.select_related("prompt", "better", "worse").first()


def feedback_on(rating: Rating | None) -> bool | None:
    """Whether a practice answer prefers the better picture; None for an answer to another kind of trial."""
    if rating is None or rating.trial.kind != Trial.Kind.PRACTICE or rating.choice is None:
        return None
    return rating.choice * (rating.trial.expected_choice or 0) > 0


def last_practice(evaluator: Evaluator) -> Rating | None:
    """Return the evaluator's latest practice answer."""
    practice = Rating.objects.filter(evaluator=evaluator, trial__kind=Trial.Kind.PRACTICE, superseded=False)
    return practice.select_related("trial").order_by("-sequence").first()
