"""Say to a practice answer what the study knows of the pair, and claim nothing about other people."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, gettext_lazy

from evenhand.studies.models import CheckPair
from evenhand.studies.rating.introduction import Feedback
from evenhand.studies.rating.pages import label_of
from evenhand.studies.rating.progress import Progress

REASONS = {
    (CheckPair.Fault.DAMAGED, "left"): gettext_lazy(
        "The right picture is damaged; we expect the left one to be preferred."
    ),
    (CheckPair.Fault.DAMAGED, "right"): gettext_lazy(
        "The left picture is damaged; we expect the right one to be preferred."
    ),
    (CheckPair.Fault.OTHER_PROMPT, "left"): gettext_lazy(
        "The left picture shows what the text says, the right one does not; we expect the left one to be preferred."
    ),
    (CheckPair.Fault.OTHER_PROMPT, "right"): gettext_lazy(
        "The right picture shows what the text says, the left one does not; we expect the right one to be preferred."
    ),
}

AGREED = {
    (CheckPair.Fault.DAMAGED, "left"): gettext_lazy("Yes: the right picture is damaged."),
    (CheckPair.Fault.DAMAGED, "right"): gettext_lazy("Yes: the left picture is damaged."),
    (CheckPair.Fault.OTHER_PROMPT, "left"): gettext_lazy(
        "Yes: the left picture shows what the text says, the right one does not."
    ),
    (CheckPair.Fault.OTHER_PROMPT, "right"): gettext_lazy(
        "Yes: the right picture shows what the text says, the left one does not."
    ),
}


def feedback_text(feedback: Feedback) -> str:
    """Return what an evaluator reads after a practice answer."""
    if not feedback.fault:
        return gettext("There is no right answer to this one: tell us what you prefer.")
    known = CheckPair.Fault(feedback.fault), feedback.better_side
    if feedback.right:
        return str(AGREED[known])
    reason = str(REASONS[known])
    if feedback.right is None:
        text = gettext("You preferred neither picture, and this time there is a difference. {reason}")
        return text.format(reason=reason)
    return reason


def feedback_body(feedback: Feedback, progress: Progress) -> dict[str, Any]:
    """Return the feedback as JSON, with the words for the button that leads to what comes next."""
    return {"right": feedback.right, "text": feedback_text(feedback), "button": label_of(progress)}
