"""Collect what a study's page shows at once: its plan, its stages, how it goes on, its bundles."""

from __future__ import annotations

from typing import Any

from evenhand.studies import audit
from evenhand.studies.audit_in_words import counted
from evenhand.studies.configuration import StudyConfiguration, arm_label, compared_in_words
from evenhand.studies.console.bundles import bundle_context
from evenhand.studies.console.comparison_fields import ratings_a_pair
from evenhand.studies.console.live import chapter_lines, live_context
from evenhand.studies.console.parts import PARTS, odd_pairs_context, parts_of
from evenhand.studies.console.power import plan_box
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Pair, Stage, Study
from evenhand.studies.watching.preparation import StageLine, stage_line


def study_context(study: Study) -> dict[str, Any]:
    """Return the context of a study's page; chapters that take many queries are parts, which the page fetches apart."""
    configuration = configuration_of(study)
    stages = list(study.stages.all())
    lines = {stage.name: stage_line(stage) for stage in stages}
    failed_line = next((line for line in lines.values() if line.stage.state == Stage.State.FAILED), None)
    is_prepared = study.state not in (Study.State.DRAFT, Study.State.PREPARING)
    prompts = _ready_made_prompts(study) if configuration.ready_made else None
    events = list(study.events.filter(action__in=("unknown_words", audit.BUNDLE)).order_by("-at"))
    context: dict[str, Any] = {
        "configuration": configuration,
        "arms": [arm_label(guidance) for guidance in configuration.arms],
        "compared": compared_in_words(configuration),
        "ratings_a_pair": ratings_a_pair(configuration, len(configuration.compared), prompts),
        "prompt_lines": chapter_lines(lines, "prompts"),
        "picture_lines": chapter_lines(lines, "pictures"),
        "failed": failed_line,
        "moving": study.state == Study.State.PREPARING and failed_line is None,
        "prepared": is_prepared,
        "is_frozen": study.state != Study.State.DRAFT,
        "keeps_out": list(study.keeps_out.order_by("name")),
        "unknown_words": next((event for event in events if event.action == "unknown_words"), None),
    }
    context |= live_context(study, stages)
    if study.state in (Study.State.DRAFT, Study.State.PREPARING, Study.State.READY):
        context["power"] = plan_box(configuration, prompts)
    if is_prepared:
        context |= bundle_context(study, events)
        context["parts"] = {name: PARTS[name] for name in parts_of(study)}
    context["told"] = _told(configuration, context)
    # before the opening somebody should see that the checkpoint does not know words of the prompts
    context["folds_prompts"] = is_prepared and not (study.state == Study.State.READY and context["unknown_words"])
    if study.state == Study.State.READY:
        context |= odd_pairs_context(study)  # which the button to open it names
    return context


def _told(configuration: StudyConfiguration, context: dict[str, Any]) -> dict[str, str]:
    """Say in a few words how far each chapter is that may be folded."""
    comparisons, bundles = len(configuration.compared), context.get("bundles")
    return {
        "plan": (
            f"{counted(comparisons, 'comparison')}, {counted(configuration.quota, 'evaluator')} with "
            f"{counted(configuration.trials_per_evaluator, 'pair')} each"
        ),
        "prompts": _stages_done(context["prompt_lines"]),
        "pictures": _stages_done(context["picture_lines"]),
        "bundle": f"last written on {bundles[0].at:%Y-%m-%d}" if bundles else "not written yet",
    }


def _stages_done(lines: list[StageLine]) -> str:
    done = sum(line.stage.state == Stage.State.DONE for line in lines)
    return f"{done} of {len(lines)} stages done" if lines else ""


def _ready_made_prompts(study: Study) -> int | None:
    """Return how many prompts the pairs have; None where there are no pairs."""
    return Pair.objects.filter(comparison__study=study).values("prompt").distinct().count() or None
