"""Define the plan's fields for what evaluators are asked; ``studies.criteria`` validates the values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from evenhand.studies.console.text_field import LINES, TextField
from evenhand.studies.criteria import (
    DECIDED_BY,
    DEFAULT_OPTIONS,
    DEFAULT_QUESTION,
    MOST_CRITERIA,
    ORDERS,
    PRESETS,
    TOGETHER,
    Criterion,
)

PARTS = ("name", "question", "options", "hide_prompt", "decided_by")
ORDER_NAMES = {"together": "One after the other, of each pair", "runs": "A run of trials for each criterion"}
PRESET_NAMES = {
    "overall": "Overall: which picture would you rather get for this text?",
    "match": "Match: which picture matches the text better? Ignore defects.",
    "appeal": "Appeal: which picture looks better? The text is hidden.",
    "defects": "Defects: which picture has fewer, such as missing, doubled or misshapen parts?",
}
DECIDED_BY_NAMES = {"both": "Quality and match with the text", "quality": "Quality alone", "match": "Match alone"}


def _preset() -> forms.ChoiceField:
    return forms.ChoiceField(
        required=False,
        label="Ready-made",
        choices=[("", "–"), *((name, PRESET_NAMES[name]) for name in PRESETS)],
        help_text="Replaces name, question, options and the rest of this criterion when the plan is saved.",
    )


def _name(initial: str) -> forms.CharField:
    return forms.CharField(
        initial=initial,
        required=bool(initial),
        label="Name in the CSV",
        help_text="Small letters, digits, underscores.",
    )


def _question(initial: str) -> forms.CharField:
    return forms.CharField(initial=initial, required=bool(initial), label="Question")


def _options(initial: Sequence[str]) -> TextField:
    return TextField(
        widget=forms.Textarea(attrs=LINES),
        required=bool(initial),
        initial="\n".join(initial),
        label="The five options",
        help_text="One a line, from “left is much better” to “right is much better”.",
    )


def _hide_prompt() -> forms.BooleanField:
    return forms.BooleanField(required=False, label="Hide the text")


def _decided_by() -> forms.ChoiceField:
    return forms.ChoiceField(
        label="The better picture is told by",
        choices=[(value, DECIDED_BY_NAMES[value]) for value in DECIDED_BY],
        initial="both",
        required=False,
        help_text="Decides which attention checks have a right answer.",
    )


class CriteriaFields(forms.Form):
    """One to three criteria; the first one is the paper's question, the others are empty."""

    criterion1_preset = _preset()
    criterion1_name = _name("overall")
    criterion1_question = _question(DEFAULT_QUESTION)
    criterion1_options = _options(DEFAULT_OPTIONS)
    criterion1_hide_prompt = _hide_prompt()
    criterion1_decided_by = _decided_by()
    criterion2_preset = _preset()
    criterion2_name = _name("")
    criterion2_question = _question("")
    criterion2_options = _options(())
    criterion2_hide_prompt = _hide_prompt()
    criterion2_decided_by = _decided_by()
    criterion3_preset = _preset()
    criterion3_name = _name("")
    criterion3_question = _question("")
    criterion3_options = _options(())
    criterion3_hide_prompt = _hide_prompt()
    criterion3_decided_by = _decided_by()
    criteria_order = forms.ChoiceField(
        label="Several criteria are asked", choices=[(order, ORDER_NAMES[order]) for order in ORDERS], initial=TOGETHER
    )
    both_bad_option = forms.CharField(
        required=False,
        label="A sixth option",
        help_text="For instance “Both are bad”. It counts as no preference and is stored apart. Empty: none.",
    )
    reasons = TextField(
        required=False,
        widget=forms.Textarea(attrs=LINES),
        label="Reasons to choose from",
        help_text="One a line, asked after an answer. Empty: none.",
    )
    ask_remark = forms.BooleanField(required=False, label="Ask for a line of text after an answer")
    reasons_share = forms.FloatField(
        initial=1.0, label="Share of trials that ask for reasons or text", help_text="0 to 1; drawn at random."
    )

    criteria_groups = (
        *(
            (
                f"Criterion {i}" if i == 1 else f"Criterion {i} (optional)",
                tuple(f"criterion{i}_{part}" for part in ("preset", *PARTS)),
            )
            for i in range(1, MOST_CRITERIA + 1)
        ),
        ("Answers", ("criteria_order", "both_bad_option", "reasons", "ask_remark", "reasons_share")),
    )

    def clean_reasons(self) -> tuple[str, ...]:
        return lines_of(self.cleaned_data["reasons"])

    def clean(self) -> dict[str, Any]:
        """Add each criterion's errors to its own fields."""
        values: dict[str, Any] = super().clean() or {}
        values["criteria"] = ()
        if not self.errors:
            values["criteria"] = tuple(filter(None, (self._criterion(i + 1, values) for i in range(MOST_CRITERIA))))
        return values

    def _criterion(self, number: int, values: dict[str, Any]) -> Criterion | None:
        """Return one criterion; None where its name, question and options are all empty."""
        if preset := values[f"criterion{number}_preset"]:
            return PRESETS[preset]
        given = {part: values[f"criterion{number}_{part}"] for part in PARTS}
        name, question, options = (given[part].strip() for part in ("name", "question", "options"))
        if not (name or question or options):
            return None
        criterion = Criterion(name, question, lines_of(options), given["hide_prompt"], given["decided_by"] or "both")
        for part, problem in criterion.problems().items():
            if problem:
                self.add_error(f"criterion{number}_{part}", problem)
        return criterion

    @classmethod
    def values_of_criteria(cls, criteria: Sequence[Criterion]) -> dict[str, Any]:
        """Return initial values that show stored criteria."""
        values: dict[str, Any] = {}
        for i in range(MOST_CRITERIA):
            known = criteria[i] if i < len(criteria) else Criterion("", "", ())
            values |= {f"criterion{i + 1}_{part}": getattr(known, part) for part in PARTS}
            values[f"criterion{i + 1}_options"] = "\n".join(known.options)
        return values


def lines_of(text: str) -> tuple[str, ...]:
    """Return the lines that are not empty, without outer spaces."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())
