"""Define the form that asks how a study is planned and what its ratings are taken to be like."""

from __future__ import annotations

import math
from typing import Any

from django import forms
from django.db.models import QuerySet

from evenhand.analysis.planning import (
    EVALUATOR_CORRELATION,
    PROMPT_CORRELATION,
    Plan,
    plan_assumptions,
)
from evenhand.analysis.simulated_study import PAPER_SHARES, SimulationError
from evenhand.studies.models import Study
from evenhand.studies.results.pilot import Pilot, PilotError, pilot_of, studies_with_ratings


class PowerForm(forms.Form):
    """A plan, the difference that it should find, and where its assumptions come from."""

    evaluators = forms.IntegerField(min_value=2, max_value=20_000, initial=17)
    pairs_each = forms.IntegerField(
        min_value=1,
        max_value=2_000,
        initial=30,
        label="Pairs that each of them rates",
        help_text="Of all comparisons together. Nobody sees a prompt twice.",
    )
    prompts = forms.IntegerField(
        min_value=2, max_value=100_000, initial=150, help_text="Each comparison has one pair of every prompt."
    )
    comparisons = forms.IntegerField(min_value=1, max_value=200, initial=2)
    difference = forms.FloatField(
        min_value=1,
        max_value=95,
        initial=20,
        label="Difference that you expect, points",
        help_text="Net preference: the candidate’s share less the baseline’s. The paper’s is 41.",
    )
    power = forms.FloatField(
        min_value=50, max_value=99, initial=80, label="Power, %", help_text="The chance to find that difference."
    )
    pilot = forms.ModelChoiceField(
        Study.objects.none(),
        required=False,
        label="Ratings are taken to be like",
        empty_label="the paper’s (Fig. 11)",
        help_text="Or like those of a study of yours: its primary comparison, as far as it has been rated.",
    )
    none_share = forms.FloatField(
        required=False,
        min_value=0,
        max_value=95,
        label="No preference, % of ratings",
        help_text="Empty: the paper’s 21 %, or that of the chosen study.",
    )
    evaluator_correlation = forms.FloatField(
        required=False,
        min_value=0,
        max_value=0.9,
        label="Correlation of two ratings by one evaluator",
        help_text=f"Empty: {EVALUATOR_CORRELATION:g}, as the paper gives none, or that of the chosen study.",
    )
    prompt_correlation = forms.FloatField(
        required=False,
        min_value=0,
        max_value=0.9,
        label="Correlation of two ratings of one prompt",
        help_text=f"Empty: {PROMPT_CORRELATION:g}, as the paper gives none, or that of the chosen study.",
    )

    groups = (
        ("Plan", ("evaluators", "pairs_each", "prompts", "comparisons", "difference", "power")),
        ("Assumptions", ("pilot", "none_share", "evaluator_correlation", "prompt_correlation")),
    )

    def __init__(self, values: dict[str, str], *, studies: QuerySet[Study]) -> None:
        """Take what was given, and the paper's plan for the rest."""
        given = {name: values.get(name, field.initial) for name, field in self.base_fields.items()}
        super().__init__({name: "" if value is None else value for name, value in given.items()})
        field = self.fields["pilot"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = studies_with_ratings(studies)

    @property
    def sections(self) -> list[tuple[str, list[forms.BoundField]]]:
        """Return the fields under their headings."""
        return [(title, [self[name] for name in names]) for title, names in self.groups]

    def clean(self) -> dict[str, Any]:
        """Build the plan; what cannot be planned is told at the field that asks too much."""
        values: dict[str, Any] = super().clean() or {}
        if self.errors:
            return values
        try:
            pilot = pilot_of(values["pilot"]) if values["pilot"] else None
        except PilotError as error:
            self.add_error("pilot", str(error))
            return values
        try:
            assumed = plan_assumptions(**self._given(values, pilot))
        except SimulationError as error:
            self.add_error("evaluator_correlation", str(error))
            return values
        try:
            plan = Plan(values["evaluators"], values["pairs_each"], values["prompts"], values["comparisons"], assumed)
        except SimulationError as error:
            self.add_error("pairs_each", str(error))
            return values
        return values | {"plan": plan, "pilot_found": pilot}

    @staticmethod
    def _given(values: dict[str, Any], pilot: Pilot | None) -> dict[str, Any]:
        """Return the assumptions: as given, else the pilot's, else the paper's and the usual ones."""
        of_pilot = (
            (EVALUATOR_CORRELATION, PROMPT_CORRELATION)
            if pilot is None
            else (pilot.evaluator_correlation, pilot.prompt_correlation)
        )
        usual = (EVALUATOR_CORRELATION, PROMPT_CORRELATION)
        found = [default if math.isnan(each) else each for each, default in zip(of_pilot, usual, strict=True)]
        names = ("evaluator_correlation", "prompt_correlation")
        none_share = values["none_share"]
        return {
            "shares": PAPER_SHARES if pilot is None else pilot.shares,
            "none_share": None if none_share is None else none_share / 100,
            **{name: each if values[name] is None else values[name] for name, each in zip(names, found, strict=True)},
        }
