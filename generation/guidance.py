"""Define the settings and the arithmetic of the two guidances (paper sections 3 and 4).

Imports neither torch nor numpy.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, TypeVar, get_args

from evenhand.errors import InputError

Heads = Literal["mean", "per_head"]
Tokens = Literal["all", "prompt"]
JSONObject = dict[str, Any]
Prediction = TypeVar("Prediction")


class GuidanceError(InputError):
    """A guidance setting is not usable; the message names the field and its value."""


@dataclass(frozen=True)
class ClassifierFree:
    """Classifier-free guidance, eq. 4: (1+w)·ε(z,c) − w·ε(z,∅).

    strength: the paper's w, finite; diffusers' ``guidance_scale`` is 1 + w.
    negative_prompt: stands in for ∅ (Fig. 1); the empty text is ∅ itself.
    first, stop: only iterations first … stop − 1 are guided, the others take ε(z,c) alone, at half the cost
        (a limited interval: Kynkäänniemi et al. 2024, arXiv 2404.07724, who give it in noise levels). None: to the end.
    """

    method: ClassVar[str] = "classifier_free"

    strength: float = 7.5
    negative_prompt: str = ""
    first: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        _set(self, "strength", _finite("strength", self.strength))
        if not isinstance(self.negative_prompt, str):
            raise GuidanceError(f"negative_prompt must be a text, not {self.negative_prompt!r}")
        _set(self, "first", _count("first", self.first))
        if self.stop is not None:
            _set(self, "stop", _count("stop", self.stop))
            if self.stop <= self.first:
                raise GuidanceError(f"stop must lie beyond first ({self.first}), not {self.stop!r}")

    def guides(self, iteration: int) -> bool:
        """Whether ``iteration`` (0 … T−1) lies in the interval that is guided."""
        return self.first <= iteration and (self.stop is None or iteration < self.stop)

    @property
    def diffusers_scale(self) -> float:
        """The same strength in diffusers' convention, ``uncond + scale·(cond − uncond)``: 1 + w."""
        return 1.0 + self.strength

    def to_dict(self) -> JSONObject:
        """JSON-able settings with their ``method``; ``from_dict`` reads them back."""
        data: JSONObject = {
            "method": self.method,
            "strength": self.strength,
            "negative_prompt": self.negative_prompt,
        }
        # Written only where it is limited: arms without an interval keep the fingerprint that they were stored under.
        if self.first or self.stop is not None:
            data |= {"first": self.first, "stop": self.stop}
        return data


@dataclass(frozen=True)
class SegmentationFree:
    """Segmentation-free guidance, eq. 8–11 and Algorithm 1: (1+w̄)·ε(z,c) − w̄·ε̄(z,c) after the switch.

    scale: the paper's a, finite; the semantic token's attention weight is multiplied by −a (a < 0 is for tests).
    strength: the paper's w̄, finite.
    switch_after: t_s ≥ 0, the number of iterations under ``opening`` before the switch; None means T // 2.
    opening: the classifier-free guidance of the first t_s iterations.
    heads: the semantic token is the argmax of the head-mean attention, or each head's own.
    tokens: every position i > 0 of the padded prompt may be chosen, or only the prompt's own.
    """

    method: ClassVar[str] = "segmentation_free"

    scale: float = 10.0
    strength: float = 2.5
    switch_after: int | None = None
    opening: ClassifierFree = field(default_factory=ClassifierFree)
    heads: Heads = "mean"
    tokens: Tokens = "all"

    def __post_init__(self) -> None:
        _set(self, "scale", _finite("scale", self.scale))
        _set(self, "strength", _finite("strength", self.strength))
        if self.switch_after is not None:
            _set(self, "switch_after", _count("switch_after", self.switch_after))
        if not isinstance(self.opening, ClassifierFree):
            raise GuidanceError(f"opening must be a ClassifierFree, not {self.opening!r}")
        _one_of("heads", self.heads, get_args(Heads))
        _one_of("tokens", self.tokens, get_args(Tokens))

    @property
    def diffusers_scale(self) -> float:
        """The strength after the switch in diffusers' convention: 1 + w̄."""
        return 1.0 + self.strength

    def switch_iteration(self, steps: int) -> int:
        """t_s for T = ``steps`` iterations (method §1.7: exactly t_s of them are classifier-free).

        Raises GuidanceError where ``switch_after`` lies beyond T.
        """
        if self.switch_after is None:
            return steps // 2
        if self.switch_after > steps:
            raise GuidanceError(f"switch_after must lie in 0…{steps} for {steps} steps, not {self.switch_after}")
        return self.switch_after

    def to_dict(self) -> JSONObject:
        """JSON-able settings with their ``method``; ``from_dict`` reads them back."""
        return {
            "method": self.method,
            "scale": self.scale,
            "strength": self.strength,
            "switch_after": self.switch_after,
            "opening": self.opening.to_dict(),
            "heads": self.heads,
            "tokens": self.tokens,
        }


Guidance = ClassifierFree | SegmentationFree


def from_dict(data: Mapping[str, Any]) -> Guidance:
    """Read a guidance from the settings that ``to_dict`` wrote. Missing fields take their defaults.

    Raises GuidanceError for an unknown method, an unknown field, or a value that the guidance refuses.
    """
    if not isinstance(data, Mapping):
        raise GuidanceError(f"a guidance must be an object with a method, not {data!r}")
    kinds: dict[str, type[ClassifierFree] | type[SegmentationFree]] = {
        kind.method: kind for kind in (ClassifierFree, SegmentationFree)
    }
    method = data.get("method")
    if not isinstance(method, str) or method not in kinds:
        raise GuidanceError(f"method must be one of {', '.join(kinds)}, not {method!r}")
    values = {name: value for name, value in data.items() if name != "method"}
    unknown_fields = sorted(set(values) - {each.name for each in fields(kinds[method])})
    if unknown_fields:
        name = unknown_fields[0]
        raise GuidanceError(f"{method} has no field {name!r} (its value: {values[name]!r})")
    if isinstance(values.get("opening"), Mapping):
        values["opening"] = from_dict(values["opening"])
    return kinds[method](**values)


def fingerprint(guidance: Guidance) -> str:
    """SHA-256 (64 hex digits) of the canonical JSON; numerically equal settings (10 and 10.0) have the same one.

    ``switch_after=None`` stays None: whether it equals a given t_s depends on the number of steps.
    """
    text = json.dumps(guidance.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def combine(negative: Prediction, positive: Prediction, strength: float) -> Prediction:
    """The guided prediction n + (1+w)·(p − n) (eq. 4 and 8), for floats, arrays or tensors of one shape."""
    return negative + (1.0 + strength) * (positive - negative)  # type: ignore[operator]


def _set(guidance: Guidance, name: str, value: object) -> None:
    object.__setattr__(guidance, name, value)


def _finite(name: str, value: object) -> float:
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise GuidanceError(f"{name} must be a finite number, not {value!r}")
    return number + 0.0  # turns −0.0 into 0.0, so that equal settings have one fingerprint


def _count(name: str, value: object) -> int:
    whole = isinstance(value, Integral) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or value < 0:  # type: ignore[operator]
        raise GuidanceError(f"{name} must be a whole number of at least 0, not {value!r}")
    return int(value)  # type: ignore[call-overload]


def _one_of(name: str, value: object, names: tuple[str, ...]) -> None:
    if value not in names:
        raise GuidanceError(f"{name} must be one of {', '.join(names)}, not {value!r}")
