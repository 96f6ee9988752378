"""A prompt set's page: how long its prompts are, what repeats, and sampling settings tried on it."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.db.models import Count, F, Value
from django.db.models.functions import Length, Replace
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from evenhand.sampling.subset import DRAWS, FrechetCurve, smallest_size_under
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.console.forms import SamplingForm
from evenhand.studies.models import PromptSet, SamplingRun
from evenhand.studies.pipeline import sampling_runs
from evenhand.studies.results import figures

LISTED = 8  # earlier tries on the page
REPEATED = 5  # prompts that occur most often
LONGEST_BAR = 40  # words; longer prompts are counted together


@login_required
@require_http_methods(["GET", "POST"])
def prompt_set(request: HttpRequest, pk: int, run: int | None = None) -> HttpResponse:
    """The page of a prompt set. htmx asks for the tried settings alone while a worker computes them."""
    found = get_object_or_404(PromptSet, pk=pk)
    runs = SamplingRun.objects.filter(prompt_set=found)
    shown = get_object_or_404(runs, pk=run) if run is not None else runs.first()
    if getattr(request, "htmx", False):
        return render(request, "console/_sampling_run.html", {"set": found, **_run(shown, request)})
    configuration = StudyConfiguration.from_json(shown.configuration) if shown is not None else None
    form = SamplingForm(request.POST or None, prompt_set=found, initial=SamplingForm.initial_of(found, configuration))
    if request.method == "POST" and form.is_valid():
        made = sampling_runs.start(found, form.cleaned_data["configuration"])
        return redirect(reverse("console:sampling_run", args=[pk, made.pk]) + "#tried")
    context = {
        "section": "prompts",
        "set": found,
        "form": form,
        "lengths": _lengths(found),
        "repeated": _repeated(found),
        "runs": [_summary(each) for each in runs[:LISTED]],
        **_run(shown, request),
    }
    return render(request, "console/prompt_set.html", context)


@login_required
@require_GET
def curve(request: HttpRequest, pk: int, run: int, kind: str) -> HttpResponse:
    """The curve of tried settings as SVG, PNG or CSV."""
    found = get_object_or_404(SamplingRun, prompt_set_id=pk, pk=run)
    if found.frechet_curve is None:
        raise Http404("the curve has not been computed")
    configuration = StudyConfiguration.from_json(found.configuration)
    return curve_file(found.frechet_curve, configuration.subset_size, configuration.draw, kind, threshold_of(request))


def curve_file(
    curve: dict[str, Any], chosen: int, draw: str, kind: str, threshold: float | None = None
) -> HttpResponse:
    """A curve in one of its forms."""
    headers = {"Cache-Control": "private, no-cache"}
    if kind == "csv":
        headers["Content-Disposition"] = 'attachment; filename="frechet.csv"'
        text = FrechetCurve.from_dict(curve).to_csv()
        return HttpResponse(text, content_type="text/csv; charset=utf-8", headers=headers)
    if kind == "png":
        picture = figures.frechet_curve_png(curve, chosen, draw=draw, threshold=threshold)
        return HttpResponse(picture, content_type="image/png", headers=headers)
    if kind != "svg":
        raise Http404(f"a curve is drawn as svg, png or csv, not as {kind}")
    drawn = figures.frechet_curve(curve, chosen, draw=draw, threshold=threshold)
    return HttpResponse(drawn, content_type="image/svg+xml", headers=headers)


def threshold_of(request: HttpRequest) -> float | None:
    """The distance that was asked for; none if there is none, or nothing that a distance can be."""
    try:
        value = float(request.GET.get("threshold", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _run(run: SamplingRun | None, request: HttpRequest) -> dict[str, Any]:
    """What the page says of tried settings: where they stand, and what their curves show."""
    if run is None:
        return {"run": None}
    configuration = StudyConfiguration.from_json(run.configuration)
    context: dict[str, Any] = {
        "run": run,
        "configuration": configuration,
        "moving": run.state in (SamplingRun.State.WAITING, SamplingRun.State.LEASED),
        "percent": 100 * run.done // run.total if run.total else 0,
        "plan": _plan(run, configuration),
    }
    if run.frechet_curve is not None:
        drawn = FrechetCurve.from_dict(run.frechet_curve)
        threshold = threshold_of(request)
        context |= {
            "curves": [_row(drawn, name, configuration, threshold) for name in DRAWS],
            "table": _table(drawn),
            "threshold": threshold,
            "query": f"?{urlencode({'threshold': threshold})}" if threshold else "",
            "equal": smallest_size_under(drawn.family("representative"), _mean(drawn, configuration.subset_size)),
            "random_mean": _mean(drawn, configuration.subset_size),
        }
    return context


def _mean(curve: FrechetCurve, size: int) -> float:
    return float(curve.mean[curve.sizes.index(size)])


def _row(curve: FrechetCurve, draw: str, configuration: StudyConfiguration, threshold: float | None) -> dict[str, Any]:
    """One way of drawing: the distance at the chosen size, and the size that the threshold asks for."""
    family = curve.family(draw)
    place = family.sizes.index(configuration.subset_size)
    return {
        "draw": draw,
        "chosen": draw == configuration.draw,
        "mean": float(family.mean[place]),
        "spread": float(family.spread[place]),
        "needed": None if threshold is None else smallest_size_under(family, threshold),
    }


def _table(curve: FrechetCurve) -> list[dict[str, Any]]:
    """The numbers under the figure, for those who read them rather than look."""
    representative = curve.family("representative")
    return [
        {
            "size": size,
            "random": float(curve.mean[i]),
            "spread": float(curve.spread[i]),
            "representative": float(representative.mean[i]),
            "gaussian": sum(curve.gaussian[i]) / len(curve.gaussian[i]) if curve.gaussian else None,
            "mean_term": curve.mean_term[i],
        }
        for i, size in enumerate(curve.sizes)
    ]


def _plan(run: SamplingRun, configuration: StudyConfiguration) -> str:
    """The address of a new study's plan with these settings filled in."""
    given = {"prompt_set": run.prompt_set_id, **SamplingForm.values_of_configuration(configuration)}
    return f"{reverse('console:new_study')}?{urlencode({name: value for name, value in given.items() if value != ''})}"


def _summary(run: SamplingRun) -> dict[str, Any]:
    configuration = StudyConfiguration.from_json(run.configuration)
    distance = None
    if run.frechet_curve is not None:
        distance = _mean(
            FrechetCurve.from_dict(run.frechet_curve).family(configuration.draw), configuration.subset_size
        )
    return {"run": run, "configuration": configuration, "distance": distance}


# ------------------------------------------------------------------------------ the set itself


def _lengths(found: PromptSet) -> dict[str, Any]:
    """Prompts by their number of words, as bars of a histogram; stored prompts have single spaces."""
    without = Length(Replace(F("text"), Value(" "), Value("")))
    counts = dict(
        found.prompts.annotate(words=Length("text") - without + 1)
        .order_by()
        .values_list("words")
        .annotate(n=Count("pk"))
    )
    longest = max(counts)
    last = min(longest, LONGEST_BAR)
    bars = [counts.get(words, 0) for words in range(1, last + 1)]
    bars[-1] += sum(n for words, n in counts.items() if words > last)
    top = max(bars)
    return {
        "mean": sum(words * n for words, n in counts.items()) / found.count,
        "shortest": min(counts),
        "longest": longest,
        "cut": longest > last,
        "top": top,
        "last": last,
        "bars": [
            {
                "words": i + 1,
                "count": n,
                "x": 10 * i,
                "y": f"{100 - 100 * n / top:.2f}",
                "height": f"{100 * n / top:.2f}",
            }
            for i, n in enumerate(bars)
        ],
        "width": 10 * last,
        "ticks": [{"words": words, "x": 10 * words - 5} for words in (1, *range(5, last + 1, 5))],
    }


def _repeated(found: PromptSet) -> list[tuple[str, int]]:
    """The prompts that occur most often; none are looked for where none repeats."""
    if not found.duplicates:
        return []
    rows = found.prompts.order_by().values("text").annotate(n=Count("pk")).filter(n__gt=1)
    return list(rows.order_by("-n", "text").values_list("text", "n")[:REPEATED])
