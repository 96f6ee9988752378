"""Say what a person agrees to: the study's own text, what is stored for their way in, and what happens if they stop."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from django.utils.translation import gettext, ngettext

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Evaluator


@dataclass(frozen=True)
class Statement:
    """A consent as it is shown, in one language."""

    text: str  # the study's own
    stored: tuple[str, ...]  # what is stored of this person
    stopping: tuple[str, ...]
    payment: str  # empty where the study says nothing of it

    @property
    def sha256(self) -> str:
        """Return the SHA-256 (64 hex digits) of all sentences, one a line."""
        sentences = (self.text, *self.stored, *self.stopping, self.payment)
        return hashlib.sha256("\n".join(sentences).encode()).hexdigest()


def statement_of(evaluator: Evaluator, configuration: StudyConfiguration) -> Statement:
    """Return what an evaluator reads before the consent, in the language that is active."""
    return Statement(
        text=gettext(configuration.consent),
        stored=tuple(_stored(evaluator, configuration)),
        stopping=tuple(_stopping(configuration)),
        payment=gettext(configuration.payment) if configuration.payment else "",
    )


def _stored(evaluator: Evaluator, configuration: StudyConfiguration) -> list[str]:
    sentences = [
        gettext(
            "For each pair: your answer, when you gave it and how long you looked; the size of your window and of the "
            "pictures in it; whether you enlarged or switched them, and whether you used a mouse, a finger or keys."
        ),
        gettext("What you write, for example when you report a pair."),
        gettext("When you agreed to take part, and in which language."),
    ]
    if configuration.minimum_age:
        sentences.append(gettext("That you confirmed your age."))
    if configuration.comprehension:
        sentences.append(gettext("Your tries at the questions about the task."))
    sentences += _of_the_way_in(evaluator, configuration)
    sentences.append(gettext("Nothing else is stored with your answers."))
    return sentences


def _of_the_way_in(evaluator: Evaluator, configuration: StudyConfiguration) -> list[str]:
    cookie = gettext("A cookie in this browser leads you back to your place.")
    if evaluator.external_ids:
        ids = {
            "panel": configuration.panel or gettext("your panel"),
            "names": ", ".join(evaluator.external_ids),
        }
        return [
            gettext("Your ids from %(panel)s (%(names)s), of each visit. They tell that it was you who took part.")
            % ids,
            cookie,
            gettext("If you have all of this deleted, only a code remains, so that nobody takes part twice."),
        ]
    if evaluator.note:
        return [gettext("A note of who was given this personal link.")]
    return [gettext("If you came by a link that is open to anybody, a cookie in this browser leads you back.")]


def _stopping(configuration: StudyConfiguration) -> list[str]:
    return [
        gettext("You can stop at any time by closing the page, and come back with the same link."),
        _after_the_lease(configuration.lease_minutes),
        gettext(
            "You can also leave the study and have your answers deleted: the link for it is below the pictures and on "
            "the last page."
        ),
    ]


def _after_the_lease(minutes: int) -> str:
    if minutes < 120:
        return ngettext(
            "If you are away for more than %(n)d minute, your remaining pairs may go to other people.",
            "If you are away for more than %(n)d minutes, your remaining pairs may go to other people.",
            minutes,
        ) % {"n": minutes}
    hours = minutes // 60
    return ngettext(
        "If you are away for more than %(n)d hour, your remaining pairs may go to other people.",
        "If you are away for more than %(n)d hours, your remaining pairs may go to other people.",
        hours,
    ) % {"n": hours}
