"""Serve the way of uploaded pictures into a draft as one more candidate: upload, preview, add."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from evenhand.errors import InputError
from evenhand.studies.access import study_of
from evenhand.studies.console.candidates import no_draft
from evenhand.studies.console.picture_forms import AboutForm, ArmMatchForm, PicturesForm
from evenhand.studies.console.picture_uploads import held_by, receive, user_of
from evenhand.studies.models import Study
from evenhand.studies.uploaded import holding
from evenhand.studies.uploaded.beside import ArmPlan, arm_plan_of, take_arm
from evenhand.studies.uploaded.holding import Held

EXAMPLES = 6  # pictures that the preview shows


@csrf_exempt  # ``receive`` checks the token, after the length
@login_required
@require_http_methods(["GET", "POST"])
def upload(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the form that uploads an arm's pictures; a POST keeps them and leads to their preview."""
    study = study_of(request.user, pk)
    if study.state != Study.State.DRAFT:
        return no_draft(request, study)

    def show(form: PicturesForm, status: int) -> HttpResponse:
        form.fields["pictures"].label = "Archive of pictures (ZIP, TAR), and a table (CSV) if there is one"
        form.fields["pictures"].help_text = "PNG, JPEG or WebP; how folders in it are called does not matter."
        context = {"study": study, "form": form, "most": holding.PICTURE_LIMIT}
        return render(request, "console/arm_pictures.html", context, status=status)

    return receive(request, show, lambda held: redirect("console:arm_pictures_preview", pk=study.pk, token=held.token))


@login_required
@require_http_methods(["GET", "POST"])
def preview(request: HttpRequest, pk: int, token: str) -> HttpResponse:
    """Show which prompts the pictures belong to, and what stands against them; a POST adds them as a candidate."""
    study = study_of(request.user, pk)
    if study.state != Study.State.DRAFT:
        return no_draft(request, study)
    held = held_by(request, token)
    if held is None:
        return redirect("console:arm_pictures", pk=study.pk)
    match_form = ArmMatchForm(request.GET)
    plan, problem = None, ""
    try:
        if match_form.is_valid():
            fit = match_form.cleaned_data["fit"]
            plan = arm_plan_of(held.collection, study, match_form.matching(), fit=fit)
    except InputError as error:
        problem = str(error)
    form = AboutForm(request.POST if request.method == "POST" else None)
    if plan and request.method == "POST" and form.is_valid():
        try:
            added = take_arm(
                plan, held.collection.pictures, study,
                actor=user_of(request), about=form.about(), smaller_copies=False,
            )  # fmt: skip
        except InputError as error:
            form.add_error(None, str(error))
        else:
            holding.remove(held)
            messages.success(request, f"Added: {added.label()}.")
            return redirect("console:candidates", pk=study.pk)
    context = {
        "study": study,
        "held": held,
        "match_form": match_form,
        "plan": plan,
        "error": problem,
        "form": form,
        "query": match_form.query(),
        "examples": _examples(plan, held) if plan else [],
    }
    return render(request, "console/arm_pictures_preview.html", context, status=400 if form.errors else 200)


def _examples(plan: ArmPlan, held: Held) -> list[dict[str, Any]]:
    places = {name: place for place, name in enumerate(held.collection.pictures)}
    texts = {row.index: row.text for row in plan.matched.rows}
    first = sorted(plan.taken.items())[:EXAMPLES]
    return [{"text": texts[index], "file": name, "number": places[name]} for index, name in first]
