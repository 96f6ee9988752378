"""Validate what an evaluator's page sends."""

from __future__ import annotations

from django import forms

from evenhand.studies.models import Skip
from evenhand.studies.rating.answers import BOTH_BAD, CHOICES

LONGEST_MS = 2**31 - 1  # the column's largest value
LARGEST_VIEWPORT = 100_000
LAYOUTS = ("row", "side", "stack", "single")  # beside each other twice, below each other, one at a time
POINTERS = ("mouse", "touch", "pen", "key")
DISPLAY = (
    "hidden_ms", "device_pixel_ratio", "viewport_width", "viewport_height", "picture_width", "picture_height",
    "picture_width_device", "picture_height_device", "layout", "zoomed", "flipped", "pointer",
)  # fmt: skip


class NamedProblems(forms.Form):
    """A form that sums up its errors in one line."""

    def problems(self) -> str:
        """Say what is wrong, field by field."""
        return "; ".join(f"{name}: {' '.join(map(str, errors))}" for name, errors in self.errors.items())


class SkipForm(NamedProblems):
    """The fields of ``POST /e/<token>/skip/``."""

    trial = forms.UUIDField()
    reason = forms.ChoiceField(choices=Skip.Reason.choices)
    note = forms.CharField(required=False, max_length=500)


class AnswerForm(NamedProblems):
    """The fields of ``POST /e/<token>/rate/``."""

    trial = forms.UUIDField()
    choice = forms.ChoiceField(choices=[(str(choice), choice) for choice in (*CHOICES, BOTH_BAD)])
    reasons = forms.Field(required=False, widget=forms.MultipleHiddenInput)
    remark = forms.CharField(required=False, max_length=500)
    elapsed_ms = forms.IntegerField(required=False, min_value=0, max_value=LONGEST_MS)
    key = forms.UUIDField()
    corrects = forms.UUIDField(required=False)
    hidden_ms = forms.IntegerField(required=False, min_value=0, max_value=LONGEST_MS)
    viewport_width = forms.IntegerField(required=False, min_value=0, max_value=LARGEST_VIEWPORT)
    viewport_height = forms.IntegerField(required=False, min_value=0, max_value=LARGEST_VIEWPORT)
    picture_width = forms.FloatField(required=False, min_value=0, max_value=LARGEST_VIEWPORT)
    picture_height = forms.FloatField(required=False, min_value=0, max_value=LARGEST_VIEWPORT)
    picture_width_device = forms.FloatField(required=False, min_value=0, max_value=LARGEST_VIEWPORT)
    picture_height_device = forms.FloatField(required=False, min_value=0, max_value=LARGEST_VIEWPORT)
    device_pixel_ratio = forms.FloatField(required=False, min_value=0, max_value=100)
    zoomed = forms.NullBooleanField(required=False)
    flipped = forms.NullBooleanField(required=False)
    layout = forms.CharField(required=False)
    pointer = forms.CharField(required=False)

    def clean_layout(self) -> str:
        """Drop what is no layout of the page: an answer is not refused for it."""
        layout: str = self.cleaned_data["layout"]
        return layout if layout in LAYOUTS else ""

    def clean_pointer(self) -> str:
        """Drop what is no kind of pointer: an answer is not refused for it."""
        pointer: str = self.cleaned_data["pointer"]
        return pointer if pointer in POINTERS else ""

    def chosen(self) -> tuple[int, bool]:
        """Return the choice −2 … +2, and whether it says that both pictures are bad."""
        sent = self.cleaned_data["choice"]
        return (0, True) if sent == BOTH_BAD else (int(sent), False)

    def viewport(self) -> dict[str, float | bool | str]:
        """Return how the pair was displayed and answered, as far as the page told: the CSV's columns of these names."""
        told = {name: self.cleaned_data.get(name) for name in DISPLAY}
        whole = {name: int(v) if isinstance(v, float) and v.is_integer() else v for name, v in told.items()}
        return {name: value for name, value in whole.items() if value not in (None, "")}
