"""Make a form of labelled fields from the settings of a guidance method, for one candidate of a plan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from evenhand.generation.guidance import ClassifierFree, Guidance, GuidanceError, from_dict, methods
from evenhand.generation.methods.settings import Setting, settings_of
from evenhand.studies.console.candidate_fields import number_text
from evenhand.studies.console.forms import numbers
from evenhand.studies.model_roots import ModelPlaceError, check_model

OPTION, OPENING = "option_", "opening_"  # what names of fields begin with, of a guider's settings and of the opening's
OPENING_FIELDS = ("strength", "negative_prompt")  # of the opening; its other settings stay as they are


def offered() -> dict[str, tuple[type[Guidance], str]]:
    """Return what a candidate may be, by a key for addresses: a method's class, and its variant or no text."""
    kinds: dict[str, tuple[type[Guidance], str]] = {}
    for name, kind in methods().items():
        kinds |= {f"{name}.{variant}": (kind, variant) for variant in kind.variants} or {name: (kind, "")}
    return kinds


def offered_labels() -> list[tuple[str, str]]:
    """Return the keys of ``offered`` with what a page calls them."""
    return [
        (key, f"{kind.short}: {variant}" if variant else f"{kind.short} ({kind.method.replace('_', ' ')})")
        for key, (kind, variant) in offered().items()
    ]


def key_of(guidance: Guidance) -> str:
    """Return the key of ``offered`` that a guidance has."""
    variant = getattr(guidance, guidance.variant_by, "")
    return f"{guidance.method}.{variant}" if variant else guidance.method


def new_candidate(key: str, baseline: Guidance) -> Guidance:
    """Return the guidance of a key with its defaults; its opening is the plan's baseline, where that can be one.

    Raises GuidanceError for an unknown key.
    """
    if key not in offered():
        raise GuidanceError(f"there is no method {key!r}; choose among {', '.join(offered())}")
    kind, variant = offered()[key]
    guidance = kind(**({kind.variant_by: variant} if variant else {}))
    if isinstance(baseline, ClassifierFree) and not isinstance(guidance, ClassifierFree):
        guidance = replace(guidance, opening=baseline.opening or baseline)  # type: ignore[call-arg]
    return guidance


class CandidateForm(forms.Form):
    """The settings of one guidance, whose values it shows. ``cleaned_data["guidance"]``: the one that was filled in.

    candidates: the plan's, to choose from where a setting is another method.
    original: the guidance as JSON, so that what was filled in is not lost where somebody else has removed it.
    """

    original = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, data: Any = None, *, guidance: Guidance, candidates: Sequence[Guidance] = ()) -> None:
        super().__init__(data)
        self.guidance = guidance
        self.fields["original"].initial = json.dumps(guidance.to_dict())
        variant = getattr(guidance, guidance.variant_by, "")
        for name, setting in settings_of(type(guidance)).items():
            value = getattr(guidance, name)
            if setting.kind == "opening":
                self._add_opening(setting, value)
            elif setting.kind == "options":
                for key, (option, _) in guidance.variants.get(variant, {}).items():
                    self.fields[f"{OPTION}{key}"] = _field(
                        _label(key, replace(option, symbol="")), option, dict(value)[key]
                    )
            elif setting.kind == "guidance":
                possible = dict.fromkeys([value, *(each for each in candidates if _fits(guidance, name, each))])
                self.fields[name] = GuidanceField(possible, label=_label(name, setting), help_text=setting.help)
            elif name != guidance.variant_by:
                self.fields[name] = _field(_label(name, setting), setting, value)

    def _add_opening(self, setting: Setting, opening: ClassifierFree | None) -> None:
        own = settings_of(ClassifierFree)
        for name in OPENING_FIELDS:
            value = getattr(opening, name) if opening else (None if name == "strength" else "")
            described = replace(own[name], optional=setting.optional, symbol=own[name].symbol)
            field = _field(f"Opening: {_label(name, own[name]).lower()}", described, value)
            if name == "strength":
                field.help_text = setting.help + (" Empty: no opening." if setting.optional else "")
            self.fields[f"{OPENING}{name}"] = field

    def clean(self) -> dict[str, Any]:
        """Build the guidance of the changed fields, and add its refusal to the field that it names."""
        values: dict[str, Any] = super().clean() or {}
        if self.errors:
            return values
        try:
            values["guidance"] = from_dict(self._settings(values))
        except GuidanceError as error:
            self._refuse(str(error))
        try:
            check_model(str(values.get("checkpoint") or ""))
        except ModelPlaceError as error:
            self.add_error("checkpoint", str(error))
        return values

    def _settings(self, values: dict[str, Any]) -> dict[str, Any]:
        settings = self.guidance.to_dict()
        changed = {name: values[name] for name in self.changed_data if name != "original"}
        for name, value in changed.items():
            if name.startswith(OPTION):
                settings["settings"][name.removeprefix(OPTION)] = value
            elif not name.startswith(OPENING):
                settings[name] = value
        opening = {name: changed[f"{OPENING}{name}"] for name in OPENING_FIELDS if f"{OPENING}{name}" in changed}
        if opening:
            before = settings.get("opening") or ClassifierFree().to_dict()
            settings["opening"] = before | opening if values[f"{OPENING}strength"] is not None else None
        return settings

    def _refuse(self, message: str) -> None:
        """Add a message that begins with a setting's name, or with “settings:” and a guider's, to that field."""
        named = message.removeprefix("settings: ").partition(" ")[0].rstrip(",")
        fields = [name for name in (f"{OPTION}{named}", named) if name in self.fields]
        self.add_error(fields[0] if fields else None, message)


def _fits(guidance: Guidance, name: str, value: Guidance) -> bool:
    """Whether a setting that is another method may be this one."""
    try:
        return bool(replace(guidance, **{name: value}))
    except GuidanceError:
        return False


def _label(name: str, setting: Setting) -> str:
    words = name.replace("_", " ").capitalize()
    return f"{words} {setting.symbol}" if setting.symbol and setting.symbol != name else words


def _field(label: str, setting: Setting, value: Any) -> forms.Field:
    common: dict[str, Any] = {
        "label": label,
        "initial": value,
        "required": not setting.optional,
        "help_text": setting.help.replace("none:", "empty:") + _range(setting),
    }
    match setting.kind:
        case "number":
            return forms.FloatField(min_value=setting.low, max_value=setting.high, **common)
        case "whole":
            return forms.IntegerField(min_value=0, **common)
        case "flag":
            return forms.BooleanField(**common | {"required": False})
        case "choice":
            return forms.ChoiceField(choices=[(name, name.replace("_", " ")) for name in setting.choices], **common)
        case "numbers" | "dimensions":
            shown = "" if value is None else ", ".join(number_text(each) for each in value)
            return NumbersField(**common | {"initial": shown})
        case "layers":
            return NamesField(**common | {"initial": ", ".join(value)})
        case _:
            return forms.CharField(strip=False, **common | {"required": False})


def _range(setting: Setting) -> str:
    if setting.low is not None and setting.high is not None:
        return f" From {number_text(float(setting.low))} to {number_text(float(setting.high))}."
    return f" At least {number_text(float(setting.low))}." if setting.low is not None else ""


class GuidanceField(forms.ChoiceField):
    """Another method with its settings, one of several; the first is the one that stands there."""

    def __init__(self, possible: Iterable[Guidance], **options: Any) -> None:
        choices = [(json.dumps(each.to_dict()), each.label()) for each in possible]
        super().__init__(choices=choices, initial=choices[0][0], **options)

    def clean(self, value: Any) -> dict[str, Any]:
        """Return the settings of the chosen one."""
        settings: dict[str, Any] = json.loads(super().clean(value))
        return settings


class NumbersField(forms.CharField):
    """Numbers, by commas; an empty one is None."""

    def __init__(self, *, help_text: str = "", **options: Any) -> None:
        super().__init__(help_text=f"{help_text} By commas.", **options)

    def clean(self, value: Any) -> list[float] | None:
        """Parse the numbers. Raises ValidationError for any other text."""
        return list(numbers(super().clean(value))) or None


class NamesField(forms.CharField):
    """Names, by commas."""

    def __init__(self, *, help_text: str = "", **options: Any) -> None:
        super().__init__(help_text=f"{help_text} By commas.", **options)

    def clean(self, value: Any) -> list[str]:
        """Parse the names. Raises ValidationError where there is none."""
        names = [name.strip() for name in super().clean(value).split(",") if name.strip()]
        if not names:
            raise ValidationError("Give names, separated by commas.")
        return names
