"""Let a study admin add, change and remove a draft's candidates, each by a form of its method's settings.

A candidate is named by its fingerprint, and a step changes that candidate alone: two admins who work on different ones,
or on other parts of the plan, take nothing from each other.
"""

from __future__ import annotations

import json

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from evenhand.errors import InputError
from evenhand.generation.guidance import Guidance, GuidanceError, Uploaded, fingerprint, from_dict
from evenhand.studies.access import study_of
from evenhand.studies.changed_arms import with_candidates
from evenhand.studies.configuration import ConfigurationError, StudyConfiguration, compared_in_words
from evenhand.studies.console.method_fields import CandidateForm, key_of, new_candidate, offered_labels
from evenhand.studies.drafts import StaleDraftError, change_draft, configuration_of, draft_sha256
from evenhand.studies.models import Study


class GoneError(InputError):
    """A change of a candidate that is not in the plan any more; nothing was changed."""


SHORT = 16  # hex digits of a fingerprint in addresses


@login_required
@require_GET
def candidates(request: HttpRequest, pk: int) -> HttpResponse:
    """List a draft's candidates, and offer every method for another one."""
    study = study_of(request.user, pk)
    if study.state != Study.State.DRAFT:
        return no_draft(request, study)
    configuration = configuration_of(study)
    rows = [(_key(each), each.label(), isinstance(each, Uploaded)) for each in configuration.candidates]
    context = {
        "study": study,
        "baseline": configuration.baseline.label(),
        "rows": rows,
        "primary": compared_in_words(configuration)[configuration.primary_comparison - 1],
        "methods": offered_labels(),
    }
    return render(request, "console/candidates.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest, pk: int) -> HttpResponse:
    """Fill in the settings of one more candidate; the address names its method."""
    study = study_of(request.user, pk)
    try:
        guidance = new_candidate(request.GET.get("method", ""), configuration_of(study).baseline)
    except GuidanceError as error:
        messages.error(request, str(error))
        return redirect("console:candidates", pk=pk)
    return _form_page(request, study, guidance, None)


@login_required
@require_http_methods(["GET", "POST"])
def change(request: HttpRequest, pk: int, key: str) -> HttpResponse:
    """Change the settings of a candidate; of one that is gone, what was filled in is offered as one more."""
    study = study_of(request.user, pk)
    stored = next((each for each in configuration_of(study).candidates if _key(each) == key), None)
    guidance = stored or _original(request)
    if guidance is None:
        messages.error(request, "There is no such candidate any more.")
        return redirect("console:candidates", pk=pk)
    if isinstance(guidance, Uploaded):
        messages.error(request, "Uploaded pictures are not changed: remove the candidate, and upload it again.")
        return redirect("console:candidates", pk=pk)
    return _form_page(request, study, guidance, guidance)


def _original(request: HttpRequest) -> Guidance | None:
    """Return the guidance that a form was made from, by its hidden field."""
    try:
        return from_dict(json.loads(request.POST.get("original", "")))
    except (ValueError, RecursionError):
        return None


@login_required
@require_POST
def remove(request: HttpRequest, pk: int, key: str) -> HttpResponse:
    """Take a candidate out of the plan."""
    study = study_of(request.user, pk)
    found = next((each for each in configuration_of(study).candidates if _key(each) == key), None)
    if found is not None:  # else a second press of the button
        try:
            _store(request, study, found, None)
        except InputError as error:
            messages.error(request, _words(error))
        else:
            messages.success(request, f"Removed: {found.label()}.")
    return redirect("console:candidates", pk=pk)


def _form_page(request: HttpRequest, study: Study, guidance: Guidance, stored: Guidance | None) -> HttpResponse:
    """Show the form of a guidance, and store what it is filled in with in the place of ``stored``, or as one more."""
    if study.state != Study.State.DRAFT:
        return no_draft(request, study)
    others = [each for each in configuration_of(study).candidates if each != guidance]
    form = CandidateForm(request.POST or None, guidance=guidance, candidates=others)
    is_gone = False
    if request.method == "POST" and form.is_valid():
        filled_in: Guidance = form.cleaned_data["guidance"]
        try:
            _store(request, study, stored, filled_in)
        except InputError as error:
            form.add_error(None, _words(error))
            is_gone = isinstance(error, GoneError)
        else:
            messages.success(request, f"{'Changed' if stored else 'Added'}: {filled_in.label()}.")
            return redirect("console:candidates", pk=study.pk)
    context = {
        "study": study,
        "form": form,
        "method": guidance.short,
        "variant": getattr(guidance, guidance.variant_by, ""),
        "about": (type(guidance).__doc__ or "").partition("\n")[0].replace("``", ""),
        "is_new": stored is None or is_gone,
        "action": f"{reverse('console:new_candidate', args=[study.pk])}?method={key_of(guidance)}" if is_gone else "",
    }
    return render(request, "console/candidate.html", context, status=409 if is_gone else 200)


def _store(request: HttpRequest, study: Study, old: Guidance | None, new: Guidance | None) -> None:
    """Put ``new`` in the place of ``old`` (None: at the end; no new one: take it out), whatever else has changed.

    Raises InputError where the plan does not allow it.
    """
    assert isinstance(request.user, AbstractBaseUser)
    while True:
        study = study_of(request.user, study.pk)
        read_as, configuration = draft_sha256(study), configuration_of(study)
        changed = with_candidate(configuration, old, new)
        if changed == configuration:  # a second press of the button
            return
        try:
            change_draft(study=study, actor=request.user, configuration=changed, read_as=read_as)
        except StaleDraftError:  # somebody saved between reading and writing: take the step on what is stored now
            continue
        return


def with_candidate(configuration: StudyConfiguration, old: Guidance | None, new: Guidance | None) -> StudyConfiguration:
    """Return the configuration with ``new`` in the place of ``old``; None: at the end, or taken out.

    Comparisons and the primary outcome stay with their arms, as ``with_candidates`` says. Raises
    ConfigurationError where the candidates cannot be these, and GoneError where ``old`` is not there any more.
    """
    before = list(configuration.candidates)
    if old is None:
        after = before if new is None or new in before else [*before, new]
    elif old in before:
        place = before.index(old)
        after = [*before[:place], *([new] if new else []), *before[place + 1 :]]
    elif new in before:  # a second press of the button
        return configuration
    else:
        raise GoneError("This candidate was changed or removed meanwhile. Save again to add yours as one more.")
    return with_candidates(configuration, after)


def _key(guidance: Guidance) -> str:
    return fingerprint(guidance)[:SHORT]


def _words(error: InputError) -> str:
    return "; ".join(error.errors.values()) if isinstance(error, ConfigurationError) else str(error)


def no_draft(request: HttpRequest, study: Study) -> HttpResponse:
    """Go back to a study whose plan cannot be changed any more, and say so."""
    messages.error(request, f"“{study.name}” is no draft any more: its configuration is frozen")
    return redirect("console:study", pk=study.pk)
