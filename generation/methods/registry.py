"""List the guidance methods by name: those that ship, and those that other packages bring by an entry point."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

from evenhand.generation.methods.adaptive_projected import AdaptiveProjected
from evenhand.generation.methods.base import Guidance
from evenhand.generation.methods.classifier_free import ClassifierFree
from evenhand.generation.methods.classifier_free_plus_plus import ClassifierFreePlusPlus
from evenhand.generation.methods.diffusers_guider import DiffusersGuider
from evenhand.generation.methods.perturbed_attention import PerturbedAttention
from evenhand.generation.methods.scheduled_classifier_free import ScheduledClassifierFree
from evenhand.generation.methods.segmentation_free import SegmentationFree
from evenhand.generation.methods.settings import GuidanceError
from evenhand.generation.methods.smoothed_energy import SmoothedEnergy
from evenhand.generation.methods.strength_matched import StrengthMatched

GROUP = "evenhand.guidance"
SHIPPED: tuple[type[Guidance], ...] = (
    ClassifierFree,
    SegmentationFree,
    AdaptiveProjected,
    PerturbedAttention,
    SmoothedEnergy,
    ClassifierFreePlusPlus,
    ScheduledClassifierFree,
    StrengthMatched,
    DiffusersGuider,
)


@cache
def methods() -> Mapping[str, type[Guidance]]:
    """Return every method's class by its name, the shipped ones first.

    Raises GuidanceError where an entry point of the group ``evenhand.guidance`` cannot be imported, names no subclass
    of Guidance, or one whose ``method`` is taken. The entry point's own name does not matter.
    """
    kinds: dict[str, type[Guidance]] = {kind.method: kind for kind in SHIPPED}
    for point in entry_points(group=GROUP):
        try:
            kind = point.load()
        except (ImportError, AttributeError) as error:
            raise GuidanceError(f"the entry point {point.name} = {point.value} cannot be imported: {error}") from error
        if not (isinstance(kind, type) and issubclass(kind, Guidance)):
            raise GuidanceError(f"the entry point {point.name} = {point.value} names no guidance method but {kind!r}")
        if kinds.setdefault(kind.method, kind) is not kind:
            raise GuidanceError(f"the entry point {point.name} = {point.value}: {kind.method!r} is taken")
    return MappingProxyType(kinds)
