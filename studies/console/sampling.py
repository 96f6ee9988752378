"""Serve a prompt set's page: prompt lengths, repeated prompts, and sampling settings tried on it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.core.cache import cache
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from evenhand.sampling.subset import DRAWS, FrechetCurve, smallest_size_under
from evenhand.studies.access import check_may_plan, may_plan
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.console.forms import SamplingForm
from evenhand.studies.console.policy import FIGURE_POLICY
from evenhand.studies.models import PromptSet, SamplingRun
from evenhand.studies.pipeline import sampling_runs
from evenhand.studies.prompt_deletion import uses_of, with_uses
from evenhand.studies.prompt_lengths import token_lengths
from evenhand.studies.results import figures
from evenhand.studies.visibility import may_change, prompt_sets_of, runs_of

RUNS_LISTED = 8
REPEATED_PROMPTS = 5  # those that occur most often
LONGEST_BAR = 40  # words; longer prompts are counted together
FEWEST_BARS = 12  # a narrower chart would be blown up
PROMPTS_PER_PAGE = 50
SEARCH_LIMIT = 200  # characters


@login_required
@require_http_methods(["GET", "POST"])
def prompt_set(request: HttpRequest, pk: int, run: int | None = None) -> HttpResponse:
    """Show a prompt set and a sampling run, or start a run; htmx asks for the run alone while a worker computes it."""
    sets, is_fragment = prompt_sets_of(request.user), getattr(request, "htmx", False)
    prompt_set = get_object_or_404(sets if is_fragment else with_uses(sets), pk=pk)
    if request.method == "POST":
        check_may_plan(request.user)
    runs = runs_of(request.user, prompt_set)
    latest = list(runs[:RUNS_LISTED])
    current_run = get_object_or_404(runs, pk=run) if run is not None else next(iter(latest), None)
    if is_fragment:
        return render(request, "console/_sampling_run.html", {"set": prompt_set, **_run_context(current_run, request)})
    configuration = StudyConfiguration.from_json(current_run.configuration) if current_run is not None else None
    initial = SamplingForm.initial_of(prompt_set, configuration)
    form = SamplingForm(request.POST or None, prompt_set=prompt_set, initial=initial)
    if request.method == "POST" and form.is_valid():
        assert isinstance(request.user, AbstractBaseUser)
        new_run = sampling_runs.start(prompt_set, form.cleaned_data["configuration"], creator=request.user)
        return redirect(reverse("console:sampling_run", args=[pk, new_run.pk]) + "#tried")
    context = {
        "section": "prompts",
        "set": prompt_set,
        "form": form,
        **_texts_in_numbers(prompt_set),
        "tokens": token_lengths(prompt_set),
        "uses": uses_of(prompt_set),
        "may_plan": may_plan(request.user),
        "may_change": may_change(request.user, prompt_set),
        **_listed(prompt_set, request),
        "runs": [_summary(each) for each in latest],
        **_run_context(current_run, request),
    }
    return render(request, "console/prompt_set.html", context)


@login_required
@require_GET
def curve(request: HttpRequest, pk: int, run: int, kind: str) -> HttpResponse:
    """Serve the curve of a sampling run as SVG, PNG or CSV."""
    prompt_set = get_object_or_404(prompt_sets_of(request.user), pk=pk)
    sampling_run = get_object_or_404(runs_of(request.user, prompt_set), pk=run)
    if sampling_run.frechet_curve is None:
        raise Http404("the curve has not been computed")
    configuration = StudyConfiguration.from_json(sampling_run.configuration)
    size, draw = configuration.subset_size, configuration.draw
    return curve_file(sampling_run.frechet_curve, size, draw, kind, threshold_of(request))


def curve_file(curve: dict[str, Any], size: int, draw: str, kind: str, threshold: float | None = None) -> HttpResponse:
    """Respond with a curve as SVG, PNG or CSV; ``size`` and ``draw`` are marked, ``threshold`` is drawn as a line."""
    headers = {"Cache-Control": "private, no-cache", **FIGURE_POLICY}
    if kind == "csv":
        headers["Content-Disposition"] = 'attachment; filename="frechet.csv"'
        text = FrechetCurve.from_dict(curve).to_csv()
        return HttpResponse(text, content_type="text/csv; charset=utf-8", headers=headers)
    if kind == "png":
        png = figures.frechet_curve_png(curve, size, draw=draw, threshold=threshold)
        return HttpResponse(png, content_type="image/png", headers=headers)
    if kind != "svg":
        raise Http404(f"a curve is drawn as svg, png or csv, not as {kind}")
    svg = figures.frechet_curve(curve, size, draw=draw, threshold=threshold)
    return HttpResponse(svg, content_type="image/svg+xml", headers=headers)


def threshold_of(request: HttpRequest) -> float | None:
    """Return the distance that was asked for; None if there is none, or if it is no positive number."""
    try:
        value = float(request.GET.get("threshold", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _run_context(run: SamplingRun | None, request: HttpRequest) -> dict[str, Any]:
    """Return the page's context for a sampling run: its progress, and the numbers of its curves."""
    if run is None:
        return {"run": None}
    configuration = StudyConfiguration.from_json(run.configuration)
    context: dict[str, Any] = {
        "run": run,
        "configuration": configuration,
        "moving": run.state in (SamplingRun.State.WAITING, SamplingRun.State.LEASED),
        "percent": 100 * run.done // run.total if run.total else 0,
        "plan": _plan_address(run, configuration),
    }
    if run.frechet_curve is not None:
        curve = FrechetCurve.from_dict(run.frechet_curve)
        threshold = threshold_of(request)
        random_mean = _mean(curve, configuration.subset_size)
        context |= {
            "curves": [_row(curve, name, configuration, threshold) for name in DRAWS],
            "table": _table(curve),
            "threshold": threshold,
            "query": f"?{urlencode({'threshold': threshold})}" if threshold else "",
            "equal": smallest_size_under(curve.family("representative"), random_mean),
            "random_mean": random_mean,
        }
    return context


def _mean(curve: FrechetCurve, size: int) -> float:
    return float(curve.mean[curve.sizes.index(size)])


def _row(curve: FrechetCurve, draw: str, configuration: StudyConfiguration, threshold: float | None) -> dict[str, Any]:
    """Return a draw's distance at the chosen size, and the size that the threshold asks for."""
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
    """Return the numbers of the curve, one row a size."""
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


def _plan_address(run: SamplingRun, configuration: StudyConfiguration) -> str:
    """Return the address of a new study's plan with these settings filled in."""
    values = {"prompt_set": run.prompt_set_id, **SamplingForm.values_of_configuration(configuration)}
    return f"{reverse('console:new_study')}?{urlencode({name: value for name, value in values.items() if value != ''})}"


def _summary(run: SamplingRun) -> dict[str, Any]:
    configuration = StudyConfiguration.from_json(run.configuration)
    distance = None
    if run.frechet_curve is not None:
        distance = _mean(
            FrechetCurve.from_dict(run.frechet_curve).family(configuration.draw), configuration.subset_size
        )
    return {"run": run, "configuration": configuration, "distance": distance}


# ------------------------------------------------------------------------------ the set itself


def _texts_in_numbers(prompt_set: PromptSet) -> dict[str, Any]:
    """Return the prompts' lengths and those that repeat; a set's texts never change, so they are counted once."""
    key = f"texts:{prompt_set.sha256}"
    found: dict[str, Any] | None = cache.get(key)
    if found is None:
        words: Counter[int] = Counter()
        texts: Counter[str] = Counter()
        for text in prompt_set.prompts.order_by().values_list("text", flat=True).iterator():
            words[text.count(" ") + 1] += 1  # stored prompts have single spaces
            if prompt_set.duplicates:
                texts[text] += 1
        found = {"lengths": _lengths(words), "repeated": _repeated(texts)}
        cache.set(key, found, timeout=None)
    return found


def _lengths(counts: Mapping[int, int]) -> dict[str, Any]:
    """Return the histogram of the prompts' numbers of words. counts: prompts by their number of words."""
    longest = max(counts)
    bar_count = min(longest, LONGEST_BAR)
    bars = [counts.get(words, 0) for words in range(1, bar_count + 1)]
    bars[-1] += sum(n for words, n in counts.items() if words > bar_count)
    return {
        "mean": sum(words * n for words, n in counts.items()) / sum(counts.values()),
        "shortest": min(counts),
        "longest": longest,
        "cut": longest > bar_count,
        "top": max(bars),
        "last": bar_count,
        "bars": _bars(bars),
        "width": 10 * max(bar_count, FEWEST_BARS),
        "ticks": [{"words": words, "x": 10 * words - 5} for words in (1, *range(5, bar_count + 1, 5))],
    }


def _bars(counts: list[int]) -> list[dict[str, Any]]:
    """Return the histogram's bars as rectangles, the highest one 100 units high."""
    top = max(counts)
    return [
        {
            "words": i + 1,
            "count": n,
            "x": 10 * i,
            "y": f"{100 - 100 * n / top:.2f}",
            "height": f"{100 * n / top:.2f}",
        }
        for i, n in enumerate(counts)
    ]


def _listed(prompt_set: PromptSet, request: HttpRequest) -> dict[str, Any]:
    """Return a page of the set's prompts, or of those that hold the words looked for, in the file's order."""
    looked_for = request.GET.get("q", "").replace("\0", "").strip()[:SEARCH_LIMIT]
    rows = prompt_set.prompts.order_by("index")
    for word in looked_for.split():
        rows = rows.filter(text__icontains=word)
    paginator = Paginator(rows, PROMPTS_PER_PAGE)
    if not looked_for:
        vars(paginator)["count"] = prompt_set.count  # which is known, and need not be counted
    page = paginator.get_page(request.GET.get("page"))
    return {
        "prompts": page,
        "q": looked_for,
        "rest": f"&{urlencode({'q': looked_for})}#listed" if looked_for else "#listed",
    }


def _repeated(texts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the prompts that occur most often, with their numbers."""
    repeated = [(text, count) for text, count in texts.items() if count > 1]
    return sorted(repeated, key=lambda each: (-each[1], each[0]))[:REPEATED_PROMPTS]
