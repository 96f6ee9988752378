"""List diffusers' guiders that are arithmetic on two predictions, with the settings that they take.

Written out, because the web process checks settings and imports neither torch nor diffusers; a test compares the list
with the installed diffusers. Names and defaults are diffusers' own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from evenhand.generation.methods.settings import GuidanceError, Setting

Options = tuple[tuple[str, Any], ...]  # settings by name, in the guider's order

_SCALE = Setting("number", "Strength in diffusers' convention, 1 + w; of the original formulation w.", "scale")
_RESCALE = Setting("number", "Share that is brought back to the spread of the prompt's prediction.", "rescale", 0, 1)
_COMMON: Mapping[str, tuple[Setting, Any]] = {
    "guidance_rescale": (_RESCALE, 0.0),
    "use_original_formulation": (Setting("flag", "Add the step to the prompt's prediction, as in papers."), False),
    "start": (Setting("number", "Share of the iterations after which guidance starts.", "start", 0, 1), 0.0),
    "stop": (Setting("number", "Share of the iterations after which guidance stops.", "stop", 0, 1), 1.0),
}


def _momentum(optional: bool) -> Setting:
    return Setting("number", "Share of the earlier differences that is added.", "momentum", -1, 1, optional=optional)


def _projected(threshold: float, eta: float) -> dict[str, tuple[Setting, Any]]:
    return {
        "adaptive_projected_guidance_rescale": (
            Setting("number", "Longest difference of the two predictions; 0: no limit.", "norm", 0),
            threshold,
        ),
        "eta": (Setting("number", "Share of the part along the prompt's prediction that is kept.", "eta", 0, 1), eta),
    }


GUIDERS: Mapping[str, Mapping[str, tuple[Setting, Any]]] = {
    "ClassifierFreeGuidance": {"guidance_scale": (_SCALE, 7.5), **_COMMON},
    "ClassifierFreeZeroStarGuidance": {
        "guidance_scale": (_SCALE, 7.5),
        "zero_init_steps": (Setting("whole", "Number of first iterations whose prediction is zero.", "zero"), 1),
        **_COMMON,
    },
    "AdaptiveProjectedGuidance": {
        "guidance_scale": (_SCALE, 7.5),
        "adaptive_projected_guidance_momentum": (_momentum(optional=True), None),
        **_projected(15.0, 1.0),
        "adaptive_projected_guidance_norm_dim": (
            Setting(
                "dimensions",
                "Dimensions over which lengths are taken: -3 channels, -2 rows, -1 columns; none: all.",
                "dimensions",
                -3,
                -1,
                optional=True,
            ),
            None,
        ),
        **_COMMON,
    },
    "AdaptiveProjectedMixGuidance": {
        "guidance_scale": (_SCALE, 3.5),
        "adaptive_projected_guidance_scale": (Setting("number", "Strength after the start step.", "APG scale"), 10.0),
        "adaptive_projected_guidance_momentum": (_momentum(optional=False), -0.5),
        **_projected(10.0, 0.0),
        "adaptive_projected_guidance_start_step": (
            Setting("whole", "Last iteration of classifier-free guidance.", "start step"),
            5,
        ),
        **_COMMON,
    },
    "FrequencyDecoupledGuidance": {  # lists for start and stop are left out: diffusers mixes levels up then
        "guidance_scales": (Setting("numbers", "Strength of each frequency level, highest first.", "scales"), (10, 5)),
        "parallel_weights": (
            Setting("numbers", "Share of the part along the prompt's prediction, a level.", "along", optional=True),
            None,
        ),
        "guidance_rescale_space": (
            Setting("choice", "Where the spread is brought back.", "rescale space", choices=("data", "freq")),
            "data",
        ),
        "upcast_to_double": (Setting("flag", "Project in float64."), True),
        **_COMMON,
    },
    "MagnitudeAwareGuidance": {
        "guidance_scale": (_SCALE, 10.0),
        "alpha": (Setting("number", "How much a large difference lowers the strength.", "alpha"), 8.0),
        **_COMMON,
    },
    "TangentialClassifierFreeGuidance": {"guidance_scale": (_SCALE, 7.5), **_COMMON},
}

# diffusers takes their lengths by a norm that torch allows over at most two dimensions beside the batch's: they get
# rows and columns as one. Their arithmetic knows no dimensions.
FLATTENED = frozenset({"MagnitudeAwareGuidance"})


def checked_options(guider: str, options: Mapping[str, object]) -> Options:
    """Return all settings of a guider, those left out at diffusers' defaults.

    Raises GuidanceError, naming the setting, for one that the guider does not take or a value that it cannot use.
    """
    known = GUIDERS[guider]
    for name in sorted(set(options) - set(known)):
        allowed = ", ".join(known)
        raise GuidanceError(f"settings: {guider} has no {name!r} (its value: {options[name]!r}); it has {allowed}")
    values = {
        name: setting.checked(f"settings: {name}", options.get(name, default))
        for name, (setting, default) in known.items()
    }
    if values["start"] >= 1 or values["stop"] < values["start"]:  # type: ignore[operator]
        raise GuidanceError(
            "settings: start must lie below 1 and at most at stop,"
            f" not start {values['start']!r} with stop {values['stop']!r}"
        )
    if guider == "FrequencyDecoupledGuidance":
        _check_levels(values)
    return tuple(values.items())


def _check_levels(values: Mapping[str, Any]) -> None:
    scales, weights = values["guidance_scales"], values["parallel_weights"]
    if weights is not None and len(weights) != len(scales):
        raise GuidanceError(f"settings: parallel_weights must have {len(scales)} numbers, not {len(weights)}")
    neutral = 0.0 if values["use_original_formulation"] else 1.0
    if any(math.isclose(scale, neutral) for scale in scales):
        # diffusers leaves such a level out, and puts another level's prediction in its place
        raise GuidanceError(f"settings: guidance_scales must not hold {neutral:g}, which leaves a level unguided")
