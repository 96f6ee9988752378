"""Show a study's results on a page of their own, and serve its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from evenhand.studies.access import studies_of
from evenhand.studies.console.downloads import file_name, population_of
from evenhand.studies.models import Study
from evenhand.studies.results.report import plural, study_report
from evenhand.studies.results.tables import table_of, tables_of
from evenhand.studies.results.tables.conduct import evaluators
from evenhand.studies.results.tables.numbers import points
from evenhand.studies.results.tables.outcomes import in_words, several_criteria

PEOPLE_PER_PAGE = 200
KINDS = {"csv": "text/csv; charset=utf-8", "tex": "application/x-tex; charset=utf-8"}
CHAPTERS = {
    "answer": "The answer",
    "strata": "Strata",
    "criteria": "Criteria",
    "comparisons": "Comparisons",
    "evaluators": "Evaluators",
    "agreement": "Agreement",
    "checks": "Checks and repeats",
    "excluded": "Left out, with and without",
    "sides": "Side of the screen",
    "times": "Time",
    "models": "Models",
    "files": "Files, methods and provenance",
}


@login_required
@require_GET
def results(request: HttpRequest, pk: int) -> HttpResponse:
    """Show everything that a study has found."""
    study = _study(request, pk)
    report = study_report(study, population=population_of(request))
    return render(request, "console/results.html", results_context(study, report, request.GET.get("people")))


@login_required
@require_GET
def result_table(request: HttpRequest, pk: int, name: str, kind: str) -> HttpResponse:
    """Serve one table of the results as CSV or as LaTeX."""
    study = _study(request, pk)
    if kind not in KINDS:
        raise Http404(f"a table is {', '.join(KINDS)}")
    report = study_report(study, population=population_of(request))
    table = table_of(report, name)
    if table is None:
        raise Http404(f"there is no table {name}")
    dates = report["provenance"]["dates"]
    source = f"{report['study']}, configuration {report['version_hash']}, computed {dates['computed']}"
    source += f"; {report['mark']} ratings" if report["mark"] else ""
    content = table.to_csv() if kind == "csv" else table.to_latex(source)
    response = HttpResponse(content, content_type=KINDS[kind])
    response["Content-Disposition"] = f'attachment; filename="{file_name(study)}-{name}.{kind}"'
    return response


def _study(request: HttpRequest, pk: int) -> Study:
    related = studies_of(request.user).select_related("current_version", "recipe", "subset", "prompt_set")
    return get_object_or_404(related, pk=pk)


def results_context(study: Study, report: Mapping[str, Any], people: str | None = None) -> dict[str, Any]:
    """Return the context of the results page, with one page of its evaluators."""
    page = Paginator(report["people"], PEOPLE_PER_PAGE).get_page(people)
    tables = tables_of(report, without=["evaluators"])
    tables["evaluators"] = evaluators({**report, "people": page.object_list})
    primary = primary_of(report)
    several = several_criteria(report)
    return {
        "study": study,
        "report": report,
        "population": f"?ratings={report['population']}",
        "tables": tables,
        "primary": primary,
        "secondary": [each for each in report["comparisons"] if each is not primary],
        "several_criteria": several,
        "watched": list(_watched(report)),
        "chapters": [(anchor, title) for anchor, title in CHAPTERS.items() if several or anchor != "criteria"],
        "people_page": page,
        "people_is_whole": page.paginator.num_pages == 1,
        "changes": report["changes_after_closing"],
        "left_out": left_out_in_words(report),
        "both_bad": list(_both_bad(report)),
        "no_scores": [
            each["davidson"]["reason"] for each in report["criteria"] if (each["davidson"] or {}).get("reason")
        ],
        "no_alpha": list(_reasons(report, "agreement", "no interval of α")),
        "model_notes": list(_model_notes(report)),
        "variance_notes": list(_variance_notes(report)),
    }


def primary_of(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the comparison of the primary outcome; None where there are no comparisons."""
    primary = report["primary"]
    return report["comparisons"][primary["index"]] if primary else None


def left_out_in_words(report: Mapping[str, Any]) -> str:
    """Say in a sentence who and what is left out, and why: “3 of 20 evaluators were left out because …”."""
    told = report["left_out"]
    sentences = []
    if told["evaluators"]:
        reasons = ", ".join(f"“{each['reason']}” ({each['n']:,})" for each in told["reasons"])
        were = "was" if told["evaluators"] == 1 else "were"
        sentences.append(
            f"{told['evaluators']:,} of {plural(told['of'], 'evaluator')} {were} left out because {reasons}."
        )
    if told["ratings"]:
        reasons = ", ".join(f"“{each['reason']}” ({each['n']:,})" for each in told["rating_reasons"])
        were = "was" if told["ratings"] == 1 else "were"
        sentences.append(f"{plural(told['ratings'], 'single answer')} {were} left out because {reasons}.")
    if told["pairs"]:
        reasons = ", ".join(f"“{each['reason']}” ({each['n']:,})" for each in told["pair_reasons"])
        were = "is" if told["pairs"] == 1 else "are"
        sentences.append(
            f"{plural(told['pairs'], 'pair')} {were} marked as unusable because {reasons}: "
            f"{plural(told['n_without_pairs'], 'rating')} count without {'it' if told['pairs'] == 1 else 'them'}, "
            f"{told['n_with_pairs']:,} with."
        )
    if told["withdrawn"]:
        sentences.append(
            f"{plural(told['withdrawn'], 'evaluator')} withdrew; their answers count nowhere on this page."
        )
    return " ".join(sentences) or f"Nobody was left out of {plural(told['of'], 'evaluator')}."


def _named(report: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    name = f"{result['candidate_name']} against {result['baseline_name']}"
    return f"{name}, {in_words(result['criterion'])}" if several_criteria(report) else name


def _watched(report: Mapping[str, Any]) -> Iterator[str]:
    """Say of each comparison of an open study what may be concluded now, looking as often as one likes."""
    if not (report["interim"] and report["n"]):
        return
    for each in report["comparisons"]:
        found, name = each["sequence"], _named(report, each)
        if found["low"] is None:
            yield f"{name}: there is no interval yet: {found['reason']}."
            continue
        told = f"{name}: net {points(found['estimate'])} points, {points(found['low'])} to {points(found['high'])}"
        if found["low"] <= 0 <= found["high"]:
            yield f"{told}. Zero lies inside: nothing can be concluded yet."
        else:
            winner = each["candidate_name"] if found["low"] > 0 else each["baseline_name"]
            yield f"{told}. Zero lies outside: {winner} is preferred."


def _both_bad(report: Mapping[str, Any]) -> Iterator[str]:
    for each in report["comparisons"]:
        if each["both_bad"]["n"]:
            yield (
                f"{_named(report, each)}: {plural(each['both_bad']['n'], 'rating')} said that both pictures are "
                f"bad; they count as no preference."
            )


def _reasons(report: Mapping[str, Any], part: str, what: str) -> Iterator[str]:
    for each in report["comparisons"]:
        if each[part]["reason"]:
            yield f"{_named(report, each)}: {what}, because {each[part]['reason']}."


def _model_notes(report: Mapping[str, Any]) -> Iterator[str]:
    yield from _reasons(report, "cumulative_link", "the model has no estimate")
    for each in report["comparisons"]:
        link, crossed = each["cumulative_link"], each["crossed_link"] or {}
        if crossed.get("reason") and not link["reason"]:
            yield f"{_named(report, each)}: no random effects, because {crossed['reason']}."
        for note in dict.fromkeys([*link.get("notes", ()), *crossed.get("notes", ())]):  # told once
            yield f"{_named(report, each)}: {note}."
    if report["comparisons"] and not any(each["crossed_link"] for each in report["comparisons"]):
        yield "With so many comparisons and criteria no random effects are fitted, to keep this page quick."


def _variance_notes(report: Mapping[str, Any]) -> Iterator[str]:
    for each in report["comparisons"]:
        for reason in each["variance"]["reasons"]:
            yield f"{_named(report, each)}: {reason}."
        for name in each["variance"]["set_to_zero"]:
            yield f"{_named(report, each)}: the variance of {name}s came out below 0 and is set to 0."
