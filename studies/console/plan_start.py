"""Define the first step of a new plan: a name, a prompt set and a preset make a draft, which the other steps change."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from django import forms

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.console.forms import StudyForm
from evenhand.studies.console.presets import PRESETS
from evenhand.studies.visibility import Viewer

SHOWN = ("name", "prompt_set", "preset")
CHOSEN = {"scheduler": StudyConfiguration.scheduler, "dtype": StudyConfiguration.dtype}  # where a form has no initial


class StartForm(StudyForm):
    """A new plan's name, prompt set and preset. The first subset is the whole set where that is the smaller one."""

    preset = forms.ChoiceField(
        required=False,
        label="Start from",
        choices=[("", "The defaults"), *((name, preset.title) for name, preset in PRESETS.items())],
        help_text="Fills in the steps that follow; each of them can be changed.",
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, user: Viewer, preset: str = "") -> None:
        super().__init__(user=user, initial={"preset": preset})
        if data is None:
            return
        chosen = PRESETS.get(data.get("preset", ""))
        whole = StudyForm(user=user, initial=CHOSEN | dict(chosen.values if chosen else {}))
        self.data = {name: whole[name].value() for name in whole.fields if name not in SHOWN} | {
            name: data[name] for name in SHOWN if name in data
        }
        self.is_bound = True

    @property
    def shown(self) -> list[forms.BoundField]:
        """The fields of the page."""
        return [self[name] for name in SHOWN]

    def clean(self) -> dict[str, Any]:
        """Take no more prompts into the first subset than the set has."""
        values = super().clean()
        if configuration := values.get("configuration"):
            most = max(2, values["prompt_set"].count)
            values["configuration"] = dataclasses.replace(
                configuration, subset_size=min(configuration.subset_size, most)
            )
        return values
