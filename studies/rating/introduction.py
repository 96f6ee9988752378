"""The steps between consent and the trials: instructions, comprehension check, breaks."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import F
from django.utils import timezone

from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import CheckPair, Evaluator, Rating, Trial
from evenhand.studies.procedure import TRIES
from evenhand.studies.rating.progress import Progress, State


def leave_step(evaluator: Evaluator, progress: Progress) -> None:
    """Leave the instructions, or end the break; repeated, it changes nothing."""
    if progress.state == State.INSTRUCTIONS:
        Evaluator.objects.filter(pk=evaluator.pk, introduced_at=None).update(introduced_at=timezone.now())
    elif progress.state == State.BREAK:
        due = (progress.position - 1) // configuration_of(evaluator.study).break_every
        Evaluator.objects.filter(pk=evaluator.pk, breaks_taken__lt=due).update(breaks_taken=due)
    evaluator.refresh_from_db(fields=["introduced_at", "breaks_taken"])


def answer_comprehension(evaluator: Evaluator, given: Mapping[str, str]) -> bool:
    """Take one try of the comprehension check: ``given["q0"]`` is the option's index of the first question.

    Returns whether all answers are right. After the last wrong try the evaluator is out, and the booklet is free for
    somebody else.
    """
    questions = configuration_of(evaluator.study).comprehension
    right = all(given.get(f"q{i}") == str(question.right) for i, question in enumerate(questions))
    still = Evaluator.objects.filter(
        pk=evaluator.pk, comprehension_passed_at=None, screened_out_at=None, comprehension_tries__lt=TRIES
    )
    now = timezone.now()
    tried = F("comprehension_tries") + 1
    if still.update(comprehension_tries=tried, **({"comprehension_passed_at": now} if right else {})):
        Evaluator.objects.filter(
            pk=evaluator.pk, comprehension_passed_at=None, screened_out_at=None, comprehension_tries__gte=TRIES
        ).update(screened_out_at=now)
    evaluator.refresh_from_db(fields=["comprehension_tries", "comprehension_passed_at", "screened_out_at"])
    return evaluator.comprehension_passed_at is not None


def example_of(evaluator: Evaluator) -> CheckPair | None:
    """The pair that the instructions show, better picture first."""
    found = CheckPair.objects.filter(study=evaluator.study_id, use=CheckPair.Use.EXAMPLE)
    return found.select_related("prompt", "better", "worse").first()


def feedback_on(evaluator: Evaluator, rating: Rating | None) -> bool | None:
    """Whether a practice answer leans to the better picture; none for an answer that is no practice."""
    if rating is None or rating.trial.kind != Trial.Kind.PRACTICE or rating.choice is None:
        return None
    return rating.choice * (rating.trial.expected_choice or 0) > 0


def last_practice(evaluator: Evaluator) -> Rating | None:
    """The evaluator's latest practice answer."""
    practice = Rating.objects.filter(evaluator=evaluator, trial__kind=Trial.Kind.PRACTICE, superseded=False)
    return practice.select_related("trial").order_by("-sequence").first()
