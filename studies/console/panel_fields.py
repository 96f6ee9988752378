"""Define the fields for a study's panel: its preset, and the code and the way back of each end."""

from __future__ import annotations

from typing import Any

from django import forms

from evenhand.studies.panels import ENDS, PRESETS, EndReturn, preset_of
from evenhand.studies.procedure import PROLIFIC, Procedure

OTHER_ENDS = tuple(end for end in ENDS if end != "finished")
END_NAMES = {
    "partial": "Only a part done",
    "screened_out": "Questions failed",
    "full": "Study full",
    "withdrawn": "Left the study",
    "paused": "Study paused",
    "closed": "Study closed",
    "too_small": "Window too small",
    "already": "Took part before",
}
PRESET_NAMES = [(key, preset.name or "Another panel, or none") for key, preset in PRESETS.items()]


def _code(end: str) -> forms.CharField:
    return forms.CharField(required=False, label=f"{END_NAMES[end]}: code")


def _url(end: str) -> forms.CharField:
    return forms.CharField(
        required=False, label=f"{END_NAMES[end]}: address", help_text="Empty: the return address, with this code."
    )


class MinutesField(forms.FloatField):
    """The minutes that taking part is said to take; an empty field means 0, measured."""

    def clean(self, value: Any) -> float:
        """Return the number."""
        return super().clean(value) or 0.0


def minutes_field() -> MinutesField:
    """Return the field as the plan and a revision show it."""
    return MinutesField(
        required=False,
        initial=0,
        label="Minutes that taking part is said to take",
        help_text="0: measured, once there are enough answers.",
    )


class EndFields(forms.Form):
    """The code and the address of every end but “finished”, which has the study's own."""

    end_partial_code, end_partial_url = _code("partial"), _url("partial")
    end_screened_out_code, end_screened_out_url = _code("screened_out"), _url("screened_out")
    end_full_code, end_full_url = _code("full"), _url("full")
    end_withdrawn_code, end_withdrawn_url = _code("withdrawn"), _url("withdrawn")
    end_paused_code, end_paused_url = _code("paused"), _url("paused")
    end_closed_code, end_closed_url = _code("closed"), _url("closed")
    end_too_small_code, end_too_small_url = _code("too_small"), _url("too_small")
    end_already_code, end_already_url = _code("already"), _url("already")

    end_names = tuple(f"end_{end}_{part}" for end in OTHER_ENDS for part in ("code", "url"))

    def clean(self) -> dict[str, Any]:
        """Collect the ends that have a code or an address, and add each one's problem to its own field."""
        values: dict[str, Any] = super().clean() or {}
        returns = []
        for end in OTHER_ENDS:
            given = EndReturn(end, *(values.get(f"end_{end}_{part}", "").strip() for part in ("code", "url")))
            if problem := given.problem():
                self.add_error(f"end_{end}_{'url' if 'web address' in problem else 'code'}", problem)
            elif given.code or given.url:
                returns.append(given)
        values["end_returns"] = tuple(returns)
        return values

    @staticmethod
    def values_of_ends(returns: tuple[EndReturn, ...]) -> dict[str, str]:
        """Return initial values that show stored returns."""
        values = dict.fromkeys(EndFields.end_names, "")
        for each in returns:
            values |= {f"end_{each.end}_code": each.code, f"end_{each.end}_url": each.url}
        return values


class PanelFields(EndFields):
    """A panel's name, parameters, code and return address; another preset fills in what was left as it was."""

    panel_preset = forms.ChoiceField(
        required=False,
        label="Panel",
        choices=PRESET_NAMES,
        initial="prolific",
        help_text="Another choice fills in name, parameters and return address when you save. The study’s page then "
        "says what to set there.",
    )
    panel = forms.CharField(
        required=False, initial=PRESETS["prolific"].name, label="Panel’s name", help_text="As evaluators read it."
    )
    panel_parameters = forms.CharField(
        required=False,
        initial=", ".join(PROLIFIC),
        label="The panel’s parameters",
        help_text="Of its link, by commas; the first one names the person.",
    )
    completion_code = forms.CharField(
        required=False,
        label="Completion code",
        help_text="Of whoever has done everything. Empty: one of each evaluator’s own.",
    )
    completion_url = forms.CharField(
        required=False,
        label="Return address",
        help_text="{code} and {id} stand for the code and the panel’s id of the person. For instance "
        "https://app.prolific.com/submissions/complete?cc={code}",
    )
    redirect_at_once = forms.BooleanField(
        required=False, label="Go back to the panel by itself", help_text="Five seconds after the last answer."
    )

    panel_groups = (
        (
            "Panel",
            ("panel_preset", "panel", "panel_parameters", "completion_code", "completion_url", "redirect_at_once"),
        ),
        ("Codes of the other ends (optional)", EndFields.end_names),
    )

    def clean_panel_parameters(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.cleaned_data["panel_parameters"].split(",") if name.strip())

    def clean(self) -> dict[str, Any]:
        """Fill in another preset's values where the former one's, or none, stand."""
        values = super().clean()
        chosen = values.get("panel_preset")
        former_key = self["panel_preset"].initial or "prolific"
        if chosen in PRESETS and chosen != former_key and "panel_parameters" in values:
            preset, former = PRESETS[chosen], PRESETS[former_key]
            for name, ours, theirs in (
                ("panel", preset.name, former.name),
                ("panel_parameters", preset.parameters, former.parameters),
                ("completion_url", preset.completion_url, former.completion_url),
            ):
                if not values.get(name) or values[name] == theirs:
                    values[name] = ours
        return values

    @classmethod
    def values_of_panel(cls, procedure: Procedure) -> dict[str, Any]:
        """Return initial values that show a stored panel."""
        return {
            "panel_preset": preset_of(procedure.panel, procedure.panel_parameters),
            "panel_parameters": ", ".join(procedure.panel_parameters),
            **cls.values_of_ends(procedure.end_returns),
        }
