"""Candidates in a form that has one field for all their scales, and one each for their strength and their switch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree

SHOWN = {"sfg_strength": "strength", "switch_after": "switch_after"}  # the form's field -> the guidance's


def written_number(value: float) -> str:
    """A number that reads back as the same one, without a fraction of zero."""
    return repr(value).removesuffix(".0")


def segmentation_free(candidates: Sequence[Guidance]) -> list[SegmentationFree]:
    """The candidates that the form can show."""
    return [guidance for guidance in candidates if isinstance(guidance, SegmentationFree)]


def how_they_differ(candidates: Sequence[Guidance], field: str) -> str:
    """The values that one field of the form stands for; empty where they are equal."""
    values = {guidance.scale: getattr(guidance, SHOWN[field]) for guidance in segmentation_free(candidates)}
    if len(set(values.values())) < 2:
        return ""
    return ", ".join(
        f"a = {written_number(scale)}: {'half' if value is None else written_number(value)}"
        for scale, value in values.items()
    )


def changed_candidates(
    stored: Sequence[Guidance], scales: Sequence[float], changes: Mapping[str, Any], fresh: SegmentationFree
) -> tuple[Guidance, ...]:
    """The stored candidates with the scales and other ``changes`` of the form; all else of them stays as it is.

    A scale goes to the stored candidate that has it, else to one whose scale is gone, else to a copy of ``fresh``.
    Candidates that the form cannot show keep their places.
    """
    unused = segmentation_free(stored)
    bases: list[SegmentationFree | None] = []
    for scale in scales:
        same = next((guidance for guidance in unused if guidance.scale == scale), None)
        if same is not None:
            unused.remove(same)
        bases.append(same)
    shown: Iterator[Guidance] = iter(
        [
            replace(base or (unused.pop(0) if unused else fresh), scale=scale, **changes)
            for scale, base in zip(scales, bases, strict=True)
        ]
    )
    woven = [next(shown, None) if isinstance(guidance, SegmentationFree) else guidance for guidance in stored]
    return (*(guidance for guidance in woven if guidance is not None), *shown)


def changed_baseline(stored: Guidance | None, changed: set[str], values: Mapping[str, Any]) -> Guidance:
    """The baseline of the form; one that the form cannot show stays while nothing of it is changed."""
    if stored is not None and not isinstance(stored, ClassifierFree) and not {"strength", "negative_prompt"} & changed:
        return stored
    return ClassifierFree(values["strength"], values["negative_prompt"])
