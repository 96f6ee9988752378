"""Define the study admin's forms: a study's plan, sampling settings to try, a prompt file, invitations."""

from __future__ import annotations

import dataclasses
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from evenhand.errors import InputError
from evenhand.generation.guidance import ClassifierFree, Guidance, GuidanceError, SegmentationFree
from evenhand.generation.plan import SCHEDULERS, check_steps
from evenhand.sampling.draws import DRAWS
from evenhand.sampling.duplicates import DEDUPLICATION
from evenhand.sampling.percentiles import minimum_prompts
from evenhand.studies.arm_recipes import arms_by_part
from evenhand.studies.changed_arms import kept_primary
from evenhand.studies.configuration import ConfigurationError, StudyConfiguration
from evenhand.studies.console.candidate_fields import (
    GUIDANCE_FIELDS,
    changed_baseline,
    changed_candidates,
    changed_others,
    how_they_differ,
    number_text,
    opening_of,
    others_text,
    read_others,
    segmentation_free,
    with_opening,
)
from evenhand.studies.console.comparison_fields import (
    CHOICES,
    compare_field,
    comparisons_of,
    counts_in_words,
    initial_of,
    pair_fields,
)
from evenhand.studies.console.concurrent_edits import ConcurrentEditForm
from evenhand.studies.console.procedure_fields import ProcedureFields
from evenhand.studies.console.text_field import TextField
from evenhand.studies.drafts import configuration_of, draft_sha256
from evenhand.studies.model_roots import ModelPlaceError, check_model
from evenhand.studies.models import PromptSet, Study
from evenhand.studies.visibility import Viewer, prompt_sets_of

SCHEDULER_NAMES = {
    "ddim": "DDIM, η = 0 (Algorithm 1 with Σ = 0)",
    "ddpm": "DDPM, ancestral",
    "dpm_solver": "DPM-Solver++ 2M",
    "euler": "Euler",
    "pndm": "PNDM",
}
DTYPES = (("float32", "float32 (CPU)"), ("float16", "float16 (GPU)"), ("bfloat16", "bfloat16"))
DRAW_NAMES = {"random": "Random, as the paper’s", "representative": "Representative: nearer at equal size"}
DEDUPLICATION_NAMES = {
    "none": "Keep them, as the paper does",
    "exact": "Leave out equal texts",
    "near": "Leave out near duplicates by their features",
}


def numbers(text: str) -> tuple[float, ...]:
    """Parse numbers separated by commas; ``ValidationError`` for any other text."""
    try:
        return tuple(float(word) for word in text.split(",") if word.strip())
    except ValueError as error:
        raise ValidationError("Give numbers, separated by commas.") from error


def allowed_model(name: str) -> str:
    """Return the name of a model that a study may load, or refuse it in words."""
    try:
        check_model(name)
    except ModelPlaceError as error:
        raise forms.ValidationError(str(error)) from error
    return name


class SamplingFields(forms.Form):
    """Fields for how the prompts of a study are drawn."""

    subset_size = forms.IntegerField(label="First subset, prompts", initial=5000, help_text="The paper draws 5,000.")
    percentiles = forms.CharField(
        initial="90, 50, 10", help_text="Of the CLIP score; the strata lie around them. By commas."
    )
    per_stratum = forms.IntegerField(label="Prompts per stratum", initial=50)
    seed = forms.IntegerField(initial=0, help_text="Decides draws, noise and assignment.")
    draw = forms.ChoiceField(choices=[(name, DRAW_NAMES[name]) for name in DRAWS], initial="random")
    deduplicate = forms.ChoiceField(
        label="Repeated prompts",
        choices=[(name, DEDUPLICATION_NAMES[name]) for name in DEDUPLICATION],
        initial="none",
    )
    near_duplicate_cosine = forms.FloatField(
        label="Near duplicates: cosine", initial=0.95, help_text="Used only where near duplicates are left out."
    )
    encoder = forms.CharField(
        initial="demo", help_text="“demo”, a folder, or an open_clip model; the paper’s is ViT-g-14."
    )
    encoder_pretrained = forms.CharField(
        required=False, label="Encoder’s weights", help_text="A tag, e.g. laion2b_s12b_b42k, or a file."
    )

    def clean_encoder(self) -> str:
        return allowed_model(self.cleaned_data["encoder"])

    def clean_encoder_pretrained(self) -> str:
        return allowed_model(self.cleaned_data["encoder_pretrained"])

    def clean_percentiles(self) -> tuple[float, ...]:
        return numbers(self.cleaned_data["percentiles"])

    @classmethod
    def values_of_configuration(cls, configuration: StudyConfiguration) -> dict[str, Any]:
        """Return initial values that show how a configuration draws."""
        values = {name: getattr(configuration, name) for name in SamplingFields.base_fields}
        return values | {"percentiles": ", ".join(map(number_text, configuration.percentiles))}


class SamplingForm(SamplingFields):
    """Settings to try on a prompt set."""

    def __init__(self, *args: Any, prompt_set: PromptSet, **kwargs: Any) -> None:
        self.prompt_set = prompt_set
        super().__init__(*args, **kwargs)

    @classmethod
    def initial_of(cls, prompt_set: PromptSet, configuration: StudyConfiguration | None) -> dict[str, Any]:
        """Return the given settings as initial values, or the paper's as far as the set allows."""
        if configuration is not None:
            return cls.values_of_configuration(configuration)
        return {"subset_size": min(5000, prompt_set.count)}

    def clean(self) -> dict[str, Any]:
        """Build the configuration, and refuse impossible sizes before a worker is notified."""
        values: dict[str, Any] = super().clean() or {}
        if self.errors:
            return values
        try:
            configuration = StudyConfiguration(checkpoint="demo", **values)
        except ConfigurationError as error:
            for name, text in error.errors.items():
                self.add_error(name if name in self.fields else None, text)
            return values
        if configuration.subset_size > self.prompt_set.count:
            self.add_error("subset_size", f"“{self.prompt_set}” has {self.prompt_set.count} prompts.")
        minimum = minimum_prompts(configuration.percentiles, configuration.per_stratum)
        if configuration.subset_size < minimum:
            self.add_error("subset_size", f"These strata need a first subset of at least {minimum} prompts.")
        return values | {"configuration": configuration}


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading with its fields."""

    title: str
    fields: list[forms.BoundField]

    @property
    def folded(self) -> bool:
        """Whether the section is optional, and empty but for its choices."""
        texts = [field for field in self.fields if isinstance(field.field, forms.CharField)]
        empty = not any(field.value() or field.errors for field in texts)
        return self.title.endswith("(optional)") and empty

    @property
    def summary(self) -> str:
        """Return the words that unfold an optional section."""
        return "Add this criterion" if self.title.startswith("Criterion") else "Show the fields"


class StudyForm(ConcurrentEditForm, SamplingFields, ProcedureFields):
    """A study's plan: a new one with the paper's defaults, or a stored one to be changed.

    Stored settings that the form does not show stay as they are. ``StudyConfiguration`` validates every value.
    """

    read_as = forms.CharField(widget=forms.HiddenInput)
    name = forms.CharField(max_length=100)
    prompt_set = forms.ModelChoiceField(PromptSet.objects.all(), label="Prompt set", empty_label=None)

    checkpoint = forms.CharField(
        initial="demo", max_length=500, help_text="“demo”, a diffusers folder, or a hub id of a Stable Diffusion model."
    )
    scheduler = forms.ChoiceField(choices=[(name, SCHEDULER_NAMES[name]) for name in SCHEDULERS])
    steps = forms.IntegerField(label="Iterations T", initial=20)
    dtype = forms.ChoiceField(label="Precision", choices=DTYPES)
    batch_size = forms.IntegerField(label="Pictures per batch", initial=8)

    strength = forms.FloatField(
        label="Baseline: strength w",
        initial=7.5,
        min_value=-1000,
        max_value=1000,
        help_text="The paper’s w; diffusers’ guidance_scale is w + 1.",
    )
    negative_prompt = forms.CharField(required=False, label="Baseline: negative prompt")
    scales = forms.CharField(
        required=False,
        label="Candidates: scales a",
        initial="5, 10",
        help_text="One candidate for each, by commas.",
    )
    sfg_strength = forms.FloatField(label="Candidates: strength w̄", initial=2.5, min_value=-1000, max_value=1000)
    switch_after = forms.IntegerField(
        required=False, label="Candidates: switch after tₛ iterations", help_text="Empty: half of the iterations."
    )

    other_candidates = TextField(
        required=False,
        label="Other candidates",
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="One a line, as JSON, for instance "
        '{"method": "perturbed_attention", "strength": 3, "text_strength": 7.5}. '
        "Without an opening, the baseline is it. A list of numbers, such as [1, 3, 9], is a sweep: a candidate each. "
        "Once the plan is saved, the study’s page leads to its candidates, "
        "where every setting has a field of its own.",
    )

    compare = compare_field()

    measure_strength = forms.IntegerField(
        required=False,
        label="Effective strength: measured at every n-th iteration",
        help_text="In terms of classifier-free guidance; one evaluation more for each picture and measured "
        "iteration that computes no empty prompt. Empty: not measured.",
    )

    primary_comparison = forms.IntegerField(
        required=False,
        initial=1,
        label="Primary outcome: number of the comparison",
        help_text="In the order of the comparisons, as the study’s page lists them. Results put it first; all others "
        "are secondary.",
    )
    primary_criterion = forms.CharField(
        required=False, label="Primary outcome: criterion", help_text="Its name. Empty: the first criterion."
    )
    equivalence_margin = forms.FloatField(
        required=False,
        label="Margin of equivalence, points of net preference",
        help_text="Two arms within it count as equally good; it is tested only where it is set here, before opening.",
    )

    exclusion_rules = TextField(
        required=False,
        label="Exclusion rules",
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Whom, and which answers, results will leave out. Stated before collecting, they are no choice "
        "made after seeing results.",
    )
    stopping_rule = TextField(
        required=False,
        label="Stopping rule",
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="When collecting ends. Empty: when the quota has been rated.",
    )

    groups = (
        ("Prompts", ("prompt_set", *SamplingFields.base_fields)),
        ("Pictures", ("checkpoint", "scheduler", "steps", "dtype", "batch_size")),
        (
            "Guidance",
            (
                *("strength", "negative_prompt", "scales", "sfg_strength", "switch_after", "other_candidates"),
                "measure_strength",
            ),
        ),
        ("Comparisons", ("compare",)),
        *ProcedureFields.procedure_groups,
        (
            "Analysis",
            ("primary_comparison", "primary_criterion", "equivalence_margin", "exclusion_rules", "stopping_rule"),
        ),
    )
    owners = {
        "baseline": "strength",
        "candidates": "scales",
        "comparisons": "compare",
        "criteria": "criterion1_question",
        "end_returns": "end_partial_code",
    }  # the configuration's field -> the form's

    def __init__(self, *args: Any, study: Study | None = None, user: Viewer | None = None, **kwargs: Any) -> None:
        self.study = study
        self.stored_configuration = configuration_of(study) if study is not None else None
        if study is not None and self.stored_configuration is not None:
            kwargs["initial"] = self.values_of(study, self.stored_configuration)
        super().__init__(*args, **kwargs)
        if study is None:
            del self.fields["read_as"]
        if user is not None:
            self.fields["prompt_set"].queryset = prompt_sets_of(user)  # type: ignore[attr-defined]
        self._offer_pairs()
        candidates = self.stored_configuration.candidates if self.stored_configuration else ()
        for name in GUIDANCE_FIELDS:
            if values := how_they_differ(candidates, name):
                self.fields[name].help_text = f"Now {values}. A new value here is for all of them."

    def _offer_pairs(self) -> None:
        """Add a box for every two arms of a stored plan, and say how many comparisons each choice makes."""
        stored = self.stored_configuration
        self.pair_names: tuple[str, ...] = ()
        field = self.fields["compare"]
        assert isinstance(field, forms.ChoiceField)
        if stored is None:
            field.help_text = "Once the plan is saved, single pairs can be chosen too."
            return
        boxes = pair_fields(stored)
        self.fields |= boxes
        self.pair_names = tuple(boxes)
        field.help_text = counts_in_words(stored)
        if boxes:
            field.choices = CHOICES
            field.help_text += " Where pairs are ticked, a new arm is compared with the baseline."

    @property
    def sections(self) -> list[Section]:
        """Return the fields under their headings; optional ones without values or errors are folded."""
        groups = [(t, (*names, *self.pair_names) if "compare" in names else names) for t, names in self.groups]
        return [Section(title, [self[name] for name in names]) for title, names in groups]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        others = Study.objects.filter(name=name)
        if self.study is not None:
            others = others.exclude(pk=self.study.pk)
        if others.exists():
            raise ValidationError(f"There is a study named “{name}” already.")
        return name

    def clean_checkpoint(self) -> str:
        return allowed_model(self.cleaned_data["checkpoint"])

    def clean_primary_comparison(self) -> int:
        number: int | None = self.cleaned_data["primary_comparison"]
        return 1 if number is None else number

    def clean_measure_strength(self) -> int:
        return self.cleaned_data["measure_strength"] or 0

    def clean_scales(self) -> tuple[float, ...]:
        return numbers(self.cleaned_data["scales"])

    def clean(self) -> dict[str, Any]:
        """Build the configuration, and add its errors to the fields that they concern."""
        values: dict[str, Any] = super().clean() or {}
        if self.errors:
            return values
        try:
            values["configuration"] = self._configuration(values)
        except ConfigurationError as error:
            for name, text in error.errors.items():
                field = self.owners.get(name, name)
                self.add_error(field if field in self.fields else None, text)
        except GuidanceError as error:
            self.add_error("scales", str(error))
        else:
            self._check_steps(values["configuration"])
        return values

    def _check_steps(self, configuration: StudyConfiguration) -> None:
        """Refuse iterations that no checkpoint takes. Plans that are stored with such ones can still be read."""
        for number, part in enumerate(() if configuration.ready_made else arms_by_part(configuration)):
            try:
                check_steps(part.scheduler, part.steps)
            except InputError as error:
                self.add_error("other_candidates" if number else "steps", str(error))

    def _configuration(self, values: dict[str, Any]) -> StudyConfiguration:
        names = {field.name for field in dataclasses.fields(StudyConfiguration)}
        settings = {name: value for name, value in values.items() if name in names}
        configuration, changed_fields = self.stored_configuration, set(self.changed_data)
        baseline = changed_baseline(configuration.baseline if configuration else None, changed_fields, values)
        opening = opening_of(baseline) or ClassifierFree(values["strength"])
        changes: dict[str, Any] = {
            name: values[field] for field, name in GUIDANCE_FIELDS.items() if field in changed_fields
        }
        candidates: tuple[Guidance, ...] = configuration.candidates if configuration else ()
        default = SegmentationFree(1.0, values["sfg_strength"], values["switch_after"], opening=opening)
        if configuration is not None:
            candidates = with_opening(candidates, opening_of(configuration.baseline), opening)
        before = (baseline, *candidates)
        candidates = changed_candidates(candidates, values["scales"], changes, default)
        if configuration is None or "other_candidates" in changed_fields:
            try:
                candidates = changed_others(candidates, read_others(values["other_candidates"], opening))
            except GuidanceError as error:
                raise ConfigurationError({"other_candidates": str(error)}) from error
        arms = (baseline, *candidates)
        comparisons = comparisons_of(values, configuration, arms)
        settings |= {"baseline": baseline, "candidates": candidates, "comparisons": comparisons}
        if configuration is not None and "primary_comparison" not in changed_fields:
            settings["primary_comparison"] = kept_primary(configuration, arms, comparisons, before)
        return dataclasses.replace(configuration, **settings) if configuration else StudyConfiguration(**settings)

    @classmethod
    def values_of(cls, study: Study, configuration: StudyConfiguration) -> dict[str, Any]:
        """Return initial values that show a stored plan; of its guidance, what this form can express."""
        values: dict[str, Any] = {
            "name": study.name,
            "prompt_set": study.prompt_set_id,
            "read_as": draft_sha256(study),
        }
        values |= {name: getattr(configuration, name) for name in cls.base_fields if hasattr(configuration, name)}
        values |= cls.values_of_configuration(configuration) | cls.values_of_procedure(configuration)
        if isinstance(configuration.baseline, ClassifierFree):
            values |= {
                "strength": configuration.baseline.strength,
                "negative_prompt": configuration.baseline.negative_prompt,
            }
        candidates = segmentation_free(configuration.candidates)
        values |= initial_of(configuration) | {"scales": "", "other_candidates": others_text(configuration.candidates)}
        if candidates:
            values |= {
                "scales": ", ".join(number_text(guidance.scale) for guidance in candidates),
                "sfg_strength": candidates[0].strength,
                "switch_after": candidates[0].switch_after,
            }
        return values


class InvitationForm(forms.Form):
    """How many personal links to make, and a note that describes them."""

    count = forms.IntegerField(min_value=1, max_value=500, initial=1, label="New links")
    note = forms.CharField(max_length=100, required=False, label="Note")
