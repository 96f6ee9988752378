"""Write booklets' trials from a study's pairs and check pairs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from evenhand.studies.assignment.order import Item, join, sequence, shared_out
from evenhand.studies.assignment.pairs import Showing
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Booklet, CheckPair, Pair, Study, Trial

Place = tuple[int, int, int]  # a booklet's id, an item's place in it, a criterion


class Stock:
    """A study's pairs and check pairs, read once."""

    def __init__(self, study: Study, configuration: StudyConfiguration) -> None:
        self.configuration = configuration
        self.pairs = {pair.pk: pair for pair in Pair.objects.filter(comparison__study=study)}
        self.checks = {check.pk: check for check in CheckPair.objects.filter(study=study)}
        self.all_criteria = tuple(range(len(configuration.criteria)))

    def items(self, showings: Sequence[Showing], rng: np.random.Generator) -> list[Item]:
        """Return what a booklet shows: practice, the showings, and checks and repeats in proportion to its length.

        Where each criterion has a run of its own, practice asks the first criterion, and a check stands in a run whose
        criterion tells its better picture.
        """
        configuration = self.configuration
        share = min(1.0, len(showings) / configuration.trials_per_evaluator)
        attention = self._of_use(CheckPair.Use.ATTENTION)
        count = min(round(share * configuration.attention_checks), len(attention))
        checks = [int(i) for i in rng.choice(attention, count, replace=False)] if count else []
        practice = self._of_use(CheckPair.Use.PRACTICE)
        if not configuration.runs:
            whole = [each if each.replaces else replace(each, criteria=self.all_criteria) for each in showings]
            repeats = round(share * configuration.repeats)
            return sequence(
                whole, rng, practice=practice, attention=checks, repeats=repeats, criteria=self.all_criteria
            )
        runs = [(criterion, list(run)) for criterion, run in groupby(showings, lambda each: each.cell.criterion)]
        repeats_of = shared_out(round(share * configuration.repeats), len(runs))
        checks_of = self._checks_of_runs(checks, [criterion for criterion, _ in runs], rng)
        introduction = sequence([], rng, practice=practice)
        return join(
            [
                introduction,
                *(
                    sequence(run, rng, attention=checks_of[i], repeats=repeats_of[i], criteria=(criterion,))
                    for i, (criterion, run) in enumerate(runs)
                ),
            ]
        )

    def _of_use(self, use: CheckPair.Use) -> list[int]:
        return [pk for pk, check in self.checks.items() if check.use == use]

    def _checks_of_runs(
        self, checks: Sequence[int], criteria: Sequence[int], rng: np.random.Generator
    ) -> list[list[int]]:
        """Share checks out among runs whose criterion tells their fault; those that fit nowhere are left out."""
        checks_of: list[list[int]] = [[] for _ in criteria]
        for check in checks:
            fault = self.checks[check].fault
            fitting = [i for i, each in enumerate(criteria) if self.configuration.criteria[each].tells(fault)]
            if fitting:
                fewest = min(len(checks_of[i]) for i in fitting)
                candidates = [i for i in fitting if len(checks_of[i]) == fewest]
                checks_of[candidates[int(rng.integers(len(candidates)))]].append(check)
        return checks_of

    def write(self, booklets: Mapping[Booklet, Sequence[Item]], slots: Mapping[int, uuid.UUID] | None = None) -> None:
        """Write the trials of booklets: one for each criterion of an item, side by side.

        slots: the slots of the trials left behind that showings replace, by trial id.
        """
        trials: dict[Place, Trial] = {}
        links: dict[Place, tuple[Place | None, Place | None]] = {}  # the lead, and the trial that is repeated
        for booklet, items in booklets.items():
            position = 0
            for i, item in enumerate(items):
                lead: Place | None = None
                for criterion in item.criteria:
                    position += 1
                    place = (booklet.pk, i, criterion)
                    trials[place] = self._trial(booklet, position, item, criterion, slots or {})
                    original = None if item.repeats is None else (booklet.pk, item.repeats, criterion)
                    links[place] = (lead, original)
                    lead = lead or place
        _create_in_order(trials, links)

    def _trial(
        self, booklet: Booklet, position: int, item: Item, criterion: int, slots: Mapping[int, uuid.UUID]
    ) -> Trial:
        if item.check is not None:
            check = self.checks[item.check]
            sides = (check.better_id, check.worse_id)
            left, right = sides if item.better_on_left else sides[::-1]
            fields: dict[str, Any] = {"check_pair_id": check.pk}
            if self.configuration.criteria[criterion].tells(check.fault):
                fields["expected_choice"] = -1 if item.better_on_left else 1
        else:
            assert item.showing is not None
            showing = item.showing
            pair = self.pairs[showing.cell.pair]
            sides = (pair.candidate_image_id, pair.baseline_image_id)
            left, right = sides if showing.candidate_on_left else sides[::-1]
            fields = {"pair_id": pair.pk, "candidate_on_left": showing.candidate_on_left}
            if showing.replaces and item.kind == Trial.Kind.MAIN:
                replaced = showing.replaces[item.criteria.index(criterion)]
                fields |= {"replaces_id": replaced, "slot": slots[replaced]}
        return Trial(
            booklet_id=booklet.pk,  # numbers of rows, because an object a trial costs a third of the time
            position=position,
            kind=item.kind,
            criterion=criterion,
            left_image_id=left,
            right_image_id=right,
            **fields,
        )


def _create_in_order(trials: Mapping[Place, Trial], links: Mapping[Place, tuple[Place | None, Place | None]]) -> None:
    """Create trials after those that they name: repeats after their originals, followers after their leads."""

    def create(chosen: Callable[[Place | None, Place | None], bool]) -> None:
        wave = []
        for place, (lead, original) in links.items():
            if chosen(lead, original):
                trial = trials[place]
                if lead:
                    trial.lead_id = trials[lead].pk
                if original:
                    trial.repeat_of_id = trials[original].pk
                wave.append(trial)
        Trial.objects.bulk_create(wave, batch_size=1000)

    create(lambda lead, original: lead is None and original is None)
    create(lambda lead, original: lead is not None and original is None)
    create(lambda lead, original: lead is None and original is not None)
    create(lambda lead, original: lead is not None and original is not None)
