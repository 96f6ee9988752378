"""Let a study admin invite and exclude evaluators, and renew the enrolment link."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from evenhand.studies import audit
from evenhand.studies.access import study_of
from evenhand.studies.console.forms import InvitationForm
from evenhand.studies.exclusions import ExclusionError, exclude, free_places, lift
from evenhand.studies.links import renew_enrolment_link
from evenhand.studies.models import Evaluator
from evenhand.studies.rating.enrolment import EnrolmentError, enrol


def _back(pk: int) -> HttpResponse:
    return redirect(reverse("console:study", args=[pk]) + "#evaluators")


def back_to_people(request: HttpRequest, pk: int) -> HttpResponse:
    """Return to the people page as it was searched, sorted and turned."""
    query = request.POST.get("query", "")
    return redirect(reverse("console:people", args=[pk]) + (f"?{query}" if query else ""))


@login_required
@require_POST
def invite(request: HttpRequest, pk: int) -> HttpResponse:
    """Make personal links."""
    study = study_of(request.user, pk)
    form = InvitationForm(request.POST)
    if not form.is_valid():
        problems = [f"{name}: {' '.join(map(str, texts))}" for name, texts in form.errors.items()]
        messages.error(request, "; ".join(problems))
        return redirect("console:study", pk=pk)
    assert isinstance(request.user, AbstractBaseUser)
    count = form.cleaned_data["count"]
    try:
        with transaction.atomic():
            for _ in range(count):
                enrol(study, note=form.cleaned_data["note"])
            audit.record(study, audit.INVITED, actor=request.user, count=count)
    except EnrolmentError as error:
        messages.error(request, str(error))
    return _back(pk)


@login_required
@require_POST
def change_exclusion(request: HttpRequest, pk: int, evaluator: int) -> HttpResponse:
    """Exclude an evaluator for a reason, free the places of one who is excluded, or lift the exclusion."""
    study = study_of(request.user, pk)
    person = get_object_or_404(Evaluator, study=study, pk=evaluator)
    assert isinstance(request.user, AbstractBaseUser)
    try:
        if request.POST.get("lift"):
            lift(person, actor=request.user)
        elif request.POST.get("free") == "only":
            free_places(person, actor=request.user)
        else:
            exclude(
                person,
                reason=request.POST.get("reason", ""),
                actor=request.user,
                free=request.POST.get("free") == "1",
            )
    except ExclusionError as error:
        messages.error(request, str(error))
    return back_to_people(request, pk)


@login_required
@require_POST
def renew_link(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a new enrolment link; the old one is revoked. Personal links stay."""
    study = study_of(request.user, pk)
    assert isinstance(request.user, AbstractBaseUser)
    renew_enrolment_link(study, actor=request.user)
    messages.success(request, "The enrolment link is new. The old one opens nothing any more.")
    return _back(pk)
