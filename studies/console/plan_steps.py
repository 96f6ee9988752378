"""Define a plan's steps: a few fields of the plan each, of which a step changes its own alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms

from evenhand.studies.console.criteria_fields import CriteriaFields
from evenhand.studies.console.forms import SamplingFields, Section, StudyForm
from evenhand.studies.models import Study
from evenhand.studies.visibility import Viewer

GROUPS = dict(StudyForm.groups)  # heading -> fields, of the plan on one page


@dataclass(frozen=True)
class Step:
    """A page of the plan: its title, what it decides, and its fields under their headings."""

    title: str
    says: str
    groups: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of its fields."""
        return tuple(name for _, names in self.groups for name in names)


def _same(*titles: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((title, GROUPS[title]) for title in titles)


STEPS: dict[str, Step] = {
    "prompts": Step("Prompt set", "The texts that pictures are made of.", (("Study", ("name", "prompt_set")),)),
    "sampling": Step(
        "Sampling",
        "A first subset is drawn and scored; the study’s prompts lie around percentiles of the scores.",
        (("Prompts", tuple(SamplingFields.base_fields)),),
    ),
    "recipe": Step(
        "Recipe",
        "What all arms share: the checkpoint, and how it draws.",
        (("Pictures", ("checkpoint", "scheduler", "steps", "height", "width", "dtype", "batch_size")),),
    ),
    "arms": Step("Arms", "The guidances that are compared: a baseline and candidates.", _same("Guidance")),
    "comparisons": Step("Comparisons", "Which two arms a person sees side by side.", _same("Comparisons")),
    "questions": Step(
        "Criteria and wording",
        "What people are asked of each pair, word for word.",
        _same(*(title for title, _ in CriteriaFields.criteria_groups)),
    ),
    "people": Step(
        "People",
        "How many people rate how many pairs, and what they see them on.",
        _same("Evaluators", "Pictures on the screen"),
    ),
    "checks": Step("Checks", "What comes before and among the pairs.", _same("Introduction and checks")),
    "consent": Step(
        "Consent and pay",
        "What people read before they take part, and what they get.",
        _same("Ethics", "Payment, time and people"),
    ),
    "ends": Step(
        "Ends",
        "Where people come from, and the code and the way back of each end.",
        _same("Panel", "Codes of the other ends (optional)"),
    ),
    "analysis": Step("Analysis", "What results will test, stated before collecting.", _same("Analysis")),
}


@dataclass(frozen=True)
class Elsewhere:
    """A value of another step that does not fit what this one would change."""

    slug: str
    step: Step
    label: str
    text: str


def step_of(field: str) -> str:
    """Return the slug of the step that shows a field; a pair's box is shown with the comparisons."""
    return next((slug for slug, step in STEPS.items() if field in step.fields), "comparisons")


class StepForm(StudyForm):
    """One step of a stored plan. The whole plan is checked; all that the step does not show is taken as stored."""

    height = forms.IntegerField(
        required=False,
        min_value=64,
        max_value=4096,
        step_size=8,
        label="Height, pixels",
        help_text="A multiple of 8. Empty: the checkpoint’s own.",
    )
    width = forms.IntegerField(
        required=False,
        min_value=64,
        max_value=4096,
        step_size=8,
        label="Width, pixels",
        help_text="A multiple of 8. Empty: the checkpoint’s own.",
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, slug: str, study: Study, user: Viewer) -> None:
        super().__init__(study=study, user=user)
        self.step = STEPS[slug]
        pairs = self.pair_names if "compare" in self.step.fields else ()
        self.shown = frozenset((*self.step.fields, *pairs, "read_as"))
        if data is not None:
            self.data = {name: self[name].value() for name in self.fields if name not in self.shown} | {
                name: data[name] for name in self.shown if name in data
            }
            self.is_bound = True

    @property
    def sections(self) -> list[Section]:
        """Return the step's fields under their headings."""
        return [
            Section(title, [self[name] for name in (*names, *(self.pair_names if "compare" in names else ()))])
            for title, names in self.step.groups
        ]

    @property
    def elsewhere(self) -> list[Elsewhere]:
        """Return the errors of fields that other steps show."""
        return [
            Elsewhere(step_of(name), STEPS[step_of(name)], str(self.fields[name].label or name), str(text))
            for name, texts in self.errors.items()
            if name in self.fields and name not in self.shown
            for text in texts
        ]
