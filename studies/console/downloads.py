"""Serve a study's CSV, report, figures and single images to its study admin."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.utils.text import slugify
from django.views.decorators.http import require_GET

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.access import Right, study_of
from evenhand.studies.console.policy import FIGURE_POLICY
from evenhand.studies.console.sampling import curve_file
from evenhand.studies.image_store import image_file
from evenhand.studies.models import Study
from evenhand.studies.results import export, figures
from evenhand.studies.results.report import POPULATIONS, study_report
from evenhand.studies.visibility import image_of

FIGURE_HEADERS = {"Cache-Control": "private, no-cache", **FIGURE_POLICY}


def population_of(request: HttpRequest) -> str | None:
    """Return the population that was asked for, None for the report's own choice; ``Http404`` for an unknown one."""
    population = request.GET.get("ratings") or None
    if population is not None and population not in POPULATIONS:
        raise Http404(f"ratings must be one of {', '.join(POPULATIONS)}")
    return population


TABLES = {
    "preferences": export.csv_lines,
    "preferences-excel": export.csv_lines,
    "pairs": export.pair_lines,
    "evaluators": export.evaluator_lines,
    "prompts": export.prompt_lines,
    "pilot": export.pilot_lines,
}


@login_required
@require_GET
def table(request: HttpRequest, pk: int, name: str) -> HttpResponseBase:
    """Stream a CSV of ``TABLES``; the download is recorded."""
    study = study_of(request.user, pk, Right.READ)
    audit.record(study, audit.TABLE, actor=_actor(request), table=name)
    return csv_response(study, name, TABLES[name](study))


@login_required
@require_GET
def people(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Stream who evaluators are, to the study's owner and superusers alone; the download is recorded."""
    study = study_of(request.user, pk, Right.OWN)
    audit.record(study, audit.PEOPLE, actor=_actor(request))
    return csv_response(study, "people", export.people_lines(study))


@login_required
@require_GET
def links(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Stream the personal links, whole, to those who may invite; the download is recorded."""
    study = study_of(request.user, pk)
    audit.record(study, audit.LINKS, actor=_actor(request))
    return csv_response(study, "links", export.link_lines(study, request.build_absolute_uri("/")[:-1]))


def _actor(request: HttpRequest) -> AbstractBaseUser:
    assert isinstance(request.user, AbstractBaseUser)
    return request.user


def csv_response(study: Study, name: str, lines: Iterator[str]) -> StreamingHttpResponse:
    """Stream a CSV; a name that ends in “excel” begins with a byte-order mark."""
    mark = [export.EXCEL_MARK] if name.endswith("excel") else []
    response = StreamingHttpResponse(chain(mark, in_blocks(lines)), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{file_name(study)}-{name}.csv"'
    return response


def in_blocks(lines: Iterator[str], size: int = 500) -> Iterator[str]:
    """Join lines, so that a server sends few large parts instead of many small ones."""
    while block := "".join(islice(lines, size)):
        yield block


@login_required
@require_GET
def report_json(request: HttpRequest, pk: int) -> HttpResponse:
    """Serve the statistics as JSON."""
    study = study_of(request.user, pk, Right.READ)
    return JsonResponse(study_report(study, population=population_of(request)), json_dumps_params={"indent": 2})


@login_required
@require_GET
def preference_figure(request: HttpRequest, pk: int, name: str, kind: str) -> HttpResponse:
    """Serve the preference histogram (Fig. 11), diverging bars, Davidson's scores or sweeps as SVG, PNG or PDF.

    ``?theme=dark`` is for dark pages, ``?columns=1`` puts the histogram's panels below each other.
    """
    study = study_of(request.user, pk, Right.READ)
    if kind not in figures.KINDS:
        raise Http404(f"a figure is {', '.join(figures.KINDS)}")
    report, dark = study_report(study, population=population_of(request)), request.GET.get("theme") == "dark"
    try:
        if name in ("diverging", "scores", "sweeps"):
            content = getattr(figures, name)(report, dark=dark, kind=kind)
        else:
            columns = 1 if request.GET.get("columns") == "1" else 2
            content = figures.histogram(report, dark=dark, columns=columns, kind=kind)
    except InputError as error:
        raise Http404(str(error)) from error
    return HttpResponse(content, content_type=figures.KINDS[kind], headers=FIGURE_HEADERS)


@login_required
@require_GET
def frechet(request: HttpRequest, pk: int, kind: str = "svg") -> HttpResponse:
    """Serve the Fréchet curve (Fig. 10) as SVG, PNG or CSV."""
    subset = study_of(request.user, pk, Right.READ).subset
    if subset is None or subset.frechet_curve is None:
        raise Http404("the curve has not been computed")
    return curve_file(subset.frechet_curve, subset.size, subset.draw, kind)


@login_required
@require_GET
def image(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Serve one picture that a study of this user shows."""
    image = image_of(request.user, pk)
    try:
        response = FileResponse(image_file(image.sha256).open(), content_type="image/png")
    except FileNotFoundError as error:
        raise Http404(f"the file of image {pk} is missing") from error
    response["Cache-Control"] = "private, max-age=86400"
    return response


def file_name(study: Study) -> str:
    """Return a study's name as the beginning of a file name."""
    return slugify(study.name) or f"study-{study.pk}"
