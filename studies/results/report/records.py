"""Read what results need beside the answers: people, exclusions, pairs, and what happened to the study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from django.db.models import F
from numpy.typing import NDArray

from evenhand.errors import InputError
from evenhand.studies.arms import comparisons_of
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import AuditEvent, Comparison, Pair, Study
from evenhand.studies.results.report.answers import Answers, read_answers

POPULATIONS = ("real", "simulated", "all")


class PopulationError(InputError):
    """An unknown population of ratings."""


@dataclass(frozen=True, eq=False)
class People:
    """A study's evaluators but those of the pilot as columns, in the order of their numbers in the database."""

    pk: NDArray[np.int64]
    simulated: NDArray[np.bool_]
    withdrawn: NDArray[np.bool_]
    finished: NDArray[np.bool_]
    excluded: NDArray[np.bool_]  # by an exclusion in force
    left_at: dict[int, tuple[datetime | None, datetime | None]]  # withdrawal and deletion, of those with one

    def __len__(self) -> int:
        return len(self.pk)

    def of(self, population: str) -> NDArray[np.bool_]:
        """Which of them belong to a population."""
        if population == "all":
            return np.ones(len(self), np.bool_)
        return self.simulated == (population == "simulated")

    def numbers(self, pks: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the places of evaluators, from 0."""
        return place_of(pks, self.pk)


@dataclass(frozen=True, eq=False)
class Pairs:
    """A study's pairs as columns, in the order of their numbers in the database."""

    pk: NDArray[np.int64]
    comparison: NDArray[np.intp]  # position
    prompt: NDArray[np.intp]  # numbered as ``prompts``
    prompts: NDArray[np.int64]  # primary keys, ascending
    stratum: NDArray[np.intp]  # numbered as ``strata``
    strata: tuple[str, ...]  # the plan's order, then others
    file_width: int | None  # of all pictures, pixels; None where they differ


@dataclass(frozen=True, eq=False)
class Records:
    """Everything about a study that its results are computed from."""

    study: Study
    configuration: StudyConfiguration
    planned: int  # evaluators that the study wanted first, whatever a revision has made of it
    comparisons: Sequence[Comparison]
    replicates: bool  # whether another study's ratings stand beside its own
    people: People
    pairs: Pairs
    exclusions: Sequence[dict[str, Any]]  # every one that was made, the lifted ones too
    answers: Answers

    @cached_property
    def events(self) -> Sequence[dict[str, Any]]:
        """What happened to the study: action, time and detail, the earliest first; read when it is first asked for."""
        events: list[Any] = list(
            AuditEvent.objects.filter(study=self.study).order_by("at").values("action", "at", "detail")
        )
        return events

    @property
    def baseline(self) -> int | None:
        """The number in the database of the plan's baseline; None before there are comparisons."""
        for comparison, (first, second) in zip(self.comparisons, self.configuration.compared, strict=False):
            if 0 in (first, second):
                return comparison.baseline_id if first == 0 else comparison.candidate_id
        return None

    @property
    def excluded_ratings(self) -> set[tuple[int, int]]:
        """Evaluator and place of the answers that are excluded singly."""
        return {
            (each["rating_evaluator"], each["rating_sequence"])
            for each in self.exclusions
            if each["lifted_at"] is None and each["rating"] is not None
        }

    @property
    def unusable_pairs(self) -> NDArray[np.int64]:
        """Numbers in the database of the pairs that are marked as unusable."""
        pairs = {each["pair"] for each in self.exclusions if each["lifted_at"] is None and each["pair"] is not None}
        return np.array(sorted(pairs), np.int64)

    def last(self, action: str) -> datetime | None:
        """When something was last done to the study; None if it was not."""
        return next((event["at"] for event in reversed(self.events) if event["action"] == action), None)


def place_of(labels: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the places of labels among ascending known ones, all of which must be known."""
    if not len(labels):
        return np.zeros(0, np.intp)
    first, last = int(known[0]), int(known[-1])
    if last - first > 20_000_000:
        return np.searchsorted(known, labels)
    places = np.zeros(last - first + 1, np.intp)
    places[known - first] = np.arange(len(known))
    return places[labels - first]


def read_records(study: Study) -> Records:
    """Read a study's records in five queries, however large it is, and one for its events; one more if revised."""
    configuration = configuration_of(study)
    exclusions: list[Any] = list(
        study.exclusions.order_by("pk").values(
            "pk", "evaluator", "rating", "pair", "reason", "made_at", "lifted_at",
            rating_evaluator=F("rating__evaluator"), rating_sequence=F("rating__sequence"),
        )
    )  # fmt: skip
    comparisons = comparisons_of(study)
    pairs = _pairs(study, configuration)
    return Records(
        study=study,
        configuration=configuration,
        planned=_planned(study, configuration),
        comparisons=comparisons,
        replicates=any(getattr(each, "replicates", False) for each in comparisons),
        people=_people(study, {each["evaluator"] for each in exclusions if each["lifted_at"] is None}),
        pairs=pairs,
        exclusions=exclusions,
        answers=read_answers(study.pk, smallest_picture=configuration.smallest_picture, file_width=pairs.file_width),
    )


def _planned(study: Study, configuration: StudyConfiguration) -> int:
    """Return the quota of the first version: one that follows what was seen would undo a confidence sequence."""
    version = study.current_version
    if version is None or version.number == 1:
        return configuration.quota
    first = study.versions.values_list("configuration", flat=True).first()
    return StudyConfiguration.from_json(first).quota if first else configuration.quota


def _people(study: Study, excluded: set[int | None]) -> People:
    rows = list(
        study.evaluators.filter(pilot=False)
        .order_by("pk")
        .values_list("pk", "simulated", "finished_at", "withdrawn_at", "deleted_at")
    )
    return People(
        pk=np.array([row[0] for row in rows], np.int64),
        simulated=np.array([row[1] for row in rows], np.bool_),
        finished=np.array([row[2] is not None for row in rows], np.bool_),
        withdrawn=np.array([row[3] is not None for row in rows], np.bool_),
        excluded=np.array([row[0] in excluded for row in rows], np.bool_),
        left_at={row[0]: (row[3], row[4]) for row in rows if row[3] is not None or row[4] is not None},
    )


def _pairs(study: Study, configuration: StudyConfiguration) -> Pairs:
    rows = list(
        Pair.objects.filter(comparison__study=study)
        .order_by("pk")
        .values_list(
            "pk", "comparison__position", "prompt", "stratum", "baseline_image__width", "candidate_image__width"
        )
    )
    planned = [name for _, name in sorted(configuration.strata.items(), reverse=True)]
    strata = (*planned, *sorted({row[3] for row in rows} - set(planned)))
    prompts, prompt = np.unique(np.array([row[2] for row in rows], np.int64), return_inverse=True)
    widths = {width for row in rows for width in row[4:]}
    return Pairs(
        pk=np.array([row[0] for row in rows], np.int64),
        comparison=np.array([row[1] for row in rows], np.intp),
        prompt=prompt.reshape(-1),
        prompts=prompts,
        stratum=np.array([strata.index(row[3]) for row in rows], np.intp),
        strata=strata,
        file_width=widths.pop() if len(widths) == 1 else None,
    )


def reasons_counted(exclusions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Count the reasons of exclusions, the most frequent first."""
    counts = Counter(each["reason"] or "no reason given" for each in exclusions)
    return [{"reason": reason, "n": count} for reason, count in counts.most_common()]
