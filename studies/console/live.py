"""Show how a study goes on while it is prepared and while it collects; htmx fetches this part alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_GET

from evenhand.studies.access import studies_of
from evenhand.studies.configuration import StudyConfiguration, compared_in_words
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Stage, Study, WorkerSign
from evenhand.studies.pipeline.stages import DEFINITIONS, STAGES
from evenhand.studies.watching import alarms, collection
from evenhand.studies.watching.collection import Cell
from evenhand.studies.watching.preparation import StageLine, stage_line, worker_state

SECONDS_BETWEEN = {Study.State.PREPARING: 2, Study.State.COLLECTING: 5}  # of two looks by the page


@dataclass(frozen=True)
class CellLine:
    """One row of the table of cells. ``wanted``: answers that the quota means."""

    compared: str
    stratum: str
    criterion: str
    answers: int
    wanted: int
    on_left: float | None

    @property
    def percent(self) -> int:
        """Return how much of what is wanted is there, at most 100."""
        return min(100, 100 * self.answers // self.wanted) if self.wanted else 100


@login_required
@require_GET
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer with the live part; where the study has got further than the page shows, the page loads again."""
    study = get_object_or_404(studies_of(request.user).select_related("current_version"), pk=pk)
    context = live_context(study) | {"study": study, "fetched": True}
    response = render(request, "console/_live.html", context)
    if request.GET.get("key", context["live_key"]) != context["live_key"]:
        response["HX-Refresh"] = "true"
    return response


def live_context(study: Study, stages: Iterable[Stage] | None = None) -> dict[str, Any]:
    """Return the context of the live part, by at most five queries beside the study. stages: where they are known."""
    context: dict[str, Any] = {"live_key": study.state, "live_at": timezone.now()}
    if study.state == Study.State.PREPARING:
        context |= _preparation(list(study.stages.all() if stages is None else stages))
    elif study.state in (Study.State.COLLECTING, Study.State.PAUSED):
        context |= _collection(study, configuration_of(study))
    context["live_every"] = None if context.get("failed") else SECONDS_BETWEEN.get(Study.State(study.state))
    return context


def chapter_lines(lines: dict[str, StageLine], chapter: str) -> list[StageLine]:
    """Return the lines of a chapter's stages, in their order."""
    return [lines[stage.name] for stage in STAGES if stage.chapter == chapter and stage.name in lines]


def _preparation(stages: list[Stage]) -> dict[str, Any]:
    lines = {stage.name: stage_line(stage) for stage in stages}
    known = list(WorkerSign.objects.all())
    running = next((line for line in lines.values() if line.stage.state == Stage.State.RUNNING), None)
    failed = next((line for line in lines.values() if line.stage.state == Stage.State.FAILED), None)
    moving = [running.stage] if running else []
    done = sum(stage.state == Stage.State.DONE for stage in stages)
    return {
        "live_key": f"preparing-{done}{'-failed' if failed else ''}",
        "prompt_lines": chapter_lines(lines, "prompts"),
        "picture_lines": chapter_lines(lines, "pictures"),
        "failed": failed,
        "running": running,
        "stages_done": done,
        "stages_of": len(DEFINITIONS),
        "worker": worker_state(running.stage, known) if running else None,
        "worker_command": alarms.WORKER_COMMAND,
        # the failed stage stands at the head of the page, with its buttons
        "alarms": [alarm for _, found in alarms.of_stages(moving, known) for alarm in found],
    }


def _collection(study: Study, configuration: StudyConfiguration) -> dict[str, Any]:
    cells = collection.cells_of([study]).get(study.pk, [])
    answered = collection.answered_by([study]).get(study.pk, [])
    states, places = collection.people_of(study, configuration, answered)
    lines = _cell_lines(cells, collection.wanted_by_cell(study, configuration), configuration)
    answers = sum(cell.answers for cell in cells)
    fast = sum(cell.fast for cell in cells)
    return {
        "configuration": configuration,
        "cells": lines,
        "states": states,
        "places": places,
        "answers": answers,
        "wanted": sum(line.wanted for line in lines),
        "fast": fast,
        "fast_share": fast / answers if answers else None,
        "alarms": alarms.of_collection(cells, answered) if study.state == Study.State.COLLECTING else [],
    }


def _cell_lines(
    cells: list[Cell], wanted: dict[tuple[int, str], float], configuration: StudyConfiguration
) -> list[CellLine]:
    compared = compared_in_words(configuration)
    found = {(cell.comparison, cell.stratum, cell.criterion): cell for cell in cells}
    criteria = configuration.criteria
    lines = []
    for (comparison, stratum), count in wanted.items():
        for number, criterion in enumerate(criteria):
            cell = found.get((comparison, stratum, number))
            lines.append(
                CellLine(
                    compared[comparison],
                    stratum,
                    criterion.name if len(criteria) > 1 else "",
                    cell.answers if cell else 0,
                    round(count),
                    cell.on_left / cell.answers if cell and cell.answers else None,
                )
            )
    return lines
