"""Show a study's plan as it is stored, every version, and serve it for preregistration."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from evenhand.studies.access import studies_of
from evenhand.studies.console.downloads import file_name
from evenhand.studies.models import Study
from evenhand.studies.plan_in_words import changes_between, preregistration, sections_of, settings_of

KINDS = {"json": "application/json", "md": "text/markdown; charset=utf-8"}


@login_required
@require_GET
def versions(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the plan in force, or the version that the address names, and what each version changed."""
    study = _study(request, pk)
    stored = list(study.versions.order_by("number"))
    settings = [settings_of(version) for version in stored]
    name = request.GET.get("version", "")
    shown = next((i for i, version in enumerate(stored) if str(version.number) == name), None)
    if name and shown is None:
        raise Http404(f"“{study.name}” has no version {name}")
    if shown is None:
        shown = next(i for i, version in enumerate(stored) if version.pk == study.current_version_id)
    changed = [(stored[i], changes_between(settings[i - 1], settings[i])) for i in range(1, len(stored))]
    return render(
        request,
        "console/versions.html",
        {
            "study": study,
            "versions": stored,
            "shown": stored[shown],
            "sections": sections_of(settings[shown]),
            "changed": changed,
        },
    )


@login_required
@require_GET
def version_file(request: HttpRequest, pk: int, number: int, kind: str) -> HttpResponse:
    """Serve a version: the JSON whose SHA-256 every rating names, or a document for preregistration."""
    study = _study(request, pk)
    version = get_object_or_404(study.versions, number=number)
    if kind not in KINDS:
        raise Http404(f"a plan is {', '.join(KINDS)}")
    content = version.configuration if kind == "json" else preregistration(study, version)
    response = HttpResponse(content, content_type=KINDS[kind])
    response["Content-Disposition"] = f'attachment; filename="{file_name(study)}-plan-{number}.{kind}"'
    return response


def _study(request: HttpRequest, pk: int) -> Study:
    return get_object_or_404(studies_of(request.user).select_related("prompt_set", "current_version"), pk=pk)
