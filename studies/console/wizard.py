"""Serve a plan as steps: a new draft, a page for each step, and a review of what the plan costs."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from evenhand.studies.access import check_may_plan, study_of
from evenhand.studies.configuration import StudyConfiguration, arm_label, compared_in_words
from evenhand.studies.console import pace, plan_review
from evenhand.studies.console.comparison_fields import ratings_a_pair
from evenhand.studies.console.concurrent_edits import Conflict
from evenhand.studies.console.plan_start import StartForm
from evenhand.studies.console.plan_steps import STEPS, StepForm
from evenhand.studies.console.power import plan_box
from evenhand.studies.drafts import DraftError, StaleDraftError, change_draft, configuration_of, create_study
from evenhand.studies.models import RecipeCheck, Study
from evenhand.studies.pipeline import recipe_checks
from evenhand.studies.pipeline.recipe_checks import Findings

REVIEW = "review"


@login_required
@require_http_methods(["GET", "POST"])
def start(request: HttpRequest) -> HttpResponse:
    """Make a draft of a name, a prompt set and a preset, and go on with its first step or with its review."""
    check_may_plan(request.user)
    posted = request.POST if request.method == "POST" else None
    form = StartForm(posted, user=request.user, preset=request.GET.get("preset", ""))
    if form.is_valid():
        assert isinstance(request.user, AbstractBaseUser)
        study = create_study(
            owner=request.user,
            name=form.cleaned_data["name"],
            prompt_set=form.cleaned_data["prompt_set"],
            configuration=form.cleaned_data["configuration"],
        )
        to_review = REVIEW in request.POST
        if to_review:
            _try_recipe(request, study)
        return redirect("console:plan_step", pk=study.pk, step=REVIEW if to_review else "sampling")
    return render(request, "console/plan_start.html", {"form": form})


@login_required
@require_http_methods(["GET", "POST"])
def plan_step(request: HttpRequest, pk: int, step: str) -> HttpResponse:
    """Show a step of a draft's plan, and save its fields; the rest of the plan stays as it is stored."""
    study = study_of(request.user, pk)
    if step not in (*STEPS, REVIEW):
        raise Http404(f"there is no step {step}")
    if study.state != Study.State.DRAFT:
        return _frozen(request, study)
    if step == REVIEW:
        page = "console/_recipe_check.html" if getattr(request, "htmx", False) else "console/plan_review.html"
        return render(request, page, _review(study, request))
    form = StepForm(request.POST if request.method == "POST" else None, slug=step, study=study, user=request.user)
    conflicts: list[Conflict] = []
    if form.is_valid():
        try:
            _save(request, study, form)
        except StaleDraftError:
            study = study_of(request.user, pk)
            conflicts = form.conflicts_with(StepForm(slug=step, study=study, user=request.user))
        except DraftError:
            return _frozen(request, study)
        if not conflicts:
            to_review = REVIEW in request.POST
            if step == "recipe" or to_review:
                _try_recipe(request, study)
            return redirect("console:plan_step", pk=pk, step=REVIEW if to_review else following(step))
    context = _context(study, step) | {"form": form, "step": STEPS[step], "conflicts": conflicts}
    return render(request, "console/plan_step.html", context, status=409 if conflicts else 200)


def _try_recipe(request: HttpRequest, study: Study) -> None:
    """Let a worker try what the review will tell; a plan of pictures that are there has nothing to try."""
    assert isinstance(request.user, AbstractBaseUser)
    if not configuration_of(study).ready_made:
        recipe_checks.ask(study, actor=request.user)


def following(step: str) -> str:
    """Return the slug of the step after one; after the last, the review."""
    slugs = [*STEPS, REVIEW]
    return slugs[slugs.index(step) + 1]


def _save(request: HttpRequest, study: Study, form: StepForm) -> None:
    assert isinstance(request.user, AbstractBaseUser)
    change_draft(
        study=study,
        actor=request.user,
        configuration=form.cleaned_data["configuration"],
        name=form.cleaned_data["name"],
        prompt_set=form.cleaned_data["prompt_set"],
        read_as=form.cleaned_data["read_as"],
    )


def _frozen(request: HttpRequest, study: Study) -> HttpResponse:
    messages.error(request, f"“{study.name}” is no draft any more: its plan is frozen.")
    return redirect("console:study", pk=study.pk)


def _context(study: Study, slug: str) -> dict[str, Any]:
    """Return what every step shows: the steps with their marks, and the place among them."""
    configuration = configuration_of(study)
    check = None if configuration.ready_made else recipe_checks.latest(study, configuration)
    return {
        "study": study,
        "configuration": configuration,
        "steps": STEPS,
        "slug": slug,
        "check": check,
        "marks": plan_review.marks_of(study, configuration, check),
    }


def _review(study: Study, request: HttpRequest) -> dict[str, Any]:
    context = _context(study, REVIEW)
    configuration: StudyConfiguration = context["configuration"]
    share = plan_review.share_of(configuration)
    return context | {
        "arms": [arm_label(guidance) for guidance in configuration.arms],
        "compared": compared_in_words(configuration),
        **({} if configuration.ready_made else _making(study, configuration, context["check"])),
        "share": share,
        "time": pace.time_of(configuration, share.showings, request),
        "ratings_a_pair": ratings_a_pair(configuration, len(configuration.compared)),
        "power": plan_box(configuration),
        "stopped": any(mark.stops for mark in context["marks"].values()),
    }


def _making(study: Study, configuration: StudyConfiguration, check: RecipeCheck | None) -> dict[str, Any]:
    """Return what the pictures cost, and what a worker that tried the recipe says of it."""
    cost = plan_review.cost_of(configuration)
    workers = plan_review.workers()
    context: dict[str, Any] = {"cost": cost, "workers": workers}
    if check is not None and check.state == RecipeCheck.State.DONE:
        findings = Findings.of(check)
        seconds = plan_review.seconds_of(cost, findings, study.prompt_set.count)
        context |= {"findings": findings, "seconds": seconds / max(1, workers.alive)}
    return context | {"moving": check is not None and not check.finished_at}
