"""Collect what the printed report of a study shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils import translation

from evenhand.generation.plan import count_evaluations
from evenhand.studies.bundle.texts import consent, instructions
from evenhand.studies.configuration import StudyConfiguration, arm_label
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Pair, Study
from evenhand.studies.printed.answers import Facts
from evenhand.studies.printed.checklists import answered
from evenhand.studies.printed.paragraph import (
    change_sentence,
    left_out_sentence,
    listed,
    methods_paragraph,
    net_sentence,
)
from evenhand.studies.results.tables import tables_of

PRINTED = ("comparisons", "strata", "equivalence", "scores", "sensitivity", "agreement", "checks", "sides", "times")


@dataclass(frozen=True)
class Text:
    """What evaluators read, in the language of the study's admins."""

    title: str
    text: str


def document(study: Study, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the context of the printed report: design, texts, a pair as it was laid out, paragraph, checklists."""
    configuration = configuration_of(study)
    facts = Facts(study, configuration, report)
    return {
        "study": study,
        "configuration": configuration,
        "report": report,
        "design": design(facts),
        "texts": texts_of(study, configuration),
        "shown": Pair.objects.filter(comparison__study=study)
        .select_related("prompt")
        .order_by("comparison__position", "prompt__index")
        .first(),
        "comparisons": [each | {"net_sentence": net_sentence(each)} for each in report["comparisons"]],
        "tables": [found for name, found in tables_of(report).items() if name in PRINTED and found.rows],
        "left_out": left_out_sentence(report),
        "changes": [change_sentence(each) for each in report["changes_after_closing"]],
        "paragraph": methods_paragraph(study, configuration, report),
        "checklists": answered(facts),
        "languages": listed([str(name) for _, name in settings.LANGUAGES]),
    }


def design(facts: Facts) -> list[tuple[str, str]]:
    """Return the design as terms and values."""
    configuration, report = facts.configuration, facts.report
    origin = report["provenance"]
    recipe = origin["recipe"] or {}
    arms = [(arm_label(each), each) for each in (configuration.baseline, *configuration.candidates)]
    evaluations = count_evaluations(arms, configuration.steps, configuration.scheduler)
    return [
        ("Prompts", f"{origin['prompt_set']['name']}, {origin['prompt_set']['count']:,} prompts"),
        ("First subset", f"{configuration.subset_size:,}, {configuration.draw}, seed {configuration.seed}"),
        ("Strata", "; ".join(_stratum(name, each) for name, each in origin["strata"].items()) or "–"),
        ("Checkpoint", f"{origin['checkpoint']}, revision {origin['checkpoint_revision'] or 'unknown'}"),
        ("Pictures", ", ".join(f"{name} {value}" for name, value in recipe.items()) or "–"),
        ("Baseline", arm_label(configuration.baseline)),
        ("Candidates", "; ".join(arm_label(each) for each in configuration.candidates)),
        ("Network evaluations", f"{evaluations:,} a prompt, all arms from one trajectory"),
        ("Evaluators wanted", f"{configuration.quota:,}, {configuration.trials_per_evaluator} pairs each"),
        ("Evaluators", _people(report)),
    ]


def _stratum(name: str, stratum: Mapping[str, Any]) -> str:
    low, high = stratum["lowest_clip_score"], stratum["highest_clip_score"]
    return f"{name}: {stratum['prompts']} prompts, CLIP score {low:.4f} to {high:.4f}"


def _people(report: Mapping[str, Any]) -> str:
    evaluators = report["evaluators"]
    return f"{evaluators['invited']:,} invited, {evaluators['rated']:,} rated, {evaluators['finished']:,} finished"


def texts_of(study: Study, configuration: StudyConfiguration) -> list[Text]:
    """Return consent, instructions and debriefing in English, as evaluators read them."""
    with translation.override("en"):
        return [
            Text("Consent", consent(study, configuration)),
            Text("Instructions, questions and debriefing", instructions(study, configuration)),
        ]
