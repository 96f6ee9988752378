"""Serve the study admin's pages: the studies, and a study's plan, pairs and steps."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from evenhand.errors import InputError
from evenhand.studies import lifecycle, safety_flags, undo
from evenhand.studies.access import studies_of, study_of
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.console.concurrent_edits import Conflict
from evenhand.studies.console.downloads import population_of
from evenhand.studies.console.forms import InvitationForm, StudyForm
from evenhand.studies.console.power import plan_box
from evenhand.studies.console.study_page import study_context
from evenhand.studies.drafts import DraftError, StaleDraftError, change_draft, configuration_of, create_study
from evenhand.studies.models import Pair, PromptSet
from evenhand.studies.pipeline import stages

PAIRS_PER_PAGE = 24


@login_required
@require_GET
def studies(request: HttpRequest) -> HttpResponse:
    """List the studies that this admin may see."""
    rows = (
        studies_of(request.user)
        .select_related("prompt_set")
        .annotate(
            people=Count("evaluators", filter=Q(evaluators__consented_at__isnull=False), distinct=True),
            finished=Count("evaluators", filter=Q(evaluators__finished_at__isnull=False), distinct=True),
        )
    )
    return render(request, "console/studies.html", {"studies": rows, "any_prompts": PromptSet.objects.exists()})


@login_required
@require_http_methods(["GET", "POST"])
def new_study(request: HttpRequest) -> HttpResponse:
    """Plan a study; the address may bring initial values, such as settings that were tried on a prompt set."""
    form = StudyForm(request.POST or None, initial=request.GET.dict())
    if request.method == "POST" and form.is_valid():
        assert isinstance(request.user, AbstractBaseUser)
        study = create_study(
            owner=request.user,
            name=form.cleaned_data["name"],
            prompt_set=form.cleaned_data["prompt_set"],
            configuration=form.cleaned_data["configuration"],
        )
        return redirect("console:study", pk=study.pk)
    context = {"form": form, "title": "New study", "power": plan_box(StudyConfiguration(checkpoint="demo"))}
    return render(request, "console/plan.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def change_plan(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a draft's plan."""
    study = study_of(request.user, pk)
    form = StudyForm(request.POST or None, study=study)
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
            conflicts = form.conflicts_with(StudyForm(study=study))
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
    study = study_of(request.user, pk)
    context = study_context(study, population=population_of(request), evaluators_page=request.GET.get("people")) | {
        "study": study,
        "invitation": InvitationForm(),
        "base": request.build_absolute_uri("/")[:-1],
    }
    partial = getattr(request, "htmx", False) and not request.htmx.boosted  # type: ignore[attr-defined]
    return render(request, "console/_story.html" if partial else "console/study.html", context)


@login_required
@require_GET
def pairs(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the pairs' images under the names of their arms, which evaluators never see."""
    study = study_of(request.user, pk)
    rows = Pair.objects.filter(comparison__study=study).select_related(
        "prompt", "comparison__baseline", "comparison__candidate", "baseline_image", "candidate_image"
    )
    flagged_images = safety_flags.flagged_images(study)
    only_flagged = "flagged" in request.GET
    if only_flagged:
        rows = rows.filter(Q(baseline_image__in=flagged_images) | Q(candidate_image__in=flagged_images))
    page = Paginator(rows.order_by("comparison__position", "stratum", "prompt__index"), PAIRS_PER_PAGE).get_page(
        request.GET.get("page")
    )
    context = {"study": study, "page": page, "flagged": flagged_images, "filter": "&flagged=1" if only_flagged else ""}
    return render(request, "console/pairs.html", context)


ACTIONS: dict[str, Callable[..., object]] = {
    "prepare": stages.prepare,
    "retry": stages.retry,
    "stop": undo.stop_preparation,
    "draft": undo.return_to_draft,
    "open": lifecycle.open_study,
    "pause": lifecycle.pause_study,
    "resume": lifecycle.resume_study,
    "close": lifecycle.close_study,
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
        ACTIONS[action](study, actor=request.user)
    except InputError as error:
        messages.error(request, str(error))
    else:
        if action == "draft":
            return redirect("console:change_plan", pk=pk)
    return redirect("console:study", pk=pk)
