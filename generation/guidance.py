"""Offer the guidance methods, and read and identify their settings.

Imports neither torch nor numpy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from evenhand.generation.methods.base import Guidance, read
from evenhand.generation.methods.classifier_free import ClassifierFree, combine
from evenhand.generation.methods.other_checkpoint import OtherCheckpoint
from evenhand.generation.methods.registry import methods
from evenhand.generation.methods.rows import Heads, Tokens
from evenhand.generation.methods.segmentation_free import SegmentationFree
from evenhand.generation.methods.settings import GuidanceError
from evenhand.generation.methods.uploaded import Uploaded

__all__ = [
    "ClassifierFree",
    "Guidance",
    "GuidanceError",
    "Heads",
    "OtherCheckpoint",
    "SegmentationFree",
    "Tokens",
    "Uploaded",
    "combine",
    "fingerprint",
    "from_dict",
    "methods",
]


# What stands beside the methods: arms of a study that its checkpoint does not draw.
BESIDE: Mapping[str, type[Guidance]] = {kind.method: kind for kind in (Uploaded, OtherCheckpoint)}


def from_dict(data: Mapping[str, Any]) -> Guidance:
    """Read a guidance from the settings that ``to_dict`` wrote, uploaded pictures, or an arm of another checkpoint.

    Missing fields take defaults.

    Raises GuidanceError for an unknown method, an unknown field, or a value that the guidance refuses.
    """
    if isinstance(data, Mapping) and isinstance(name := data.get("method"), str) and name in BESIDE:
        return read({**methods(), **BESIDE}, data)
    return read(methods(), data)


def fingerprint(guidance: Guidance) -> str:
    """SHA-256 (64 hex digits) of the canonical JSON; numerically equal settings (10 and 10.0) have the same one.

    ``switch_after=None`` stays None: whether it equals a given t_s depends on the number of steps.
    """
    text = json.dumps(guidance.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
