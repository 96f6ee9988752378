"""Serve the page that copies, changes or deletes a study, and take those steps."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from evenhand.errors import InputError
from evenhand.studies import undo
from evenhand.studies.access import Right, check_may_plan, may_plan, study_of
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Stage, Study


class CopyForm(forms.Form):
    """The name of a copy."""

    name = forms.CharField(max_length=Study._meta.get_field("name").max_length, label="Name of the copy")
    keep_out = forms.BooleanField(required=False, label="Keep out people who take part in this study")

    def clean_name(self) -> str:
        """Refuse a name that a study bears."""
        name: str = self.cleaned_data["name"]
        if Study.objects.filter(name=name).exists():
            raise forms.ValidationError(f"There is a study “{name}” already.")
        return name


@login_required
@require_GET
def manage(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what can be done with a study as a whole, and what each step would delete."""
    study = study_of(request.user, pk, Right.READ)
    return render(request, "console/manage.html", _context(request, study))


def _context(request: HttpRequest, study: Study, form: CopyForm | None = None) -> dict[str, Any]:
    return {
        "study": study,
        "may_plan": may_plan(request.user),
        "form": form or CopyForm(initial={"name": f"{study.name} (copy)"[:100]}),
        "answered": undo.has_answers(study),
        "ready_made": configuration_of(study).ready_made,
        "losses": undo.losses(study),
        "running": study.stages.filter(state=Stage.State.RUNNING).exists(),
    }


@login_required
@require_POST
def copy(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a draft of a study's plan under another name."""
    study = study_of(request.user, pk, Right.READ)
    check_may_plan(request.user)
    form = CopyForm(request.POST)
    if not form.is_valid():
        return render(request, "console/manage.html", _context(request, study, form), status=400)
    assert isinstance(request.user, AbstractBaseUser)
    try:
        keep_out = form.cleaned_data["keep_out"]
        made = undo.duplicate(study, name=form.cleaned_data["name"], owner=request.user, keep_out=keep_out)
    except InputError as error:
        form.add_error("name", str(error))
        return render(request, "console/manage.html", _context(request, study, form), status=400)
    messages.success(request, f"“{made.name}” is a draft with the plan of “{study.name}”. Change what you need.")
    return redirect("console:change_plan", pk=made.pk)


@login_required
@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a study that nobody has rated, where its name was typed."""
    study = study_of(request.user, pk, Right.OWN)
    if request.POST.get("name") != study.name:
        messages.error(request, "To delete the study, type its name exactly. Nothing was changed.")
        return redirect("console:manage", pk=pk)
    assert isinstance(request.user, AbstractBaseUser)
    try:
        undo.delete_study(study, actor=request.user)
    except InputError as error:
        messages.error(request, str(error))
        return redirect("console:manage", pk=pk)
    messages.success(request, f"“{study.name}” is deleted. Its pictures and prompts are kept for other studies.")
    return redirect("console:studies")
