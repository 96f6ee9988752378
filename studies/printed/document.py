"""Collect what the printed report of a study shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import translation

from evenhand.generation.plan import count_evaluations
from evenhand.studies.arm_recipes import arms_by_part
from evenhand.studies.bundle.texts import consent, instructions
from evenhand.studies.configuration import StudyConfiguration, arm_label, compared_in_words
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Pair, Study
from evenhand.studies.plan_in_words import said_of
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

SHOWN = {"prompt": "prompt__text", "baseline": "baseline_image", "candidate": "candidate_image"}  # of the first pair


@dataclass(frozen=True)
class Text:
    """What evaluators read, in the language of the study's admins."""

    title: str
    text: str


def with_shown_pair(studies: QuerySet[Study]) -> QuerySet[Study]:
    """Return the studies, each with its first pair, which the report shows as it was laid out."""
    first = Pair.objects.filter(comparison__study=OuterRef("pk")).order_by("comparison__position", "prompt__index")
    return studies.annotate(**{f"shown_{part}": Subquery(first.values(field)[:1]) for part, field in SHOWN.items()})


def document(study: Study, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the context of the printed report: design, texts, a pair as it was laid out, paragraph, checklists.

    study: one of ``with_shown_pair``.
    """
    configuration = configuration_of(study)
    facts = Facts(study, configuration, report)
    return {
        "study": study,
        "configuration": configuration,
        "report": report,
        "design": design(facts),
        "texts": texts_of(study, configuration),
        "shown": {part: getattr(study, f"shown_{part}") for part in SHOWN},
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
    if configuration.ready_made:
        return _ready_made_design(configuration, report)
    evaluations = sum(
        count_evaluations(
            [(arm_label(each), each) for each in arms],
            part.steps,
            part.scheduler,
            measure_strength=configuration.measure_strength,
        )
        for part, arms in arms_by_part(configuration).items()
    )
    return [
        ("Prompts", f"{origin['prompt_set']['name']}, {origin['prompt_set']['count']:,} prompts"),
        ("First subset", f"{configuration.subset_size:,}, {configuration.draw}, seed {configuration.seed}"),
        ("Strata", "; ".join(_stratum(name, each) for name, each in origin["strata"].items()) or "–"),
        ("Checkpoint", f"{origin['checkpoint']}, revision {origin['checkpoint_revision'] or 'unknown'}"),
        ("Pictures", ", ".join(f"{name} {value}" for name, value in recipe.items()) or "–"),
        ("Baseline", arm_label(configuration.baseline)),
        ("Candidates", "; ".join(arm_label(each) for each in configuration.candidates)),
        *([("Uploaded pictures", "; ".join(_brought(configuration)))] if configuration.brought else []),
        ("Comparisons", "; ".join(compared_in_words(configuration))),
        ("Network evaluations", f"{evaluations:,} a prompt, all arms from one trajectory"),
        ("Evaluators wanted", f"{configuration.quota:,}, {configuration.trials_per_evaluator} pairs each"),
        ("Evaluators", _people(report)),
    ]


def _brought(configuration: StudyConfiguration) -> list[str]:
    return [f"{arm_label(each)}: {'; '.join(said_of(each))}" for each in configuration.brought]


def _ready_made_design(configuration: StudyConfiguration, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    origin = report["provenance"]
    arms = _brought(configuration)
    return [
        ("Prompts", f"{origin['prompt_set']['name']}, {origin['prompt_set']['count']:,} prompts"),
        ("Pairs", "uploaded ready-made; nothing was drawn or generated"),
        ("Baseline", arms[0]),
        ("Candidates", "; ".join(arms[1:])),
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
