"""The study admin's pages: the list of studies, a study, its plan, its pairs, its steps."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from evenhand.errors import InputError
from evenhand.studies import lifecycle, safety_flags
from evenhand.studies.access import studies_of, study_of
from evenhand.studies.console.concurrent_edits import Conflict
from evenhand.studies.console.downloads import population_of
from evenhand.studies.console.forms import InvitationForm, PromptFileForm, StudyForm
from evenhand.studies.console.study_page import study_context
from evenhand.studies.drafts import DraftError, StaleDraftError, change_draft, create_study
from evenhand.studies.models import Pair, PromptSet
from evenhand.studies.pipeline import stages
from evenhand.studies.prompt_import import import_file

PAIRS_PER_PAGE = 24


@login_required
@require_GET
def studies(request: HttpRequest) -> HttpResponse:
    """The studies that this admin may see."""
    found = (
        studies_of(request.user)
        .select_related("prompt_set")
        .annotate(
            people=Count("evaluators", filter=Q(evaluators__consented_at__isnull=False), distinct=True),
            finished=Count("evaluators", filter=Q(evaluators__finished_at__isnull=False), distinct=True),
        )
    )
    return render(request, "console/studies.html", {"studies": found, "any_prompts": PromptSet.objects.exists()})


@login_required
@require_http_methods(["GET", "POST"])
def prompt_sets(request: HttpRequest) -> HttpResponse:
    """The prompt sets, and a form that imports another."""
    form = PromptFileForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        upload = form.cleaned_data["file"]
        source = Path(upload.name).name
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"prompts{Path(source).suffix[:10]}"  # a name of its own may be too long for the disk
            with path.open("wb") as file:
                file.writelines(upload.chunks())
            try:
                made = import_file(
                    path,
                    name=form.cleaned_data["name"],
                    column=form.cleaned_data["column"] or None,
                    limit=form.cleaned_data["limit"],
                    source=source,
                )
            except InputError as error:
                form.add_error("file", str(error).replace(str(path), source))
            else:
                messages.success(request, f"Imported {made.count:,} prompts as “{made}”.")
                return redirect("console:prompt_set", pk=made.pk)
    context = {"prompt_sets": PromptSet.objects.all(), "form": form, "section": "prompts"}
    return render(request, "console/prompt_sets.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def new_study(request: HttpRequest) -> HttpResponse:
    """Plan a study; the address may bring initial values, such as settings that were tried on a prompt set."""
    form = StudyForm(request.POST or None, initial=request.GET.dict())
    if request.method == "POST" and form.is_valid():
        assert isinstance(request.user, AbstractBaseUser)
        made = create_study(
            owner=request.user,
            name=form.cleaned_data["name"],
            prompt_set=form.cleaned_data["prompt_set"],
            configuration=form.cleaned_data["configuration"],
        )
        return redirect("console:study", pk=made.pk)
    return render(request, "console/plan.html", {"form": form, "title": "New study"})


@login_required
@require_http_methods(["GET", "POST"])
def change_plan(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a draft's plan."""
    found = study_of(request.user, pk)
    form = StudyForm(request.POST or None, study=found)
    conflicts: list[Conflict] = []
    if request.method == "POST" and form.is_valid():
        assert isinstance(request.user, AbstractBaseUser)
        try:
            change_draft(
                study=found,
                actor=request.user,
                configuration=form.cleaned_data["configuration"],
                name=form.cleaned_data["name"],
                prompt_set=form.cleaned_data["prompt_set"],
                read_as=form.cleaned_data["read_as"],
            )
        except StaleDraftError:
            found = study_of(request.user, pk)
            conflicts = form.conflicts_with(StudyForm(study=found))
        except DraftError as error:
            messages.error(request, str(error))
            return redirect("console:study", pk=pk)
        else:
            return redirect("console:study", pk=pk)
    context = {"form": form, "study": found, "title": f"Plan of {found.name}", "conflicts": conflicts}
    return render(request, "console/plan.html", context, status=409 if conflicts else 200)


@login_required
@require_GET
def study(request: HttpRequest, pk: int) -> HttpResponse:
    """The page of a study. htmx asks for the moving part alone while something is going on."""
    found = study_of(request.user, pk)
    context = study_context(found, population=population_of(request), people_page=request.GET.get("people")) | {
        "study": found,
        "invitation": InvitationForm(),
        "base": request.build_absolute_uri("/")[:-1],
    }
    partial = getattr(request, "htmx", False) and not request.htmx.boosted  # type: ignore[attr-defined]
    return render(request, "console/_story.html" if partial else "console/study.html", context)


@login_required
@require_GET
def pairs(request: HttpRequest, pk: int) -> HttpResponse:
    """The pairs with their pictures, arms named: for the admin's eyes, before opening and after."""
    found = study_of(request.user, pk)
    rows = Pair.objects.filter(comparison__study=found).select_related(
        "prompt", "comparison__baseline", "comparison__candidate", "baseline_image", "candidate_image"
    )
    flagged = safety_flags.flagged_images(found)
    only = "flagged" in request.GET
    if only:
        rows = rows.filter(Q(baseline_image__in=flagged) | Q(candidate_image__in=flagged))
    page = Paginator(rows.order_by("comparison__position", "stratum", "prompt__index"), PAIRS_PER_PAGE).get_page(
        request.GET.get("page")
    )
    context = {"study": found, "page": page, "flagged": flagged, "filter": "&flagged=1" if only else ""}
    return render(request, "console/pairs.html", context)


ACTIONS: dict[str, Callable[..., object]] = {
    "prepare": stages.prepare,
    "retry": stages.retry,
    "open": lifecycle.open_study,
    "pause": lifecycle.pause_study,
    "resume": lifecycle.resume_study,
    "close": lifecycle.close_study,
}


@login_required
@require_POST
def act(request: HttpRequest, pk: int, action: str) -> HttpResponse:
    """One step of a study's life; what cannot be done is said, and nothing changes."""
    found = study_of(request.user, pk)
    if action not in ACTIONS:
        raise Http404(f"there is no action {action}")
    if action == "close" and request.POST.get("name") != found.name:
        messages.error(request, "To close the study for good, type its name exactly. Nothing was changed.")
        return redirect("console:study", pk=pk)
    try:
        ACTIONS[action](found, actor=request.user)
    except InputError as error:
        messages.error(request, str(error))
    return redirect("console:study", pk=pk)
