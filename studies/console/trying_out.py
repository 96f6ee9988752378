"""Let admins try a study out: walk it as an evaluator, and invite people to a pilot."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from evenhand.studies import audit
from evenhand.studies.access import Right, study_of
from evenhand.studies.console.forms import InvitationForm
from evenhand.studies.models import Evaluator, Rating, Study
from evenhand.studies.rating.enrolment import enrol
from evenhand.studies.rating.preview import begin_anew, preview_link


@login_required
@require_POST
def preview(request: HttpRequest, pk: int) -> HttpResponse:
    """Begin a walk over the evaluator's pages at the first one."""
    study = study_of(request.user, pk, Right.READ)
    if study.state != Study.State.READY:
        messages.error(request, f"“{study.name}” is {study.state}: only a study that is ready can be previewed.")
        return redirect("console:study", pk=pk)
    begin_anew(request, study)
    return redirect(preview_link(study))


@login_required
@require_POST
def invite_to_pilot(request: HttpRequest, pk: int) -> HttpResponse:
    """Make personal links of a pilot's people: their answers and their places are never the study's."""
    study = study_of(request.user, pk)
    form = InvitationForm(request.POST)
    assert isinstance(request.user, AbstractBaseUser)
    if study.state not in (Study.State.READY, Study.State.COLLECTING):
        messages.error(request, f"“{study.name}” is {study.state}: a pilot needs a study that is ready or open.")
    elif not form.is_valid():
        problems = [f"{name}: {' '.join(map(str, texts))}" for name, texts in form.errors.items()]
        messages.error(request, "; ".join(problems))
    else:
        count = form.cleaned_data["count"]
        with transaction.atomic():
            for _ in range(count):
                enrol(study, note=form.cleaned_data["note"], pilot=True)
            audit.record(study, "pilot invited", actor=request.user, count=count)
        messages.success(request, "The links stand on the page of people, marked as the pilot’s.")
    return redirect(f"{reverse('console:study', args=[pk])}#evaluators")


def pilot_counts(study: Study) -> dict[str, int]:
    """Count the pilot's people and their answers; two queries."""
    people = Evaluator.objects.filter(study=study, pilot=True).aggregate(
        invited=Count("pk"),
        begun=Count("pk", filter=Q(consented_at__isnull=False)),
        finished=Count("pk", filter=Q(finished_at__isnull=False)),
    )
    answers = Rating.objects.filter(evaluator__study=study, evaluator__pilot=True, superseded=False, deleted_at=None)
    return people | {"answers": answers.count() if people["begun"] else 0}
