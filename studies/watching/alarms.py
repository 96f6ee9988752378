"""Find what is wrong with studies while nobody looks: an alarm says what happened, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db.models import QuerySet

from evenhand.studies.models import Stage, Study, WorkerSign
from evenhand.studies.pipeline.stages import DEFINITIONS
from evenhand.studies.watching import collection
from evenhand.studies.watching.collection import Answered, Cell
from evenhand.studies.watching.preparation import standing_still
from evenhand.studies.work import signs

WORKER_COMMAND = "celery --app evenhand.config worker --pool solo --queues cpu,gpu"
FLAG_SHARE, FLAGGED_FROM = 0.2, 20  # of so many answers or more
CHECKS_FROM = 10
OFF_SHARE, OFF_DEVIATIONS, CELL_FROM = 0.2, 3, 20  # of the mean, in standard deviations, from so many answers a cell


@dataclass(frozen=True)
class Alarm:
    """Something that a study admin should know. ``key`` stays the same while it lasts."""

    key: str
    text: str
    action: str = ""


def find(studies: Iterable[Study]) -> dict[int, list[Alarm]]:
    """Return the alarms of each study that has any, by at most five queries for all of them."""
    studies = list(studies)
    preparing = [study for study in studies if study.state == Study.State.PREPARING]
    collecting = [study for study in studies if study.state == Study.State.COLLECTING]
    found: dict[int, list[Alarm]] = {}
    if preparing:
        for stage, alarms in of_stages(_open_stages(preparing), list(WorkerSign.objects.all())):
            found.setdefault(stage.study_id, []).extend(alarms)
    if collecting:
        cells, answered = collection.cells_of(collecting), collection.answered_by(collecting)
        for study in collecting:
            found[study.pk] = of_collection(cells.get(study.pk, []), answered.get(study.pk, []))
    return {pk: alarms for pk, alarms in found.items() if alarms}


def _open_stages(studies: list[Study]) -> QuerySet[Stage]:
    return Stage.objects.filter(study__in=studies, state__in=(Stage.State.RUNNING, Stage.State.FAILED))


def of_stages(stages: Iterable[Stage], known: list[WorkerSign]) -> Iterator[tuple[Stage, list[Alarm]]]:
    """Yield stages that run or have failed with their alarms. known: the signs of life of all workers."""
    stages = list(stages)
    still = standing_still(stages)
    for stage in stages:
        yield stage, _of_stage(stage, known, still)


def _of_stage(stage: Stage, known: list[WorkerSign], still: set[int]) -> list[Alarm]:
    definition = DEFINITIONS[stage.name]
    title = definition.title
    if stage.state == Stage.State.FAILED:
        return [
            Alarm(
                "failed",
                f"“{title}” stopped: {stage.error}",
                "Mend the cause and press “Try again”, or change the plan. What was finished before is kept.",
            )
        ]
    if not signs.alive(definition.queue, known):
        minutes = round(signs.SILENT_AFTER.total_seconds() / 60)
        return [
            Alarm(
                "no_worker",
                f"No worker for the queue “{definition.queue}” has been seen for {minutes} minutes: “{title}” waits.",
                f"Start one on the machine that computes: {WORKER_COMMAND}",
            )
        ]
    if stage.pk in still:
        return [
            Alarm(
                "still",
                f"“{title}” has stood at {stage.done} of {stage.total} for ten minutes, though a worker is there.",
                "Look at the worker's output. If it hangs, stop it and start it again: its work is taken up where it "
                "was.",
            )
        ]
    return []


def of_collection(cells: list[Cell], answered: list[Answered]) -> list[Alarm]:
    """Return the alarms of a study that collects: lost answers, many flags, cells out of balance."""
    return [*_lost(answered), *_flags(cells, answered), *_balance(cells)]


def _lost(answered: list[Answered]) -> list[Alarm]:
    missing = sum(each.missing for each in answered)
    if not missing:
        return []
    people = sum(each.missing > 0 for each in answered)
    return [
        Alarm(
            "lost",
            f"{missing} acknowledged answer{_s(missing)} of {people} {'people' if people > 1 else 'person'} "
            f"{'are' if missing > 1 else 'is'} not in the database: their numbers are missing.",
            "Pause the study, keep the database as it is, and run manage.py verify_ratings.",
        )
    ]


def _flags(cells: list[Cell], answered: list[Answered]) -> list[Alarm]:
    found = []
    answers, fast = sum(cell.answers for cell in cells), sum(cell.fast for cell in cells)
    if answers >= FLAGGED_FROM and fast > FLAG_SHARE * answers:
        found.append(
            Alarm(
                "fast",
                f"{fast / answers:.0%} of {answers} answers came within 300 ms or without a time.",
                "Look who they are of on the people page; leave them out there where they did not look.",
            )
        )
    checks, failed = sum(each.checks for each in answered), sum(each.failed for each in answered)
    if checks >= CHECKS_FROM and failed > FLAG_SHARE * checks:
        found.append(
            Alarm(
                "checks",
                f"{failed / checks:.0%} of {checks} attention checks were failed.",
                "Look at the check pairs first: a check that many fail may be wrong itself.",
            )
        )
    return found


def _balance(cells: list[Cell]) -> list[Alarm]:
    off: list[str] = []
    for criterion in sorted({cell.criterion for cell in cells}):
        group = [cell for cell in cells if cell.criterion == criterion]
        mean = sum(cell.answers for cell in group) / len(group)
        if mean >= CELL_FROM:
            off += [
                f"comparison {cell.comparison + 1}, {cell.stratum}: {cell.answers} answers, on average {mean:.0f}"
                for cell in group
                if _is_off(cell.answers, mean)
            ]
    off += [
        f"comparison {cell.comparison + 1}, {cell.stratum}: candidate on the left in {cell.on_left} of {cell.answers}"
        for cell in cells
        if cell.answers >= 2 * CELL_FROM and _is_off(cell.on_left, cell.answers / 2)
    ]
    if not off:
        return []
    return [
        Alarm(
            "balance",
            f"Cells are out of balance: {'; '.join(off[:3])}{f'; and {len(off) - 3} more' if len(off) > 3 else ''}.",
            "Were people left out or pairs skipped there? Free the places of whoever left, so that others fill them.",
        )
    ]


def _is_off(count: int, expected: float) -> bool:
    """Whether a count is further from what is expected than chance and a fifth of it explain."""
    distance: float = abs(count - expected)
    return distance > OFF_SHARE * expected and distance > OFF_DEVIATIONS * expected**0.5


def _s(count: int) -> str:
    return "s" if count != 1 else ""
