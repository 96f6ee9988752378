"""Define the plan's fields for what evaluators go through; ``studies.procedure`` validates the values."""

from __future__ import annotations

import dataclasses
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from evenhand.errors import InputError
from evenhand.studies.console.criteria_fields import CriteriaFields
from evenhand.studies.console.panel_fields import PanelFields, minutes_field
from evenhand.studies.console.text_field import LINES, TextField
from evenhand.studies.procedure import (
    DEFAULT_CONSENT,
    ComprehensionQuestion,
    Procedure,
    parse_questions,
    questions_text,
)

RECRUITMENT = "Who evaluators are, and how they are found"


class ProcedureFields(CriteriaFields, PanelFields):
    """Fields with the paper's study as defaults: thirty pairs per evaluator, and no others."""

    trials_per_evaluator = forms.IntegerField(label="Pairs per evaluator", initial=30)
    quota = forms.IntegerField(label="Evaluators wanted", initial=17)
    allow_correction = forms.BooleanField(
        required=False,
        initial=True,
        label="Let evaluators correct their last answer",
        help_text="Both answers are kept.",
    )
    confirm_answers = forms.BooleanField(
        required=False, label="Ask for confirmation", help_text="An option is marked first, and taken with Enter."
    )
    options_delay_ms = forms.IntegerField(
        label="Options stay shut for, milliseconds",
        initial=400,
        help_text="After both pictures are visible: a press that was meant for the pair before is not taken.",
    )
    zoom = forms.BooleanField(required=False, initial=True, label="Let evaluators zoom, both pictures together")
    flip = forms.BooleanField(
        required=False, label="Let evaluators flip", help_text="A key shows both pictures in one place, by turns."
    )
    smallest_picture = forms.IntegerField(
        initial=0,
        label="Smallest width of a displayed picture, pixels",
        help_text="Whoever’s window shows less is told before the consent. 0: any.",
    )
    computer_only = forms.BooleanField(required=False, label="Only on a computer, not on phones or tablets")
    lease_minutes = forms.IntegerField(
        initial=180,
        label="Lease, minutes",
        help_text="Who is silent for longer may lose the rest to somebody else, once the booklets have run out.",
    )

    introduction = forms.BooleanField(
        required=False, label="A page of instructions", help_text="With an example that the study makes itself."
    )
    practice_trials = forms.IntegerField(
        initial=0, label="Practice pairs", help_text="With feedback, before the first pair. Two are usual."
    )
    comprehension = TextField(
        required=False,
        widget=forms.Textarea(attrs=LINES),
        label="Comprehension check",
        help_text="One question a line: question | option | *the right option. Two tries, as panels ask for.",
    )
    attention_checks = forms.IntegerField(
        initial=0,
        label="Attention checks per evaluator",
        help_text="Panels let nobody be rejected for failing one: of a study of five minutes or more, two at least.",
    )
    repeats = forms.IntegerField(
        initial=0,
        label="Repeated pairs per evaluator",
        help_text="With the sides swapped, to see how steady answers are.",
    )
    break_every = forms.IntegerField(
        initial=0, label="A break after so many pairs", help_text="0: no breaks. 50 is usual in long studies."
    )

    consent = TextField(initial=DEFAULT_CONSENT, label="Consent text")
    contact = forms.CharField(required=False, help_text="For questions and complaints; on the first and the last page.")
    approval = forms.CharField(required=False, label="Ethics approval", help_text="The board’s number.")
    minimum_age = forms.IntegerField(initial=0, label="Age to be confirmed", help_text="0: not asked.")
    debriefing = TextField(
        required=False, widget=forms.Textarea(attrs=LINES), help_text="What it was about; on the last page."
    )
    payment = TextField(
        required=False,
        widget=forms.Textarea(attrs=LINES),
        help_text="What is paid, and what happens to it when somebody stops early; on the first page.",
    )
    recruitment = TextField(
        required=False,
        label=RECRUITMENT,
        widget=forms.Textarea(attrs=LINES),
        help_text="For the printed report: “students of our department, by a mailing list”. No evaluator reads it.",
    )
    skips_are_paid = forms.BooleanField(
        required=False,
        initial=True,
        label="Skipped pairs are paid like answered ones",
        help_text="The page then says so. Whoever skips every pair still gets the code of a part done.",
    )
    minutes = minutes_field()

    procedure_groups = (
        (
            "Evaluators",
            (
                "trials_per_evaluator",
                "quota",
                "allow_correction",
                "confirm_answers",
                "options_delay_ms",
                "lease_minutes",
            ),
        ),
        *CriteriaFields.criteria_groups,
        ("Pictures on the screen", ("zoom", "flip", "smallest_picture", "computer_only")),
        (
            "Introduction and checks",
            ("introduction", "practice_trials", "comprehension", "attention_checks", "repeats", "break_every"),
        ),
        ("Ethics", ("consent", "contact", "approval", "minimum_age", "debriefing")),
        ("Payment, time and people", ("payment", "skips_are_paid", "minutes", "recruitment")),
        *PanelFields.panel_groups,
    )

    def clean_comprehension(self) -> tuple[ComprehensionQuestion, ...]:
        try:
            return parse_questions(self.cleaned_data["comprehension"])
        except InputError as error:
            raise ValidationError(str(error)) from error

    @classmethod
    def values_of_procedure(cls, procedure: Procedure) -> dict[str, Any]:
        """Return initial values that show a stored procedure."""
        values = {field.name: getattr(procedure, field.name) for field in dataclasses.fields(Procedure)}
        return values | {
            **cls.values_of_criteria(procedure.criteria),
            "reasons": "\n".join(procedure.reasons),
            "comprehension": questions_text(procedure.comprehension),
            **cls.values_of_panel(procedure),
        }
