"""Serve the page that says which differences a planned study finds, its figure, and its check by simulation."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import numpy as np
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from evenhand.analysis.planning import NONE, Plan, answers, paper_plan, plan_assumptions
from evenhand.analysis.power import SimulatedPower, detectable_difference, simulated_power
from evenhand.analysis.simulated_study import SimulationError
from evenhand.studies.access import studies_of
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.console.policy import FIGURE_POLICY
from evenhand.studies.console.power_form import PowerForm
from evenhand.studies.results import figures

SIMULATED, SECONDS = 1_000, 3.0  # studies at most, and the time after which no other is begun
MOST_RATINGS = 20_000  # of one simulated study: a twentieth of a second
_simulating = threading.Lock()  # one simulation at a time in a process


@login_required
@require_http_methods(["GET", "POST"])
def power(request: HttpRequest) -> HttpResponse:
    """Answer what a plan finds, by formula; a POST to the same address simulates its studies too."""
    form = PowerForm(request.GET.dict(), studies=studies_of(request.user))
    context: dict[str, Any] = {"form": form, "section": "power"}
    if form.is_valid():
        context |= _answers(form)
        if request.method == "POST":
            context |= _simulation(form)
    htmx: Any = getattr(request, "htmx", False)
    partial = htmx and not htmx.history_restore_request
    return render(request, "console/_power_answers.html" if partial else "console/power.html", context)


@login_required
@require_GET
def figure(request: HttpRequest, kind: str) -> HttpResponse:
    """Serve the power curves as SVG, PNG or PDF; ``?theme=dark`` and ``?columns=1`` as of the other figures."""
    form = PowerForm(request.GET.dict(), studies=studies_of(request.user))
    if kind not in figures.KINDS:
        raise Http404(f"a figure is {', '.join(figures.KINDS)}")
    if not form.is_valid():
        raise Http404("these numbers are no plan")
    content = figures.power_curves(
        form.cleaned_data["plan"],
        power=form.cleaned_data["power"] / 100,
        dark=request.GET.get("theme") == "dark",
        columns=1 if request.GET.get("columns") == "1" else 2,
        kind=kind,
    )
    age = "no-cache" if form.cleaned_data["pilot"] else "max-age=3600"
    headers = {"Cache-Control": f"private, {age}", **FIGURE_POLICY}
    return HttpResponse(content, content_type=figures.KINDS[kind], headers=headers)


def _answers(form: PowerForm) -> dict[str, Any]:
    values = form.cleaned_data
    plan: Plan = values["plan"]
    power = values["power"] / 100
    paper = paper_plan(plan.assumed)
    names = [name for name in form.fields if name != "pilot"]
    query = {name: f"{values[name]:.10g}" for name in names if values[name] is not None}
    if values["pilot"]:
        query["pilot"] = values["pilot"].pk
    return {
        "plan": plan,
        "pilot": values["pilot_found"],
        "difference": values["difference"],
        "wanted": values["power"],
        "found": answers(plan, values["difference"] / 100, power=power),
        "paper": detectable_difference(paper.assumed, paper.design, power=power),
        "shares": plan.assumed.model.shares.tolist(),
        "none_share": float(plan.assumed.model.shares[NONE]),
        "uneven": plan.pairs_each % plan.comparisons != 0,
        "query": f"?{urlencode(query)}",
    }


def _simulation(form: PowerForm) -> dict[str, Any]:
    """Simulate studies of the plan for a few seconds, or say why not."""
    values = form.cleaned_data
    plan: Plan = values["plan"]
    if plan.design.ratings > MOST_RATINGS:
        return {
            "refused": f"A comparison of {plan.design.ratings:,} ratings is too large to be simulated in seconds; "
            f"{MOST_RATINGS:,} are the most. The formula holds for large studies."
        }
    if not _simulating.acquire(blocking=False):
        return {"refused": "Another simulation is running. Try again in a few seconds."}
    try:
        return {"simulated": _simulate(plan, values["difference"] / 100)}
    except SimulationError as error:
        return {"refused": str(error)}
    finally:
        _simulating.release()


def _simulate(plan: Plan, difference: float) -> SimulatedPower:
    rng = np.random.default_rng(0)  # the same plan gives the same answer, as far as the time allows
    return simulated_power(plan.assumed, plan.design, difference, rng, studies=SIMULATED, seconds=SECONDS)


def plan_box(configuration: StudyConfiguration, prompts: int | None = None) -> dict[str, Any]:
    """Return what a study's plan shows: the difference that it finds, the paper's, and the address of the page.

    prompts: how many the pairs have, where the configuration does not say it.
    """
    runs = len(configuration.criteria) if configuration.runs else 1
    return _box(
        configuration.quota,
        configuration.trials_per_evaluator,
        prompts or configuration.per_stratum * len(configuration.percentiles),
        len(configuration.compared) * runs,
    )


@lru_cache(maxsize=64)  # the page of a study that is prepared asks every two seconds
def _box(evaluators: int, pairs_each: int, prompts: int, comparisons: int) -> dict[str, Any]:
    given = {"evaluators": evaluators, "pairs_each": pairs_each, "prompts": prompts, "comparisons": comparisons}
    assumed = plan_assumptions()
    paper = paper_plan(assumed)
    box = {
        "address": f"{reverse('console:power')}?{urlencode(given)}",
        "paper": detectable_difference(assumed, paper.design).value,
    }
    try:
        plan = Plan(**given, assumed=assumed)
        found = detectable_difference(assumed, plan.design)
    except SimulationError as error:
        return box | {"reason": str(error)}
    return box | {"found": found.value, "reason": found.reason, "is_paper": plan.is_paper}
