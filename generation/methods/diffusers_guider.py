"""Run diffusers' own guiders: those whose arithmetic needs the prompt's and the empty prompt's prediction alone.

diffusers calls its guiders experimental. Their arithmetic is that of the installed version, which pictures record.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from evenhand.generation.methods.base import Guidance, JSONObject
from evenhand.generation.methods.classifier_free import ClassifierFree
from evenhand.generation.methods.diffusers_guiders import FLATTENED, GUIDERS, Options, checked_options
from evenhand.generation.methods.rows import PROMPT, Conditioning, Demand, Guided, Memory, Moment, Rule
from evenhand.generation.methods.settings import (
    GuidanceError,
    Setting,
    choice,
    number,
    opening_guidance,
    options,
    text,
    whole,
)


@dataclass(frozen=True)
class GuiderRule(Rule):
    """Call a guider as diffusers' pipelines do, with an instance of its own for each picture and branch."""

    subtracted: Conditioning
    guider: str
    settings: Options
    strength: float

    def combine(self, predictions: Mapping[Conditioning, Any], memory: Memory, moment: Moment) -> Guided:
        """p + s·(g − p) with the guider's prediction g; at s = 1 it is g itself, bit for bit. memory: the instance."""
        guider: Any = memory["guider"] if memory else self._begun(moment)
        guider.set_state(step=moment.iteration, num_inference_steps=moment.steps, timestep=moment.timestep)
        positive = predictions[PROMPT][None]  # guiders take a batch; one of a single picture
        negative = predictions[self.subtracted][None] if guider.num_conditions == 2 else None
        guided = self._guided(guider, positive, negative)
        if self.strength != 1.0:
            guided = positive + self.strength * (guided - positive)
        return Guided(guided[0], {"guider": guider})

    def _guided(self, guider: Any, positive: Any, negative: Any) -> Any:
        """The guider's prediction (1, C, h, w)."""
        if self.guider in FLATTENED:
            shape = positive.shape
            positive, negative = (None if each is None else each.flatten(2) for each in (positive, negative))
            return guider.forward(pred_cond=positive, pred_uncond=negative).pred.reshape(shape)
        return guider.forward(pred_cond=positive, pred_uncond=negative).pred

    def _begun(self, moment: Moment) -> Any:
        """Return a fresh instance. Guiders set up what they remember at step 0, which the opening may have taken."""
        guider = copy.copy(guider_of(self.guider, self.settings))
        guider.set_state(step=0, num_inference_steps=moment.steps, timestep=moment.timestep)
        guider.prepare_inputs({})
        return guider


@cache
def guider_of(name: str, settings: Options) -> Any:
    """Build a guider of the installed diffusers; callers copy it.

    Raises GuidanceError where this diffusers has no such guider, or refuses its settings.
    """
    import diffusers

    kind = getattr(diffusers.guiders, name, None)
    if kind is None:
        raise GuidanceError(f"diffusers {diffusers.__version__} has no guider {name}")
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in settings}
    try:
        return kind(**values)
    except (ImportError, TypeError, ValueError) as error:
        raise GuidanceError(f"diffusers {diffusers.__version__} cannot build {name}: {error}") from error


@dataclass(frozen=True)
class DiffusersGuider(Guidance):
    """A guider of diffusers that combines the prompt's and the empty prompt's prediction, in this project's loop.

    guider: its class. settings: a mapping of the class's own, by diffusers' names; the field holds Options, those left
        out with their defaults.
    strength: s, what the guider's step away from the prompt's prediction is multiplied by; 1 is the guider's own.
    Its steps are the iterations 0 … T−1, those of the opening included; what it remembers begins at the switch.
    """

    method: ClassVar[str] = "diffusers_guider"
    short: ClassVar[str] = "diffusers"
    variant_by: ClassVar[str] = "guider"
    variants: ClassVar[Mapping[str, Mapping[str, tuple[Setting, Any]]]] = GUIDERS

    guider: str = choice("ClassifierFreeGuidance", "Class of diffusers' guider.", tuple(GUIDERS))
    settings: Any = options("Settings of that class, by diffusers' names.")
    strength: float = number(1.0, "What the guider's step is multiplied by; 1: its own.", symbol="×")
    negative_prompt: str = text("", "Text in the place of the empty one.")
    switch_after: int | None = whole(None, "Number of iterations under the opening; none: half.", optional=True)
    opening: ClassifierFree = opening_guidance(ClassifierFree, "Guidance of the iterations before the switch.")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "settings", checked_options(self.guider, dict(self.settings)))

    def demand(self, iteration: int, steps: int) -> Demand:
        """As every method; inside the guider's window it needs the negative prompt's row."""
        demand = super().demand(iteration, steps)
        if iteration < self.switch_iteration(steps):
            return demand
        values = dict(self.settings)
        # diffusers' own rounding, of all its guiders
        inside = int(values["start"] * steps) <= iteration < int(values["stop"] * steps)
        return demand if inside else Demand((), demand.rule)

    def after_switch(self, _iteration: int) -> Demand:
        """Return the negative prompt's row."""
        subtracted = Conditioning(negative_prompt=self.negative_prompt)
        return Demand((subtracted,), GuiderRule(subtracted, self.guider, self.settings, self.strength))

    def to_dict(self) -> JSONObject:
        """As of every method; the guider's settings are an object."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in self.settings}
        return super().to_dict() | {"settings": plain}

    def label(self) -> str:
        """Name the arm by the guider's class and the settings that are not diffusers' defaults."""
        default = dict(checked_options(self.guider, {}))
        shown = [f"{name}={value!r}" for name, value in self.settings if value != default[name]]
        shown += [f"×{self.strength:g}"] if self.strength != 1 else []
        shown += [f"not “{self.negative_prompt}”"] if self.negative_prompt else []
        return f"{self.short} {', '.join([self.guider, *shown])}{self.switch_label}"

    def short_name(self) -> str:
        """Name the arm in figures by the class."""
        return self.guider
