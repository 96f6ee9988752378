"""Collect what a study's page shows of its plan, prompts, pictures, evaluators and results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from evenhand.studies import safety_flags
from evenhand.studies.assignment import booklets
from evenhand.studies.configuration import StudyConfiguration, arm_label
from evenhand.studies.console.bundles import bundle_context
from evenhand.studies.console.evaluator_table import evaluators_context
from evenhand.studies.console.power import plan_box
from evenhand.studies.console.results import primary_of
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Image, Stage, Study, SubsetPrompt
from evenhand.studies.picture_flags import equal_pairs, one_coloured_pairs
from evenhand.studies.pipeline.stages import DEFINITIONS, STAGES
from evenhand.studies.results.report import study_report
from evenhand.studies.results.tables.outcomes import several_criteria

EXAMPLES = 3  # images of each stratum
RANDOM_PASS_RATE = 2 / 5  # two of five options lie on the right side of a check
RANDOM_AGREEMENT = 2 * (2 / 5) ** 2 + (1 / 5) ** 2  # left, right or neither twice


@dataclass(frozen=True)
class StageLine:
    """A stage as the page shows it. ``rate``: units a second; ``left``: seconds; None where it cannot be known."""

    stage: Stage
    title: str
    percent: int
    rate: float | None
    left: float | None


def study_context(study: Study, *, population: str | None = None, evaluators_page: str | None = None) -> dict[str, Any]:
    """Return the context of a study's page, with one page of its evaluators."""
    configuration = configuration_of(study)
    lines = {stage.name: _line(stage) for stage in study.stages.all()}
    failed_line = next((line for line in lines.values() if line.stage.state == Stage.State.FAILED), None)
    is_prepared = study.state not in (Study.State.DRAFT, Study.State.PREPARING)
    context: dict[str, Any] = {
        "configuration": configuration,
        "arms": [arm_label(guidance) for guidance in (configuration.baseline, *configuration.candidates)],
        "prompt_lines": _chapter(lines, "prompts"),
        "picture_lines": _chapter(lines, "pictures"),
        "failed": failed_line,
        "moving": study.state == Study.State.PREPARING and failed_line is None,
        "prepared": is_prepared,
        "unknown_words": study.events.filter(action="unknown_words").first(),
    }
    if study.state in (Study.State.DRAFT, Study.State.PREPARING, Study.State.READY):
        context["power"] = plan_box(configuration)
    if is_prepared:
        flagged_images = safety_flags.flagged_images(study)
        context |= {
            "examples": _examples(study, configuration),
            "flagged": len(flagged_images),
            "flagged_prompts": safety_flags.flagged_prompts(flagged_images),
            "screened": safety_flags.was_screened(study),
            "equal_pairs": equal_pairs(study),
            "one_coloured": one_coloured_pairs(study),
            "guarantees": [
                *booklets.guarantees(booklets.cells_of(study), configuration.trials_per_evaluator),
                *procedure_in_words(configuration),
            ],
        }
        context |= evaluators_context(study, configuration, evaluators_page)
        context |= bundle_context(study)
    if is_prepared and study.state != Study.State.READY:
        report = study_report(study, population=population)
        context |= {
            "report": report,
            "primary": primary_of(report),
            "several_criteria": several_criteria(report),
        }
    return context


def _chapter(lines: dict[str, StageLine], chapter: str) -> list[StageLine]:
    """Return the lines of a chapter's stages, in their order."""
    return [lines[stage.name] for stage in STAGES if stage.chapter == chapter and stage.name in lines]


def _line(stage: Stage) -> StageLine:
    percent = 100 * stage.done // stage.total if stage.total else (100 if stage.state == Stage.State.DONE else 0)
    rate = seconds_left = None
    if stage.started_at is not None and stage.done:
        seconds = ((stage.finished_at or timezone.now()) - stage.started_at).total_seconds()
        rate = stage.done / seconds if seconds > 0 else None
    if rate and stage.state == Stage.State.RUNNING:
        seconds_left = (stage.total - stage.done) / rate
    return StageLine(stage, DEFINITIONS[stage.name].title, percent, rate, seconds_left)


def _examples(study: Study, configuration: StudyConfiguration) -> dict[str, list[dict[str, Any]]]:
    """Return a few baseline images of each stratum, with prompts and scores."""
    final_subset = SubsetPrompt.objects.filter(subset=study.subset_id).exclude(stratum="").select_related("prompt")
    strata: dict[str, list[SubsetPrompt]] = {name: [] for name in configuration.strata.values()}
    for member in final_subset.order_by("prompt__index"):
        strata.setdefault(member.stratum, []).append(member)
    examples = {name: members[:EXAMPLES] for name, members in strata.items()}
    prompts = [member.prompt_id for members in examples.values() for member in members]
    comparison = study.comparisons.first()
    images: dict[int, int] = {}
    if comparison is not None:
        images = dict(
            Image.objects.filter(
                prompt__in=prompts, recipe=study.recipe_id, arm=comparison.baseline_id, state=Image.State.DONE
            ).values_list("prompt_id", "pk")
        )
    return {
        name: [{"member": member, "image": images.get(member.prompt_id)} for member in members]
        for name, members in examples.items()
    }


def procedure_in_words(configuration: StudyConfiguration) -> list[str]:
    """Say in sentences what evaluators get beside the pairs, and what it can measure."""
    parts = [
        f"{count} {noun}{'s' if count != 1 else ''}"
        for count, noun in (
            (configuration.practice_trials, "practice pair"),
            (configuration.attention_checks, "attention check"),
            (configuration.repeats, "repeated pair"),
        )
        if count
    ]
    criteria = len(configuration.criteria)
    several = (
        [f"Each pair is asked about by {criteria} criteria one after the other: {criteria} answers a pair."]
        if criteria > 1 and not configuration.runs
        else []
    )
    if not parts:
        return [
            *several,
            "No practice, attention checks or repeated pairs: how careful and how steady people are is not measured.",
        ]
    sentences = [
        *several,
        f"Beside the pairs everybody gets {', '.join(parts)}; they are counted apart and are no part of the results.",
    ]
    if checks := configuration.attention_checks:
        sentences.append(
            f"Failing a check is a flag and leaves nobody out. Somebody who presses keys at random passes "
            f"{'it' if checks == 1 else f'all {checks}'} in {RANDOM_PASS_RATE**checks:.0%} of cases."
        )
    if checks == 1:
        sentences.append("One failed check cannot be told from a slip; panels ask for two.")
    if configuration.repeats:
        sentences.append(
            f"Pressed at random, a repeated pair agrees with its first answer in {RANDOM_AGREEMENT:.0%} of cases."
        )
    return sentences
