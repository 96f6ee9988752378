"""Describe and check the settings of guidance methods: kind, range, default and help stand on the field itself."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

from evenhand.errors import InputError

Kind = Literal[
    "number", "numbers", "whole", "dimensions", "flag", "text", "choice", "layers", "options", "opening", "guidance"
]


class GuidanceError(InputError):
    """A guidance setting is not usable; the message names the field and its value."""


@dataclass(frozen=True)
class Setting:
    """One setting of a method.

    symbol: what labels call it; empty: labels leave it out. low, high: the inclusive range of numbers.
    choices: the names to choose from. optional: None is a value too. later: added when arms had been stored without it;
    such a setting is written only where it differs from the default, so that those arms keep their fingerprint.
    """

    kind: Kind
    help: str
    symbol: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False
    later: bool = False

    def checked(self, name: str, value: object) -> object:
        """Return the value in its one form. Raises GuidanceError, naming field and value, where it is not usable."""
        if value is None and self.optional:
            return None
        return _CHECKS[self.kind](self, name, value)


def number(default: float | None, help: str, **options: Any) -> Any:
    """Declare a finite number; ``options`` as in Setting."""
    return _field("number", help, default=default, **options)


def numbers(default: tuple[float, ...], help: str, **options: Any) -> Any:
    """Declare finite numbers in an order, at least one; ``options`` as in Setting."""
    return _field("numbers", help, default=default, **options)


def whole(default: int | None, help: str, **options: Any) -> Any:
    """Declare a whole number of at least 0; ``options`` as in Setting."""
    return _field("whole", help, default=default, **options)


def text(default: str, help: str, **options: Any) -> Any:
    """Declare a text; ``options`` as in Setting."""
    return _field("text", help, default=default, **options)


def choice(default: str, help: str, choices: tuple[str, ...], **options: Any) -> Any:
    """Declare one of several names; ``options`` as in Setting."""
    return _field("choice", help, default=default, choices=choices, **options)


def layer_names(default: tuple[str, ...], help: str, **options: Any) -> Any:
    """Declare names of a network's layers, at least one; ``options`` as in Setting."""
    return _field("layers", help, default=default, **options)


def options(help: str, **options: Any) -> Any:
    """Declare settings by name, which the method itself checks; ``options`` as in Setting. In the field: pairs."""
    return _field("options", help, default=(), **options)


def opening_guidance(default: Callable[[], Any], help: str, **options: Any) -> Any:
    """Declare the classifier-free guidance of the iterations before the switch; ``options`` as in Setting."""
    return _field("opening", help, default_factory=default, **options)


def nested_guidance(default: Callable[[], Any], help: str, **options: Any) -> Any:
    """Declare another method with its settings; ``options`` as in Setting."""
    return _field("guidance", help, default_factory=default, **options)


def settings_of(method: type) -> dict[str, Setting]:
    """Return the settings of a method's class by name, in the order of its fields.

    Raises TypeError for a field that none of this module's functions declares.
    """
    for field in dataclasses.fields(method):
        if "setting" not in field.metadata:
            raise TypeError(f"{method.__name__}.{field.name} must be declared by a function of {__name__}")
    return {field.name: field.metadata["setting"] for field in dataclasses.fields(method)}


def _field(kind: Kind, help: str, **options: Any) -> Any:
    own = {name: options.pop(name) for name in ("default", "default_factory") if name in options}
    return dataclasses.field(metadata={"setting": Setting(kind, help, **options)}, **own)


def _number(setting: Setting, name: str, value: object) -> float:
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise GuidanceError(f"{name} must be a finite number, not {value!r}")
    low, high = setting.low, setting.high
    if (low is not None and number < low) or (high is not None and number > high):
        bounds = f"be at least {low:g}" if high is None else f"be at most {high:g}" if low is None else ""
        raise GuidanceError(f"{name} must {bounds or f'lie in {low:g}…{high:g}'}, not {value!r}")
    return number + 0.0  # turns −0.0 into 0.0, so that equal settings have one fingerprint


def _numbers(setting: Setting, name: str, value: object) -> tuple[float, ...]:
    if not isinstance(value, tuple | list) or not value:
        raise GuidanceError(f"{name} must be a list of numbers, not {value!r}")
    return tuple(_number(setting, f"{name}, number {place},", each) for place, each in enumerate(value, start=1))


def _whole(_setting: Setting, name: str, value: object) -> int:
    is_whole = isinstance(value, Integral) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not is_whole or value < 0:  # type: ignore[operator]
        raise GuidanceError(f"{name} must be a whole number of at least 0, not {value!r}")
    return int(value)  # type: ignore[call-overload]


def _dimensions(setting: Setting, name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, tuple | list) or not value:
        raise GuidanceError(f"{name} must be a list of whole numbers, not {value!r}")
    for each in value:
        if not _number(setting, name, each).is_integer():
            raise GuidanceError(f"{name} must be whole numbers, not {each!r}")
    return tuple(int(each) for each in value)


def _flag(_setting: Setting, name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise GuidanceError(f"{name} must be true or false, not {value!r}")
    return value


def _text(_setting: Setting, name: str, value: object) -> str:
    if not isinstance(value, str):
        raise GuidanceError(f"{name} must be a text, not {value!r}")
    return _storable(name, value)


def _storable(name: str, value: str) -> str:
    """Return a text that files and databases can hold; JSON can write half of a surrogate pair, and NUL."""
    if "\0" in value:
        raise GuidanceError(f"{name} must hold no NUL character, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise GuidanceError(
            f"{name} must be Unicode text, which character {error.start} of {value!r} is not"
        ) from error
    return value


def _choice(setting: Setting, name: str, value: object) -> object:
    if value not in setting.choices:
        raise GuidanceError(f"{name} must be one of {', '.join(setting.choices)}, not {value!r}")
    return value


def _layers(_setting: Setting, name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, tuple | list) or not value or not all(isinstance(each, str) and each for each in value):
        raise GuidanceError(f"{name} must be a list of layers' names, not {value!r}")
    return tuple(_storable(name, each) for each in value)


def _options(_setting: Setting, name: str, value: object) -> tuple[tuple[str, object], ...]:
    pairs = tuple(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, tuple) or not all(
        isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs
    ):
        raise GuidanceError(f"{name} must be an object of settings by name, not {value!r}")
    return pairs


def _opening(_setting: Setting, name: str, value: object) -> object:
    if getattr(value, "method", None) != "classifier_free":
        raise GuidanceError(f"{name} must be a ClassifierFree, not {value!r}")
    if getattr(value, "opening", None) is not None:
        raise GuidanceError(f"{name} must have no opening of its own, not {value!r}")
    return value


def _guidance(_setting: Setting, name: str, value: object) -> object:
    if not isinstance(getattr(value, "method", None), str):
        raise GuidanceError(f"{name} must be a guidance, not {value!r}")
    if not getattr(value, "generated_here", True):
        raise GuidanceError(f"{name} cannot be {value.method}, which this checkpoint does not draw")  # type: ignore[attr-defined]
    return value


_CHECKS: Mapping[str, Callable[[Setting, str, object], object]] = {
    "number": _number,
    "numbers": _numbers,
    "whole": _whole,
    "dimensions": _dimensions,
    "flag": _flag,
    "text": _text,
    "choice": _choice,
    "layers": _layers,
    "options": _options,
    "opening": _opening,
    "guidance": _guidance,
}
