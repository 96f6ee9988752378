"""Serve the way of uploaded pictures into a study: upload, preview, take or discard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from evenhand.errors import InputError
from evenhand.studies.access import check_may_plan
from evenhand.studies.console.picture_forms import PairsForm, PicturesForm, TakeForm
from evenhand.studies.console.picture_uploads import held_by, receive, user_of
from evenhand.studies.uploaded import holding
from evenhand.studies.uploaded.collection import plan_of
from evenhand.studies.uploaded.holding import Held
from evenhand.studies.uploaded.plan import Plan
from evenhand.studies.uploaded.taking import take as take_plan

EXAMPLES = 4  # pairs that the preview shows


@csrf_exempt  # ``receive`` checks the token, after the length
@login_required
@require_http_methods(["GET", "POST"])
def pictures(request: HttpRequest) -> HttpResponse:
    """Show the form that uploads pictures; a POST keeps them and leads to their preview."""
    check_may_plan(request.user)

    def show(form: PicturesForm, status: int) -> HttpResponse:
        context = {"form": form, "section": "studies", "most": holding.PICTURE_LIMIT}
        return render(request, "console/pictures.html", context, status=status)

    return receive(request, show, lambda held: redirect("console:pictures_preview", token=held.token))


# ------------------------------------------------------------------------------ preview


@login_required
@require_GET
def preview(request: HttpRequest, token: str) -> HttpResponse:
    """Show which pairs the pictures make, and what stands against them; the query holds the choices."""
    held = held_by(request, token)
    return redirect("console:pictures") if held is None else _preview(request, _read(request, held))


@dataclass
class _Reading:
    """Kept pictures, the form of the choices, and the plan, or why there is none."""

    held: Held
    form: PairsForm
    plan: Plan | None = None
    error: str = ""


def _read(request: HttpRequest, held: Held) -> _Reading:
    form = PairsForm(request.GET, user=user_of(request))
    reading = _Reading(held, form)
    if form.is_valid():
        try:
            reading.plan = plan_of(held.collection, form.matching(), form.configuration(), form.choices())
            form.offer_arms(reading.plan.matched.arms)
        except InputError as error:
            reading.error = str(error)
    return reading


def _preview(request: HttpRequest, reading: _Reading, form: TakeForm | None = None, status: int = 200) -> HttpResponse:
    plan = reading.plan
    context = {
        "section": "studies",
        "held": reading.held,
        "form": reading.form,
        "error": reading.error,
        "plan": plan,
        "query": reading.form.query(),
        "take_form": form or (TakeForm(arms=plan.arms) if plan else None),
        "examples": _examples(reading) if plan else [],
        "configuration": plan.configuration if plan else None,
    }
    return render(request, "console/pictures_preview.html", context, status=status)


def _examples(reading: _Reading) -> list[dict[str, Any]]:
    plan = reading.plan
    assert plan is not None
    places = {name: place for place, name in enumerate(reading.held.collection.pictures)}
    shown = []
    for pair in plan.pairs[:EXAMPLES]:
        row = plan.rows[pair.row]
        arms = (plan.arms[0], pair.candidate)
        shown.append({"text": row.text, "pictures": [(arm, row.files[arm], places[row.files[arm]]) for arm in arms]})
    return shown


# ------------------------------------------------------------------------------ take and discard


@login_required
@require_POST
def take(request: HttpRequest, token: str) -> HttpResponse:
    """Make the study as its preview showed it: the query is the preview's."""
    check_may_plan(request.user)
    held = held_by(request, token)
    if held is None:
        return redirect("console:pictures")
    reading = _read(request, held)
    if reading.plan is None:
        return _preview(request, reading, status=400)
    form = TakeForm(request.POST, arms=reading.plan.arms)
    if not form.is_valid():
        return _preview(request, reading, form, status=400)
    try:
        study = take_plan(
            reading.plan,
            held.collection.pictures,
            name=form.cleaned_data["name"],
            owner=user_of(request),
            prompt_set=reading.form.cleaned_data["prompt_set"],
            about=form.about(),
            smaller_copies=False,
        )
    except InputError as error:
        form.add_error(None, str(error))
        return _preview(request, reading, form, status=400)
    holding.remove(held)
    messages.success(request, f"“{study.name}” has {len(reading.plan.pairs):,} pairs. Look at them before you open it.")
    return redirect("console:study", pk=study.pk)


@login_required
@require_POST
def discard(request: HttpRequest, token: str) -> HttpResponse:
    """Remove uploaded pictures without making a study."""
    held = held_by(request, token)
    if held is not None:
        holding.remove(held)
        messages.success(request, "The uploaded pictures are removed; no study was made.")
    return redirect("console:pictures")
