"""Serve the study admin's pages: the studies, and a study's plan, pairs and steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from evenhand.errors import InputError
from evenhand.studies import lifecycle, undo
from evenhand.studies.access import check_may_plan, may_plan, studies_of, study_of
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.console.concurrent_edits import Conflict
from evenhand.studies.console.downloads import population_of
from evenhand.studies.console.forms import StudyForm
from evenhand.studies.console.power import plan_box
from evenhand.studies.console.presets import PRESETS
from evenhand.studies.console.study_page import study_context
from evenhand.studies.drafts import DraftError, StaleDraftError, change_draft, configuration_of, create_study
from evenhand.studies.pipeline import recipe_checks, stages
from evenhand.studies.visibility import prompt_sets_of
from evenhand.studies.watching import alarms


@login_required
@require_GET
def studies(request: HttpRequest) -> HttpResponse:
    """List the studies that this admin may see: those at work, or the archived ones."""
    all_of_them, archived = studies_of(request.user), request.GET.get("archived") == "1"
    rows = (
        all_of_them.filter(archived_at__isnull=not archived)
        .select_related("prompt_set")
        .annotate(
            people=Count(
                "evaluators", filter=Q(evaluators__consented_at__isnull=False, evaluators__pilot=False), distinct=True
            ),
            finished=Count(
                "evaluators", filter=Q(evaluators__finished_at__isnull=False, evaluators__pilot=False), distinct=True
            ),
        )
    )
    found = alarms.find(rows)
    for row in rows:
        vars(row)["alarms"] = found.get(row.pk, [])
    return render(
        request,
        "console/studies.html",
        {
            "studies": rows,
            "archived": archived,
            "any_archived": archived or all_of_them.filter(archived_at__isnull=False).exists(),
            "any_prompts": prompt_sets_of(request.user).exists(),
            "may_plan": may_plan(request.user),
        },
    )


@login_required
@require_http_methods(["GET", "POST"])
def new_study(request: HttpRequest) -> HttpResponse:
    """Plan a study; the address may bring initial values, such as settings that were tried on a prompt set."""
    check_may_plan(request.user)
    preset = PRESETS.get(request.GET.get("preset", ""))
    form = StudyForm(
        request.POST or None, user=request.user, initial={**(preset.values if preset else {}), **request.GET.dict()}
    )
    if request.method == "POST" and form.is_valid():
        assert isinstance(request.user, AbstractBaseUser)
        study = create_study(
            owner=request.user,
            name=form.cleaned_data["name"],
            prompt_set=form.cleaned_data["prompt_set"],
            configuration=form.cleaned_data["configuration"],
        )
        return redirect("console:study", pk=study.pk)
    context = {
        "form": form,
        "title": "New study",
        "power": plan_box(StudyConfiguration(checkpoint="demo")),
        "presets": PRESETS,
        "preset": preset,
    }
    return render(request, "console/plan.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def change_plan(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a draft's plan."""
    study = study_of(request.user, pk)
    form = StudyForm(request.POST or None, user=request.user, study=study)
    conflicts: list[Conflict] = []
    if request.method == "POST" and form.is_valid():
        assert isinstance(request.user, AbstractBaseUser)
        try:
            change_draft(
                study=study,
                actor=request.user,
                configuration=form.cleaned_data["configuration"],
                name=form.cleaned_data["name"],
                prompt_set=form.cleaned_data["prompt_set"],
                read_as=form.cleaned_data["read_as"],
            )
        except StaleDraftError:
            study = study_of(request.user, pk)
            conflicts = form.conflicts_with(StudyForm(user=request.user, study=study))
            if not conflicts:  # a second press of the button, or the same change by somebody else
                return redirect("console:study", pk=pk)
        except DraftError as error:
            messages.error(request, str(error))
            return redirect("console:study", pk=pk)
        else:
            return redirect("console:study", pk=pk)
    context = {
        "form": form,
        "study": study,
        "title": f"Plan of {study.name}",
        "conflicts": conflicts,
        "power": plan_box(configuration_of(study)),
    }
    return render(request, "console/plan.html", context, status=409 if conflicts else 200)


@login_required
@require_GET
def study(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the page of a study; htmx asks for the moving part alone while a worker prepares the study."""
    rows = studies_of(request.user).select_related("current_version", "prompt_set", "recipe", "subset")
    study = get_object_or_404(rows, pk=pk)
    population = population_of(request)  # of the results, which are fetched apart
    context = study_context(study) | {"study": study, "query": f"?ratings={population}" if population else ""}
    partial = getattr(request, "htmx", False) and not request.htmx.boosted  # type: ignore[attr-defined]
    return render(request, "console/_story.html" if partial else "console/study.html", context)


ACTIONS: dict[str, Callable[..., object]] = {
    "try": partial(recipe_checks.ask, again=True),
    "prepare": stages.prepare,
    "retry": stages.retry,
    "stop": undo.stop_preparation,
    "draft": undo.return_to_draft,
    "open": lifecycle.open_study,
    "pause": lifecycle.pause_study,
    "resume": lifecycle.resume_study,
    "close": lifecycle.close_study,
    "archive": lifecycle.archive_study,
    "restore": lifecycle.restore_study,
}


@login_required
@require_POST
def act(request: HttpRequest, pk: int, action: str) -> HttpResponse:
    """Take one step of a study's life; a step that is not allowed shows a message and changes nothing."""
    study = study_of(request.user, pk)
    if action not in ACTIONS:
        raise Http404(f"there is no action {action}")
    if action == "close" and request.POST.get("name") != study.name:
        messages.error(request, "To close the study for good, type its name exactly. Nothing was changed.")
        return redirect("console:study", pk=pk)
    try:
        accepted = {"accept_odd_pairs": True} if action == "open" and request.POST.get("accept_odd_pairs") else {}
        ACTIONS[action](study, actor=request.user, **accepted)
    except InputError as error:
        messages.error(request, str(error))
    else:
        if action == "draft":
            return redirect("console:change_plan", pk=pk)
    if action == "try":
        return redirect(reverse("console:plan_step", args=[pk, "review"]) + "#recipe-check")
    return redirect("console:study", pk=pk)
