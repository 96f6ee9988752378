"""Define the forms of uploaded pictures: the files, how they become pairs, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser

from evenhand.errors import InputError
from evenhand.generation.methods.uploaded import LONGEST
from evenhand.studies.access import studies_of
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import PromptSet, Study
from evenhand.studies.uploaded.collection import Matching
from evenhand.studies.uploaded.matching import RULES
from evenhand.studies.uploaded.plan import UNEQUAL, Choices
from evenhand.studies.uploaded.procedures import changed, plain_procedure
from evenhand.studies.uploaded.storing import About
from evenhand.studies.uploaded.taking import free_study_name
from evenhand.studies.visibility import prompt_sets_of


class SeveralFilesInput(forms.ClearableFileInput):
    """A field that takes several files."""

    allow_multiple_selected = True


class SeveralFilesField(forms.FileField):
    """Files as a list."""

    widget = SeveralFilesInput

    def clean(self, data: Any, initial: Any = None) -> list[Any]:
        """Clean each file."""
        given = data if isinstance(data, list | tuple) else [data] if data else []
        if self.required and not given:
            raise forms.ValidationError("Choose at least one file.")
        return [super(SeveralFilesField, self).clean(each, initial) for each in given]


class PicturesForm(forms.Form):
    """Archives and a table, or a folder of the server where one may be read."""

    pictures = SeveralFilesField(
        label="Archives of pictures (ZIP, TAR), and a table (CSV) if there is one",
        required=False,
        help_text="One archive an arm, or one archive with a folder for each arm. PNG, JPEG or WebP.",
    )
    folder = forms.CharField(
        label="Or a folder of this server",
        required=False,
        max_length=1000,
        help_text="Below one of the folders that EVENHAND_IMPORT_ROOTS allows.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not settings.IMPORT_ROOTS:
            del self.fields["folder"]
            self.fields["pictures"].required = True


class BaselineField(forms.ChoiceField):
    """An arm of any name."""

    def valid_value(self, value: Any) -> bool:
        """Take every text: the plan refuses what is no arm."""
        return isinstance(value, str)


class PairsForm(forms.Form):
    """How pictures become pairs, and how they are asked about."""

    prompt_set = forms.ModelChoiceField(
        PromptSet.objects.all(),
        required=False,
        label="Prompt set",
        empty_label="the prompts of the table",
        help_text="Files are matched to its prompts.",
    )
    rule = forms.ChoiceField(label="Without a table", choices=list(RULES.items()), required=False)
    first_number = forms.IntegerField(
        label="Number of the first prompt in file names", min_value=0, max_value=1_000_000, required=False
    )
    baseline = BaselineField(label="Baseline", required=False)
    unequal = forms.ChoiceField(label="Pairs of unequal size", choices=list(UNEQUAL.items()), required=False)
    like = forms.ModelChoiceField(
        Study.objects.none(),
        required=False,
        label="Questions, texts and rules as in",
        empty_label="the paper’s study",
    )
    trials_per_evaluator = forms.IntegerField(
        label="Pairs per evaluator", required=False, help_text="Empty numbers are those of the study named above."
    )
    quota = forms.IntegerField(label="Evaluators wanted", required=False)
    practice_trials = forms.IntegerField(label="Practice pairs", required=False)
    attention_checks = forms.IntegerField(label="Attention checks", required=False)
    hold_out = forms.BooleanField(
        label="Take prompts out of the pairs for practice and checks, where pictures to spare do not suffice",
        required=False,
    )

    NUMBERS = ("trials_per_evaluator", "quota", "practice_trials", "attention_checks")

    def __init__(self, *args: Any, user: AbstractBaseUser, **options: Any) -> None:
        super().__init__(*args, **options)
        studies: Any = self.fields["like"]
        self.fields["prompt_set"].queryset = prompt_sets_of(user)  # type: ignore[attr-defined]
        studies.queryset = studies_of(user).exclude(current_version=None)

    def offer_arms(self, arms: Sequence[str]) -> None:
        """Offer the arms that were found."""
        field: Any = self.fields["baseline"]
        field.choices = [(arm, arm) for arm in arms]

    def matching(self) -> Matching:
        """Return how files are matched."""
        data = self.cleaned_data
        return Matching(data["prompt_set"], data["rule"] or "index", data["first_number"] or 0)

    def choices(self) -> Choices:
        """Return what was chosen of the pairs."""
        data = self.cleaned_data
        return Choices(data["unequal"] or "refuse", data.get("baseline", ""), data["hold_out"])

    def configuration(self) -> StudyConfiguration:
        """Return the procedure. Raises ``ConfigurationError``."""
        data = self.cleaned_data
        like = configuration_of(data["like"]) if data["like"] else None
        numbers = {name: data[name] for name in self.NUMBERS}
        return changed(plain_procedure(like), **numbers)

    def query(self) -> str:
        """Return the choices as an address's query."""
        return urlencode({name: value for name in self.fields if (value := self.data.get(name))})


class ArmMatchForm(forms.Form):
    """How the files of one arm are matched to a study's prompts."""

    rule = forms.ChoiceField(label="Without a table", choices=list(RULES.items()), required=False)
    first_number = forms.IntegerField(
        label="Number of the first prompt in file names", min_value=0, max_value=1_000_000, required=False
    )
    fit = forms.BooleanField(label="Scale pictures of another size to fit, on grey", required=False)

    def matching(self) -> Matching:
        """Return how files are matched."""
        data = self.cleaned_data
        return Matching(None, data["rule"] or "index", data["first_number"] or 0)

    def query(self) -> str:
        """Return the choices as an address's query."""
        return urlencode({name: value for name in self.fields if (value := self.data.get(name))})


class AboutForm(forms.Form):
    """What is said of an arm's pictures."""

    name = forms.CharField(max_length=LONGEST, label="Name of the candidate")
    model = forms.CharField(max_length=LONGEST, required=False, label="Model that made the pictures")
    source = forms.CharField(max_length=LONGEST, required=False, label="Source")
    licence = forms.CharField(max_length=LONGEST, required=False, label="Licence")

    def about(self) -> About:
        """Return what is said."""
        return About(**self.cleaned_data)


class TakeForm(forms.Form):
    """The study's name, and what is said of each arm."""

    name = forms.CharField(max_length=100, label="Name of the study")

    PARTS = (
        ("name", "name for study admins"),
        ("model", "model that made the pictures"),
        ("source", "source"),
        ("licence", "licence"),
    )

    def __init__(self, *args: Any, arms: Sequence[str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.arms = tuple(arms)
        for place, arm in enumerate(arms):
            for part, label in self.PARTS:
                self.fields[f"{part}_{place}"] = forms.CharField(
                    label=f"{arm}: {label}",
                    max_length=LONGEST,
                    required=False,
                    initial=arm if part == "name" else "",
                )

    def clean_name(self) -> str:
        """Refuse a name that a study bears."""
        try:
            return free_study_name(self.cleaned_data["name"])
        except InputError as error:
            raise forms.ValidationError(str(error)) from error

    def about(self) -> dict[str, About]:
        """Return what is said of each arm."""
        return {
            arm: About(**{part: self.cleaned_data[f"{part}_{place}"] for part, _ in self.PARTS})
            for place, arm in enumerate(self.arms)
        }
