"""Serve the page that changes a prepared study's quota and texts."""

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
from evenhand.studies.console.concurrent_edits import ConcurrentEditForm, Conflict
from evenhand.studies.console.panel_fields import EndFields, minutes_field
from evenhand.studies.console.procedure_fields import RECRUITMENT
from evenhand.studies.console.text_field import LINES, TextField
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Study
from evenhand.studies.revision import REVISABLE, RevisionError, StaleRevisionError, revise


class RevisionForm(ConcurrentEditForm, EndFields):
    """The settings that may change after the preparation."""

    read_as = forms.IntegerField(widget=forms.HiddenInput)
    quota = forms.IntegerField(label="Evaluators wanted", help_text="Booklets given out stay given out.")
    lease_minutes = forms.IntegerField(
        label="Lease, minutes",
        help_text="Who is silent for longer may lose the rest of the booklet to somebody else.",
    )
    consent = TextField(
        label="Consent text",
        help_text="For those who come from now on; who has consented keeps what was read.",
    )
    contact = forms.CharField(required=False)
    approval = forms.CharField(required=False, label="Ethics approval")
    debriefing = TextField(required=False)
    payment = TextField(required=False, widget=forms.Textarea(attrs=LINES))
    recruitment = TextField(required=False, label=RECRUITMENT, widget=forms.Textarea(attrs=LINES))
    minutes = minutes_field()
    skips_are_paid = forms.BooleanField(required=False, label="Skipped pairs are paid like answered ones")
    completion_code = forms.CharField(required=False)
    completion_url = forms.CharField(
        required=False,
        label="Return address",
        help_text="{code} and {id} stand for the code and the panel’s id of the person.",
    )
    redirect_at_once = forms.BooleanField(required=False, label="Go back to the panel by itself")

    field_order = (
        "quota",
        "lease_minutes",
        "consent",
        "contact",
        "approval",
        "debriefing",
        "payment",
        "recruitment",
        "minutes",
        "skips_are_paid",
        "completion_code",
        "completion_url",
        "redirect_at_once",
    )  # then the other ends


@login_required
@require_http_methods(["GET", "POST"])
def revision(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the settings that may change, and make a new version of them."""
    study = study_of(request.user, pk)
    form = RevisionForm(request.POST or None, initial=_values_in_force(study))
    conflicts: list[Conflict] = []
    if request.method == "POST" and form.is_valid():
        assert isinstance(request.user, AbstractBaseUser)
        changes = {name: form.cleaned_data[name] for name in REVISABLE}
        try:
            version = revise(study, actor=request.user, read_as=form.cleaned_data["read_as"], **changes)
        except ConfigurationError as error:
            for name, text in error.errors.items():
                field = "end_partial_code" if name == "end_returns" else name
                form.add_error(field if field in form.fields else None, text)
        except StaleRevisionError:
            study = study_of(request.user, pk)
            conflicts = form.conflicts_with(RevisionForm(initial=_values_in_force(study)))
            if not conflicts:  # a second press of the button, or the same change by somebody else
                assert study.current_version is not None
                messages.success(request, f"Version {study.current_version.number} is in force.")
                return redirect("console:study", pk=pk)
        except RevisionError as error:
            messages.error(request, str(error))
            return redirect("console:study", pk=pk)
        else:
            messages.success(request, f"Version {version.number} is in force.")
            return redirect("console:study", pk=pk)
    context = {"form": form, "study": study, "versions": study.versions.all(), "conflicts": conflicts}
    return render(request, "console/revise.html", context, status=409 if conflicts else 200)


def _values_in_force(study: Study) -> dict[str, Any]:
    """Return the settings that may change, with the values now in force."""
    configuration = configuration_of(study)
    assert study.current_version is not None  # configuration_of read it
    values: dict[str, Any] = {name: getattr(configuration, name) for name in REVISABLE}
    return values | EndFields.values_of_ends(configuration.end_returns) | {"read_as": study.current_version.number}
