"""Name checkpoints, and the arms that they draw, in a bundle: as the study's records do, or without folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from evenhand.generation.guidance import Guidance, OtherCheckpoint, fingerprint
from evenhand.generation.methods.other_checkpoint import public_name
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Arm


@dataclass(frozen=True)
class Checkpoints:
    """The names of one bundle. ``names``: public ones, by those of the records; used where ``anonymous``."""

    anonymous: bool
    names: Mapping[str, str] = field(default_factory=dict)

    def name(self, checkpoint: str) -> str:
        """Return what the bundle calls a checkpoint."""
        return (self.names.get(checkpoint) or public_name(checkpoint)) if self.anonymous else checkpoint

    def guidance(self, guidance: Guidance) -> Guidance:
        """Return a guidance whose checkpoint, where it has one of its own, has the bundle's name."""
        if not isinstance(guidance, OtherCheckpoint):
            return guidance
        return replace(guidance, checkpoint=self.name(guidance.checkpoint))

    def fingerprint(self, arm: Arm) -> str:
        """Return the fingerprint of an arm's guidance as the bundle has it."""
        renamed = self.guidance(arm.to_guidance()) if self.anonymous else None
        return fingerprint(renamed) if isinstance(renamed, OtherCheckpoint) else arm.fingerprint


def checkpoints_of(configuration: StudyConfiguration, *, anonymous: bool) -> Checkpoints:
    """Return the names for a bundle of a study."""
    others = [arm.checkpoint for arm in configuration.candidates if isinstance(arm, OtherCheckpoint)]
    return Checkpoints(anonymous, public_names([configuration.checkpoint, *others]))


def public_names(checkpoints: Iterable[str]) -> dict[str, str]:
    """Return names without folders: ``/one/sd`` and ``/two/sd`` are ``sd`` and ``sd-2``, so that arms still differ."""
    names: dict[str, str] = {}
    for checkpoint in dict.fromkeys(checkpoints):
        name = first = public_name(checkpoint)
        count = 1
        while name in names.values():
            count += 1
            name = f"{first}-{count}"
        names[checkpoint] = name
    return names
