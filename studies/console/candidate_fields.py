"""Translate candidates to and from a form: one field for all scales, one strength and one switch, and one for others.

The segmentation-free candidates have the first three fields; all others are lines of JSON in the fourth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evenhand.generation.guidance import (
    ClassifierFree,
    Guidance,
    GuidanceError,
    OtherCheckpoint,
    SegmentationFree,
    Uploaded,
    from_dict,
)
from evenhand.studies.sweeps import expanded

GUIDANCE_FIELDS = {"sfg_strength": "strength", "switch_after": "switch_after"}  # the form's field -> the guidance's


def number_text(value: float) -> str:
    """Write a number so that it reads back as the same one, without a fraction of zero."""
    return repr(value).removesuffix(".0")


def segmentation_free(candidates: Sequence[Guidance]) -> list[SegmentationFree]:
    """Return the candidates that the form can show."""
    return [guidance for guidance in candidates if isinstance(guidance, SegmentationFree)]


def how_they_differ(candidates: Sequence[Guidance], field: str) -> str:
    """List the candidates' values of one field of the form; empty where they are equal."""
    values = {guidance.scale: getattr(guidance, GUIDANCE_FIELDS[field]) for guidance in segmentation_free(candidates)}
    if len(set(values.values())) < 2:
        return ""
    return ", ".join(
        f"a = {number_text(scale)}: {'half' if value is None else number_text(value)}"
        for scale, value in values.items()
    )


def changed_candidates(
    candidates: Sequence[Guidance], scales: Sequence[float], changes: Mapping[str, Any], default: SegmentationFree
) -> tuple[Guidance, ...]:
    """Return the candidates with the scales and other ``changes`` of the form; all their other fields stay.

    A scale goes to the candidate that has it, else to one whose scale is gone, else to a copy of ``default``.
    Candidates that the form cannot show keep their places.
    """
    pool = segmentation_free(candidates)
    bases: list[SegmentationFree | None] = []
    for scale in scales:
        match = next((guidance for guidance in pool if guidance.scale == scale), None)
        if match is not None:
            pool.remove(match)
        bases.append(match)
    replacements: Iterator[Guidance] = iter(
        [
            replace(base or (pool.pop(0) if pool else default), scale=scale, **changes)
            for scale, base in zip(scales, bases, strict=True)
        ]
    )
    merged = [
        next(replacements, None) if isinstance(guidance, SegmentationFree) else guidance for guidance in candidates
    ]
    return (*(guidance for guidance in merged if guidance is not None), *replacements)


def others_text(candidates: Sequence[Guidance]) -> str:
    """Write the candidates that are not segmentation-free as JSON, one a line."""
    others = [guidance for guidance in candidates if not isinstance(guidance, SegmentationFree)]
    return "\n".join(json.dumps(guidance.to_dict(), ensure_ascii=False) for guidance in others)


def read_others(text: str, opening: ClassifierFree) -> tuple[Guidance, ...]:
    """Read the candidates that ``others_text`` wrote, or a person did; those without an opening get ``opening``.

    Raises GuidanceError, naming the line, where one cannot be read.
    """
    return tuple(
        _read(number, data, opening)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip()
        for data in _parsed(number, line)
    )


def _parsed(number: int, line: str) -> list[Any]:
    """Return the candidates of a line as JSON: one, or those of a sweep."""
    try:
        return expanded(json.loads(line))
    except GuidanceError as error:
        raise GuidanceError(f"line {number}: {error}") from error
    except RecursionError as error:
        raise _too_deep(number) from error
    except ValueError as error:  # a number of thousands of digits is JSON, but none that is read
        raise GuidanceError(f"line {number} is no JSON that can be read: {error}") from error


def _too_deep(number: int) -> GuidanceError:
    return GuidanceError(f"line {number} holds objects or lists in too many others")


def _with_opening(data: Any, opening: ClassifierFree) -> Any:
    """Give a candidate's JSON the opening that it leaves out; of another checkpoint's arm, its guidance's."""
    if not isinstance(data, dict) or data.get("method") in (ClassifierFree.method, Uploaded.method):
        return data
    if data.get("method") == OtherCheckpoint.method:
        return {**data, "guidance": _with_opening(data.get("guidance"), opening)} if "guidance" in data else data
    return {"opening": opening.to_dict()} | data


def _read(number: int, data: Any, opening: ClassifierFree) -> Guidance:
    data = _with_opening(data, opening)
    try:
        guidance = from_dict(data)
    except GuidanceError as error:
        raise GuidanceError(f"line {number}: {error}") from error
    except RecursionError as error:  # where reading the JSON has left few levels
        raise _too_deep(number) from error
    if isinstance(guidance, SegmentationFree):
        raise GuidanceError(f"line {number}: segmentation-free candidates have fields of their own")
    return guidance


def changed_others(candidates: Sequence[Guidance], others: Sequence[Guidance]) -> tuple[Guidance, ...]:
    """Return the candidates with ``others`` in the places of those that are not segmentation-free; the rest last."""
    replacements = iter(others)
    merged = [
        guidance if isinstance(guidance, SegmentationFree) else next(replacements, None) for guidance in candidates
    ]
    return (*(guidance for guidance in merged if guidance is not None), *replacements)


def changed_baseline(baseline: Guidance | None, changed_fields: set[str], values: Mapping[str, Any]) -> Guidance:
    """Return the baseline of the form; one that the form cannot show stays while its fields are not changed."""
    is_changed = bool({"strength", "negative_prompt"} & changed_fields)
    if baseline is not None and not isinstance(baseline, ClassifierFree) and not is_changed:
        return baseline
    base = baseline if isinstance(baseline, ClassifierFree) else ClassifierFree()
    return replace(base, strength=values["strength"], negative_prompt=values["negative_prompt"])


def opening_of(baseline: Guidance) -> ClassifierFree | None:
    """Return the guidance with which candidates begin as this baseline does; None for one of another method."""
    return (baseline.opening or baseline) if isinstance(baseline, ClassifierFree) else None


def with_opening(
    candidates: Sequence[Guidance], old: ClassifierFree | None, opening: ClassifierFree
) -> tuple[Guidance, ...]:
    """Let the candidates that begin as the old baseline did begin as the new one; other openings are their own."""
    if old is None or old == opening:
        return tuple(candidates)
    changes: dict[str, Any] = {"opening": opening}  # a field of many methods, if not of all
    return tuple(
        replace(guidance, **changes) if getattr(guidance, "opening", None) == old else guidance
        for guidance in candidates
    )
