"""Say to a practice answer what the study knows of the pair, and claim nothing about other people."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, gettext_lazy

from evenhand.studies.models import CheckPair
from evenhand.studies.rating.introduction import Feedback
from evenhand.studies.rating.pages import label_of
from evenhand.studies.rating.progress import Progress

# In these the pictures are named as the page shows them: left and right, or A and B where they are not side by side.
REASONS = {
    CheckPair.Fault.DAMAGED: gettext_lazy("There is damage in {worse}; we expect {better} to be preferred."),
    CheckPair.Fault.OTHER_PROMPT: gettext_lazy(
        "What the text says is shown by {better}, not by {worse}; we expect {better} to be preferred."
    ),
}
AGREED = {
    CheckPair.Fault.DAMAGED: gettext_lazy("Yes: there is damage in {worse}."),
    CheckPair.Fault.OTHER_PROMPT: gettext_lazy("Yes: what the text says is shown by {better}, not by {worse}."),
}
SIDES = {"left": gettext_lazy("the left picture"), "right": gettext_lazy("the right picture")}
LETTERS = {"left": gettext_lazy("picture A"), "right": gettext_lazy("picture B")}
OTHER = {"left": "right", "right": "left"}


def feedback_text(feedback: Feedback, *, letters: bool = False) -> str:
    """Return what an evaluator reads after a practice answer; with letters for pictures that are not side by side."""
    if not feedback.fault:
        return gettext("There is no right answer to this one: tell us what you prefer.")
    fault, names = CheckPair.Fault(feedback.fault), LETTERS if letters else SIDES
    sentence = str((AGREED if feedback.right else REASONS)[fault])
    text = sentence.format(better=names[feedback.better_side], worse=names[OTHER[feedback.better_side]])
    if feedback.right is None:
        neither = gettext("You preferred neither picture, and this time there is a difference. {reason}")
        return neither.format(reason=text)
    return text


def feedback_body(feedback: Feedback, progress: Progress) -> dict[str, Any]:
    """Return the feedback as JSON, with the words for the button that leads to what comes next."""
    return {
        "right": feedback.right,
        "text": feedback_text(feedback),
        "text_by_letters": feedback_text(feedback, letters=True),
        "button": label_of(progress),
    }
