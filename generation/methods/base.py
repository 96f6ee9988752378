"""Define what a guidance method is: a frozen value with described settings, and the rows it demands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from evenhand.generation.methods.rows import Demand
from evenhand.generation.methods.settings import GuidanceError, Setting, settings_of

JSONObject = dict[str, Any]
FAMILIES = ("unet",)  # diffusers' UNet2DConditionModel, as in Stable Diffusion 1, 2 and XL


@dataclass(frozen=True)
class Guidance:
    """A guidance with its settings. A method is a subclass in a module of its own; ``docs/methods.md`` shows one.

    Its fields are declared with ``settings``' functions, and among them are ``switch_after`` and ``opening``: before
    the switch every method takes the steps of its opening, so that arms with one opening share them.

    method: the name under which arms are stored. short: what labels call it. families: the networks it works on.
    schedulers: those it works with; empty: all. at_zero: what the plain network is asked for where ``strength`` is 0.
    variant_by, variants: where a choice decides which settings there are in ``settings``: the choice's field, and for
        each of its names the settings with their defaults.
    """

    method: ClassVar[str]
    short: ClassVar[str]
    families: ClassVar[tuple[str, ...]] = FAMILIES
    schedulers: ClassVar[tuple[str, ...]] = ()
    generated_here: ClassVar[bool] = True  # whether ``generate`` takes it, so that it may stand inside another
    at_zero: ClassVar[Literal["prompt", "negative prompt"]] = "prompt"
    variant_by: ClassVar[str] = ""
    variants: ClassVar[Mapping[str, Mapping[str, tuple[Setting, Any]]]] = {}

    def __post_init__(self) -> None:
        for name, setting in settings_of(type(self)).items():
            object.__setattr__(self, name, setting.checked(name, getattr(self, name)))

    def after_switch(self, iteration: int) -> Demand:
        """Return what the method needs at an iteration (0 … T−1) that lies behind the switch."""
        raise NotImplementedError

    def demand(self, iteration: int, steps: int) -> Demand:
        """Return what the arm needs at ``iteration`` of ``steps``: its opening's demand, or the method's own.

        Raises GuidanceError where ``switch_after`` lies beyond ``steps``.
        """
        if iteration < self.switch_iteration(steps):
            opening: Guidance = self._setting("opening")
            return opening.demand(iteration, steps)
        return self.after_switch(iteration)

    def switch_iteration(self, steps: int) -> int:
        """t_s for T = ``steps`` iterations (method §1.7: exactly t_s of them are the opening's).

        Raises GuidanceError where ``switch_after`` lies beyond T.
        """
        switch_after: int | None = self._setting("switch_after")
        if switch_after is None:
            return steps // 2
        if switch_after > steps:
            raise GuidanceError(f"switch_after must lie in 0…{steps} for {steps} steps, not {switch_after}")
        return switch_after

    def to_dict(self) -> JSONObject:
        """JSON-able settings with their ``method``; ``from_dict`` reads them back."""
        data: JSONObject = {"method": self.method}
        for name, setting in settings_of(type(self)).items():
            if not setting.later or self._written(name):
                data[name] = plain(self._setting(name))
        return data

    def _written(self, name: str) -> bool:
        """Whether a later setting is written."""
        return bool(self._setting(name) != self._default(name))

    def label(self) -> str:
        """Name the arm for study admins: by the first setting, changed ones that have a symbol, and the switch."""
        shown = [
            f"{setting.symbol}={_shown(self._setting(name))}"
            for position, (name, setting) in enumerate(settings_of(type(self)).items())
            if setting.symbol and (position == 0 or self._setting(name) != self._default(name))
        ]
        negative = getattr(self, "negative_prompt", "")
        shown += [f"not “{negative}”"] if negative else []
        return f"{self.short} {', '.join(shown)}{self.switch_label}"

    @property
    def switch_label(self) -> str:
        """How a label names the switch."""
        switch_after = self._setting("switch_after")
        return f", after {'T/2' if switch_after is None else switch_after}"

    def short_name(self) -> str:
        """Name the arm in figures, by its first setting."""
        name, setting = next(iter(settings_of(type(self)).items()))
        return f"{self.short} {setting.symbol} = {_shown(self._setting(name))}"

    def _setting(self, name: str) -> Any:
        return getattr(self, name)

    def _default(self, name: str) -> object:
        field = next(each for each in fields(self) if each.name == name)
        return field.default_factory() if callable(field.default_factory) else field.default


def plain(value: object) -> object:
    """Return a setting's value as JSON has it."""
    if isinstance(value, Guidance):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "+".join(value)
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def read(methods: Mapping[str, type[Guidance]], data: Mapping[str, Any]) -> Guidance:
    """Read a guidance of one of ``methods`` from the settings that ``to_dict`` wrote. Missing fields take defaults.

    Raises GuidanceError for an unknown method, an unknown field, or a value that the guidance refuses.
    """
    if not isinstance(data, Mapping):
        raise GuidanceError(f"a guidance must be an object with a method, not {data!r}")
    method = data.get("method")
    if not isinstance(method, str) or method not in methods:
        raise GuidanceError(f"method must be one of {', '.join(methods)}, not {method!r}")
    settings = settings_of(methods[method])
    values = {name: value for name, value in data.items() if name != "method"}
    unknown_fields = sorted(set(values) - set(settings))
    if unknown_fields:
        name = unknown_fields[0]
        raise GuidanceError(f"{method} has no field {name!r} (its value: {values[name]!r})")
    for name, value in values.items():
        if settings[name].kind in ("opening", "guidance") and isinstance(value, Mapping):
            values[name] = read(methods, value)
    return methods[method](**values)
