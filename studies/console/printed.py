"""Serve the printable report of a study."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET

from evenhand.studies.access import studies_of
from evenhand.studies.console.downloads import population_of
from evenhand.studies.models import Study
from evenhand.studies.printed.document import document, with_shown_pair
from evenhand.studies.results.report import study_report

WITH_RESULTS = (Study.State.COLLECTING, Study.State.PAUSED, Study.State.CLOSED)


@login_required
@require_GET
def printed(request: HttpRequest, pk: int) -> HttpResponse:
    """Show design, numbers, texts and checklists on one page for print; before the opening there is nothing to tell."""
    related = studies_of(request.user).select_related("current_version", "prompt_set", "recipe", "subset")
    study = get_object_or_404(with_shown_pair(related), pk=pk)
    if study.state not in WITH_RESULTS:
        messages.error(request, f"“{study.name}” is {study.state}: a report is printed once it has been opened.")
        return redirect("console:study", pk=pk)
    report = study_report(study, population=population_of(request))
    return render(request, "console/printed.html", document(study, report))
