"""Serve the chapters of a study's page that the page fetches apart, so that each takes few queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import F, QuerySet, Window
from django.db.models.functions import RowNumber
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from evenhand.studies import picture_flags, safety_flags
from evenhand.studies.access import studies_of
from evenhand.studies.arms import arms_of
from evenhand.studies.assignment import booklets
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.console.downloads import population_of
from evenhand.studies.console.evaluator_table import evaluators_context
from evenhand.studies.console.forms import InvitationForm
from evenhand.studies.console.results import primary_of
from evenhand.studies.console.trying_out import pilot_counts
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Image, Pair, Study, SubsetPrompt
from evenhand.studies.results.report import study_report
from evenhand.studies.results.tables.outcomes import several_criteria

EXAMPLES = 3  # images of each stratum
RANDOM_PASS_RATE = 2 / 5  # two of five options lie on the right side of a check
RANDOM_AGREEMENT = 2 * (2 / 5) ** 2 + (1 / 5) ** 2  # left, right or neither twice


@dataclass(frozen=True)
class Part:
    """A chapter: its title, its template, and what computes its context."""

    title: str
    template: str
    context: Callable[[HttpRequest, Study, StudyConfiguration], dict[str, Any]]


@login_required
@require_GET
def part(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    """Answer htmx with one chapter, and a browser without JavaScript with a page of it."""
    related = studies_of(request.user).select_related("current_version", "prompt_set", "recipe", "subset")
    study = get_object_or_404(related, pk=pk)
    if name not in parts_of(study):
        raise Http404(f"“{study.name}” has no chapter {name} now")
    chapter, configuration = PARTS[name], configuration_of(study)
    context = {"study": study, "configuration": configuration, "part": chapter, "prepared": True}
    context |= chapter.context(request, study, configuration)
    is_fragment = getattr(request, "htmx", False)
    return render(request, chapter.template if is_fragment else "console/part.html", context)


def parts_of(study: Study) -> list[str]:
    """Return the names of the parts that a study has in its state, in their order on the page."""
    if study.state in (Study.State.DRAFT, Study.State.PREPARING):
        return []
    return ["pictures", "evaluators", *(["results"] if study.state != Study.State.READY else [])]


def _pictures(_: HttpRequest, study: Study, configuration: StudyConfiguration) -> dict[str, Any]:
    flagged_images = safety_flags.flagged_images(study)
    return {
        "examples": _examples(study, configuration),
        "flagged": len(flagged_images),
        "flagged_prompts": safety_flags.flagged_prompts(flagged_images),
        "screened": safety_flags.was_screened(study),
        **odd_pairs_context(study),
    }


def _evaluators(request: HttpRequest, study: Study, configuration: StudyConfiguration) -> dict[str, Any]:
    return {
        "guarantees": [
            *booklets.guarantees(booklets.cells_of(study), configuration.trials_per_evaluator),
            *procedure_in_words(configuration),
        ],
        "invitation": InvitationForm(),
        "pilot": pilot_counts(study),
        "base": request.build_absolute_uri("/")[:-1],
        **evaluators_context(study, configuration),
    }


def _results(request: HttpRequest, study: Study, _: StudyConfiguration) -> dict[str, Any]:
    report = study_report(study, population=population_of(request))
    return {"report": report, "primary": primary_of(report), "several_criteria": several_criteria(report)}


PARTS = {
    "pictures": Part("Pictures", "console/_examples.html", _pictures),
    "evaluators": Part("Evaluators", "console/_evaluators.html", _evaluators),
    "results": Part("Results", "console/_results.html", _results),
}


def odd_pairs_context(study: Study) -> dict[str, Any]:
    """Return what the page says of pairs that no evaluator should see."""
    odd = picture_flags.odd_pairs(study)
    said = picture_flags.in_words(odd)
    return {**odd, "odd_pairs": said, "without_effect": picture_flags.arms_without_effect(study) if said else []}


def _ready_made_examples(study: Study) -> dict[str, list[dict[str, Any]]]:
    """Return a few baseline images of each stratum of ready-made pairs, with their prompts."""
    examples: dict[str, list[dict[str, Any]]] = {}
    pairs = Pair.objects.filter(comparison__study=study, comparison__position=0).select_related("prompt")
    for pair in _first_of_each_stratum(pairs).order_by("stratum", "prompt__index"):
        examples.setdefault(pair.stratum, []).append({"member": pair, "image": pair.baseline_image_id})
    return examples


def _first_of_each_stratum(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return the first few rows of each stratum, by the prompts' order; there may be ten thousands."""
    place = Window(RowNumber(), partition_by=F("stratum"), order_by="prompt__index")
    return rows.annotate(place=place).filter(place__lte=EXAMPLES)


def _examples(study: Study, configuration: StudyConfiguration) -> dict[str, list[dict[str, Any]]]:
    """Return a few baseline images of each stratum, with prompts and scores."""
    if configuration.ready_made:
        return _ready_made_examples(study)
    final_subset = SubsetPrompt.objects.filter(subset=study.subset_id).exclude(stratum="").select_related("prompt")
    strata: dict[str, list[SubsetPrompt]] = {name: [] for name in configuration.strata.values()}
    for member in _first_of_each_stratum(final_subset).order_by("prompt__index"):
        strata.setdefault(member.stratum, []).append(member)
    prompts = [member.prompt_id for members in strata.values() for member in members]
    arms = arms_of(study)
    images: dict[int, int] = {}
    if arms:
        images = dict(
            Image.objects.filter(
                prompt__in=prompts, recipe=study.recipe_id, arm=arms[0], state=Image.State.DONE
            ).values_list("prompt_id", "pk")
        )
    return {
        name: [{"member": member, "image": images.get(member.prompt_id)} for member in members]
        for name, members in strata.items()
    }


def procedure_in_words(configuration: StudyConfiguration) -> list[str]:
    """Say in sentences what evaluators get beside the pairs, and what it can measure."""
    parts = [
        f"{count} {noun}{'s' if count != 1 else ''}"
        for count, noun in (
            (configuration.practice_trials, "practice pair"),
            (configuration.attention_checks, "attention check"),
            (configuration.repeats, "repeated pair"),
        )
        if count
    ]
    criteria = len(configuration.criteria)
    several = (
        [f"Each pair is asked about by {criteria} criteria one after the other: {criteria} answers a pair."]
        if criteria > 1 and not configuration.runs
        else []
    )
    if not parts:
        return [
            *several,
            "No practice, attention checks or repeated pairs: how careful and how steady people are is not measured.",
        ]
    sentences = [
        *several,
        f"Beside the pairs everybody gets {', '.join(parts)}; they are counted apart and are no part of the results.",
    ]
    if checks := configuration.attention_checks:
        sentences.append(
            f"Failing a check is a flag and leaves nobody out. Somebody who presses keys at random passes "
            f"{'it' if checks == 1 else f'all {checks}'} in {RANDOM_PASS_RATE**checks:.0%} of cases."
        )
    if checks == 1:
        sentences.append("One failed check cannot be told from a slip; panels ask for two.")
    if configuration.repeats:
        sentences.append(
            f"Pressed at random, a repeated pair agrees with its first answer in {RANDOM_AGREEMENT:.0%} of cases."
        )
    return sentences
