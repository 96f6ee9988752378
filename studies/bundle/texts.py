"""Write out what evaluators read before the first pair, in every language of their pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Evaluator, Study
from evenhand.studies.rating.pages import question_of
from evenhand.studies.rating.statement import statement_of

BLOCKS = re.compile(r"</?(?:p|h\d|li|ul|ol|div|main|title|dl|dt|dd)\b[^>]*>")
LEFT_OUT = re.compile(r"<(script|style|form|title)\b.*?</\1>", re.DOTALL)
TAG = re.compile(r"<[^>]*>")


def texts(study: Study) -> Iterator[tuple[str, str]]:
    """Yield file names and texts: consent of every version, instructions, questions about the task, debriefing."""
    for code, _ in settings.LANGUAGES:
        with translation.override(code):
            for version in study.versions.order_by("number"):
                configuration = StudyConfiguration.from_json(version.configuration)
                yield f"texts/consent-version-{version.number}.{code}.txt", consent(study, configuration)
            yield f"texts/instructions.{code}.txt", instructions(study, configuration_of(study))


def consent(study: Study, configuration: StudyConfiguration) -> str:
    """Return the consent, in the language that is active, as somebody reads it who came by an open link.

    A panel's participants read in place of one sentence which of their ids are stored.
    """
    statement = statement_of(Evaluator(study=study), configuration)
    parts = [
        [statement.text],
        [gettext("Payment"), statement.payment] if statement.payment else [],
        [gettext("What is stored"), *(f"- {sentence}" for sentence in statement.stored)],
        [gettext("If you stop"), *(f"- {sentence}" for sentence in statement.stopping)],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def instructions(study: Study, configuration: StudyConfiguration) -> str:
    """Return the page of instructions as plain text, then what is asked about it and after the end."""
    parts = [plain(_page(study, configuration))]
    for question in configuration.comprehension:
        options = [f"- {gettext(option)}" for option in question.options]
        options[question.right] += " (right)"
        parts.append("\n".join([gettext(question.text), *options]))
    if configuration.reasons:
        parts.append("\n".join(f"- {gettext(reason)}" for reason in configuration.reasons))
    if configuration.debriefing:
        parts.append(gettext(configuration.debriefing))
    return "\n\n".join(parts) + "\n"


def _page(study: Study, configuration: StudyConfiguration) -> str:
    example = study.check_pairs.filter(use="example").select_related("prompt", "better", "worse").first()
    context: dict[str, Any] = {
        "study": study,
        "configuration": configuration,
        "criteria": [question_of(configuration, criterion) for criterion in configuration.criteria],
        "example": example,
        "damaged": example is not None and example.fault == "damaged",
        "pictures": ["", ""],
        "token": "-",
        "label": "",
    }
    return render_to_string("rating/instructions.html", context)


def plain(html: str) -> str:
    """Return a page's words: one paragraph, heading or list item a line."""
    main = LEFT_OUT.sub("", html[html.find("<main") :])
    lines = (" ".join(unescape(TAG.sub(" ", line)).split()) for line in BLOCKS.sub("\0", main).split("\0"))
    return "\n".join(line for line in lines if line)
