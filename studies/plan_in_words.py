"""Say a stored plan in words, all of it: what is frozen, what a revision changed, a document to preregister."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evenhand.generation.guidance import Uploaded, from_dict
from evenhand.studies.configuration import StudyConfiguration, arm_label, compared_in_words
from evenhand.studies.models import Study, StudyVersion

NOTHING = "–"
GROUPS: dict[str, dict[str, str]] = {
    "Analysis": {
        "primary_comparison": "Primary outcome: comparison",
        "primary_criterion": "Primary outcome: criterion",
        "equivalence_margin": "Margin of equivalence, points of net preference",
        "exclusion_rules": "Exclusion rules",
        "stopping_rule": "Stopping rule",
    },
    "Prompts": {
        "subset_size": "First subset, prompts",
        "draw": "Draw",
        "deduplicate": "Repeated prompts",
        "near_duplicate_cosine": "Near duplicates: cosine",
        "percentiles": "Percentiles of the CLIP score",
        "per_stratum": "Prompts per stratum",
        "encoder": "Encoder",
        "encoder_pretrained": "Encoder’s weights",
        "curve_sizes": "Sizes of the Fréchet curve",
        "curve_draws": "Draws a size",
        "seed": "Seed",
    },
    "Pictures": {
        "checkpoint": "Checkpoint",
        "scheduler": "Scheduler",
        "steps": "Iterations T",
        "height": "Height, pixels",
        "width": "Width, pixels",
        "dtype": "Precision",
        "batch_size": "Pictures per batch",
        "baseline": "Baseline",
        "candidates": "Candidates",
        "comparisons": "Comparisons",
        "measure_strength": "Effective strength measured at every n-th iteration",
    },
    "Questions": {
        "criteria": "Criteria",
        "criteria_order": "Several criteria",
        "both_bad_option": "Sixth option, both bad",
        "reasons": "Reasons to choose from",
        "ask_remark": "A remark is asked for",
        "reasons_share": "Share of pairs with reasons or a remark",
    },
    "Evaluators": {
        "quota": "Evaluators",
        "trials_per_evaluator": "Pairs per evaluator",
        "allow_correction": "The last answer may be corrected",
        "options_delay_ms": "Options stay shut, ms",
        "confirm_answers": "Answers are confirmed",
        "introduction": "Page of instructions",
        "practice_trials": "Practice pairs",
        "comprehension": "Comprehension questions",
        "attention_checks": "Attention checks",
        "repeats": "Repeated pairs",
        "break_every": "Pairs between breaks",
        "lease_minutes": "Silence that frees a place, minutes",
        "zoom": "Pictures can be enlarged",
        "flip": "Pictures can be shown in one place",
        "smallest_picture": "Smallest width of a picture, CSS pixels",
        "computer_only": "No phones and tablets",
    },
    "Texts and payment": {
        "consent": "Consent",
        "contact": "Contact",
        "approval": "Ethics approval",
        "minimum_age": "Minimum age",
        "debriefing": "Debriefing",
        "recruitment": "Recruitment",
        "payment": "Payment",
        "skips_are_paid": "Skipped pairs are paid",
        "minutes": "Time said, minutes",
        "panel": "Panel",
        "panel_parameters": "Parameters of the panel’s link",
        "completion_code": "Completion code",
        "completion_url": "Return address",
        "end_returns": "Codes and addresses of the other ends",
        "redirect_at_once": "Return at once",
    },
}
GENERATED_ONLY = {
    *GROUPS["Prompts"],
    *(name for name in GROUPS["Pictures"] if name not in ("baseline", "candidates", "comparisons")),
}
WITHOUT = {  # what an empty value means
    "stopping_rule": "none stated: collecting ends when the quota has been rated, or when an admin closes the study",
    "exclusion_rules": "none stated",
    "primary_criterion": "the first",
    "equivalence_margin": "equivalence is not tested",
    "height": "the checkpoint’s own",
    "measure_strength": "not measured",
    "width": "the checkpoint’s own",
}


@dataclass(frozen=True)
class Line:
    """A setting: its name, its label, and its value as lines of text."""

    name: str
    label: str
    value: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """What a version changed of a setting."""

    label: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def settings_of(version: StudyVersion) -> dict[str, Any]:
    """Return every setting of a stored version; those that it was stored before have their defaults.

    Comparisons name their arms, as numbers of arms would tell a reader nothing.
    """
    configuration = StudyConfiguration.from_json(version.configuration)
    stored: dict[str, Any] = json.loads(configuration.to_json())
    return stored | {"comparisons": compared_in_words(configuration)}


def sections_of(settings: Mapping[str, Any]) -> dict[str, list[Line]]:
    """Return all settings under their headings; one that has no heading stands under “Others”.

    Those that only generated pictures have are left out for uploaded ones.
    """
    unused = GENERATED_ONLY if settings["baseline"]["method"] == Uploaded.method else set()
    found = {
        title: [
            Line(name, label, in_words(name, settings[name])) for name, label in group.items() if name not in unused
        ]
        for title, group in GROUPS.items()
        if not set(group) <= set(unused)
    }
    named = {name for group in GROUPS.values() for name in group}
    others = [
        Line(name, name.replace("_", " "), in_words(name, settings[name])) for name in settings if name not in named
    ]
    return found | ({"Others": others} if others else {})


def in_words(name: str, value: Any) -> tuple[str, ...]:
    """Write a setting's value as lines."""
    if value is None or value in ("", [], ()):
        return (WITHOUT.get(name, NOTHING),)
    if isinstance(value, bool):
        return ("yes" if value else "no",)
    if name == "baseline":
        return (_arm(value),)
    if name == "candidates":
        return tuple(_arm(each) for each in value)
    if name == "comparisons":
        return tuple(f"{number}: {each}" for number, each in enumerate(value, 1))
    if isinstance(value, list):
        if all(isinstance(each, str | int | float) for each in value):
            return (", ".join(map(_plain, value)),)
        return tuple(_object(each) for each in value)
    return tuple(_plain(value).splitlines()) or (NOTHING,)


def _arm(value: Mapping[str, Any]) -> str:
    """Name an arm; of uploaded pictures with all that is said of them."""
    guidance = from_dict(value)
    if not isinstance(guidance, Uploaded):
        return arm_label(guidance)
    return "; ".join([arm_label(guidance), *said_of(guidance), f"SHA-256 {guidance.pictures}"])


def said_of(arm: Uploaded) -> list[str]:
    """Return source and licence of uploaded pictures as parts of a sentence."""
    return [
        *([f"source: {arm.source}"] if arm.source else []),
        f"licence: {arm.licence}" if arm.licence else "no licence stated",
    ]


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _object(value: Mapping[str, Any]) -> str:
    """Write a criterion, a question or an end: its parts by name, without the empty ones."""
    return "; ".join(
        f"{name.replace('_', ' ')}: {_part(part)}" for name, part in value.items() if part not in ("", [], None)
    )


def _part(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " / ".join(map(str, value)) if isinstance(value, list) else str(value)


def changes_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return what differs between two versions, in the order of the headings."""
    lines = [line for section in sections_of(after).values() for line in section]
    return [
        Change(line.label, in_words(line.name, before[line.name]), line.value)
        for line in lines
        if before[line.name] != after[line.name]
    ]


def preregistration(study: Study, version: StudyVersion) -> str:
    """Return a version as a Markdown document with the hashes that identify it and the prompts."""
    settings = settings_of(version)
    return "\n".join(_document(study, version, sections_of(settings)))


def _document(study: Study, version: StudyVersion, sections: Mapping[str, Sequence[Line]]) -> Iterator[str]:
    yield f"# Plan of {study.name}, version {version.number}"
    yield ""
    yield f"- Configuration, SHA-256: `{version.sha256}`"
    prompts = study.prompt_set
    yield f"- Prompt set: {prompts.name}, {prompts.count:,} prompts, SHA-256 `{prompts.sha256}`"
    yield f"- Stored: {version.created_at:%Y-%m-%d %H:%M} UTC"
    for title, lines in sections.items():
        yield ""
        yield f"## {title}"
        yield ""
        for line in lines:
            first, *rest = line.value
            yield f"- **{line.label}**: {first}" if not rest else f"- **{line.label}**:"
            if rest:
                yield from (f"  - {each}" for each in line.value if each.strip())
    yield ""
