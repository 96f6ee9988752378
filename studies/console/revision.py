"""The page that changes a prepared study's quota and texts."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from evenhand.studies.access import study_of
from evenhand.studies.configuration import ConfigurationError
from evenhand.studies.drafts import configuration_of
from evenhand.studies.revision import REVISABLE, RevisionError, revise


class RevisionForm(forms.Form):
    """What may change after the preparation."""

    quota = forms.IntegerField(label="Evaluators wanted", help_text="Booklets given out stay given out.")
    lease_minutes = forms.IntegerField(
        label="Lease, minutes",
        help_text="Who is silent for longer may lose the rest of the booklet to somebody else.",
    )
    consent = forms.CharField(
        widget=forms.Textarea,
        label="Consent text",
        help_text="For those who come from now on; who has consented keeps what was read.",
    )
    contact = forms.CharField(required=False)
    approval = forms.CharField(required=False, label="Ethics approval")
    debriefing = forms.CharField(required=False, widget=forms.Textarea)
    completion_code = forms.CharField(required=False)
    completion_url = forms.CharField(required=False, label="Return address", help_text="{code} stands for the code.")


@login_required
@require_http_methods(["GET", "POST"])
def revision(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what may change, and make a new version of it."""
    study = study_of(request.user, pk)
    configuration = configuration_of(study)
    values: dict[str, Any] = {name: getattr(configuration, name) for name in REVISABLE}
    form = RevisionForm(request.POST or None, initial=values)
    if request.method == "POST" and form.is_valid():
        assert isinstance(request.user, AbstractBaseUser)
        try:
            version = revise(study, actor=request.user, **form.cleaned_data)
        except ConfigurationError as error:
            for name, text in error.errors.items():
                form.add_error(name if name in form.fields else None, text)
        except RevisionError as error:
            messages.error(request, str(error))
            return redirect("console:study", pk=pk)
        else:
            messages.success(request, f"Version {version.number} is in force.")
            return redirect("console:study", pk=pk)
    return render(request, "console/revise.html", {"form": form, "study": study, "versions": study.versions.all()})
