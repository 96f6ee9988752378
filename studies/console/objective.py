"""Show what metrics say of a study's arms, serve its files, and start a scoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Exists, OuterRef
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from evenhand.errors import InputError
from evenhand.generation.guidance import ClassifierFree
from evenhand.studies.access import Right, check_right, studies_of
from evenhand.studies.arms import COMPARISONS
from evenhand.studies.chosen_prompts import CHOICES
from evenhand.studies.console.downloads import FIGURE_HEADERS, file_name, population_of
from evenhand.studies.console.results import KINDS
from evenhand.studies.drafts import configuration_of
from evenhand.studies.model_roots import ModelPlaceError, check_metric
from evenhand.studies.models import Scoring, Study
from evenhand.studies.pipeline import scorings
from evenhand.studies.results import figures
from evenhand.studies.results.objective.cached import cached_objective_report
from evenhand.studies.results.objective.tables import table_of, tables_of
from evenhand.studies.uploaded.sources import SourceError, allowed_folder

MOST_STRENGTHS = 20
FIGURES = {"agreement": figures.agreement, "effective": figures.effective, "strengths": figures.strengths}
PROMPTS = {"final": "the final subset (those of the pairs)", "first": "the first subset", "all": "the whole prompt set"}


class ScoringForm(forms.Form):
    """What to score: prompts, metrics of single pictures, a sweep of strengths, reference pictures."""

    prompts = forms.ChoiceField(
        label="Prompts",
        choices=[(name, PROMPTS[name]) for name in CHOICES],
        help_text="Missing pictures are generated: all arms of the whole set can take days.",
    )
    metrics = forms.CharField(
        label="Metrics of single pictures",
        initial="clip",
        required=False,
        max_length=500,
        help_text="Apart by spaces: clip, clip=MODEL,TAG, pickscore, pickscore=FOLDER, hps=FILE.",
    )
    sweep = forms.CharField(
        label="Strengths of classifier-free guidance beside the arms",
        required=False,
        max_length=200,
        help_text="For example 1 2.5 5 7.5 10 15. Empty: none.",
    )
    reference = forms.CharField(
        label="Folder of reference pictures",
        required=False,
        max_length=500,
        help_text="Here and on the workers’ machines, below one of the folders that EVENHAND_IMPORT_ROOTS allows; "
        "“scenes” renders the demo’s captions. Empty: no distances.",
    )
    spaces = forms.CharField(
        label="Spaces of features for distances",
        required=False,
        max_length=500,
        help_text="Apart by spaces: inception (FID, KID, Inception Score), clip (CMMD), dinov2=FOLDER.",
    )
    crop = forms.BooleanField(
        label="Cut reference pictures to their centred square, and scale it to the study’s size", required=False
    )

    def clean_metrics(self) -> str:
        """Refuse models that may not be loaded."""
        return self._allowed("metrics")

    def clean_spaces(self) -> str:
        """Refuse models that may not be loaded."""
        return self._allowed("spaces")

    def _allowed(self, name: str) -> str:
        text: str = self.cleaned_data[name]
        try:
            for metric in text.split():
                check_metric(metric)
        except ModelPlaceError as error:
            raise forms.ValidationError(str(error)) from error
        return text

    def clean_reference(self) -> str:
        """Refuse folders that the console may not read; whether one outside exists is not told."""
        folder: str = self.cleaned_data["reference"].strip()
        if not folder or folder == scorings.SCENES:
            return folder
        try:
            return str(allowed_folder(folder))
        except SourceError as error:
            raise forms.ValidationError(str(error)) from error

    def clean_sweep(self) -> list[float]:
        """Read the strengths; commas count as spaces."""
        words = self.cleaned_data["sweep"].replace(",", " ").split()
        if len(words) > MOST_STRENGTHS:
            raise forms.ValidationError(f"{len(words)} strengths are too many, {MOST_STRENGTHS} are the most")
        strengths = []
        for word in words:
            try:
                strengths.append(ClassifierFree(float(word)).strength)
            except ValueError as error:
                raise forms.ValidationError(f"“{word}” is no strength: give numbers such as 7.5") from error
        return strengths

    def request_of(self, study: Study) -> scorings.Request:
        """Return the scoring that the form asks for. Raises ``InputError``."""
        data, baseline = self.cleaned_data, configuration_of(study).baseline
        negative = baseline.negative_prompt if isinstance(baseline, ClassifierFree) else ""
        return scorings.Request(
            arms=tuple(ClassifierFree(strength, negative_prompt=negative) for strength in data["sweep"]),
            prompts=data["prompts"],
            metrics=tuple(data["metrics"].split()),
            spaces=tuple(data["spaces"].split()),
            reference=data["reference"],
            crop=data["crop"],
        )


@login_required
@require_http_methods(["GET", "POST"])
def objective(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the metrics of a study's arms; a POST starts a scoring, or goes on with a failed one."""
    study = _study(request, pk)
    form = ScoringForm(request.POST or None)
    if request.method == "POST":
        check_right(study, Right.CHANGE)
        if request.POST.get("go_on"):
            _go_on(request, _scoring(study, request.POST["go_on"]))
            return redirect("console:objective", pk)
        if form.is_valid() and _started(request, study, form):
            return redirect("console:objective", pk)
    return render(request, "console/objective.html", _context(request, study, form))


def _go_on(request: HttpRequest, scoring: Scoring) -> None:
    """Let failed parts be tried again; what the console may read can have changed since the scoring was started."""
    reference = scoring.plan["reference"]
    try:
        if reference not in ("", scorings.SCENES):
            allowed_folder(reference)
    except SourceError as error:
        messages.error(request, f"The reference pictures of scoring {scoring.pk} cannot be read from here: {error}.")
        return
    count = scorings.retry(scoring)
    messages.success(request, f"{count} part{'' if count == 1 else 's'} of the scoring will be tried again.")


def _started(request: HttpRequest, study: Study, form: ScoringForm) -> bool:
    assert isinstance(request.user, AbstractBaseUser)
    try:
        scoring = scorings.start(study, form.request_of(study), actor=request.user)
    except InputError as error:
        form.add_error(None, str(error))
        return False
    messages.success(request, f"Scoring {scoring.pk} has been started; a worker takes its parts.")
    return True


def _has_pictures(study: Study) -> bool:
    return study.recipe_id is not None or study.comparisons.exists()


def _context(request: HttpRequest, study: Study, form: ScoringForm) -> dict[str, Any]:
    newest = list(study.scorings.select_related("created_by")[:20]) if getattr(study, "is_scored", True) else []
    made = list(zip(newest, scorings.progresses(newest), strict=True))
    chosen = _chosen(request, study, newest)
    report = cached_objective_report(study, chosen, population_of(request)) if _has_pictures(study) else None
    query = f"?scoring={chosen.pk if chosen else 'none'}"
    return {
        "study": study,
        "form": form,
        "scorings": made,
        "working": any(progress.state in ("waiting", "running") for _, progress in made),
        "chosen": chosen,
        "report": report,
        "tables": tables_of(report) if report else {},
        "population": query,
        "rated": report is not None and any(each["pairs"] for each in report["people"]["points"]),
        "closed_form": form.is_bound,
    }


@login_required
@require_GET
def table(request: HttpRequest, pk: int, name: str, kind: str) -> HttpResponse:
    """Serve one table as CSV or as LaTeX."""
    study = _study(request, pk)
    report = _report(request, study)
    found = table_of(report, name)
    if found is None or kind not in KINDS:
        raise Http404(f"there is no table {name}.{kind}")
    source = f"{report['study']}, configuration {report['version_hash']}, computed {report['computed']}"
    mark = report["people"]["mark"]
    source += f"; {mark} ratings" if mark and name == "people" else ""
    response = HttpResponse(found.to_csv() if kind == "csv" else found.to_latex(source), content_type=KINDS[kind])
    response["Content-Disposition"] = f'attachment; filename="{file_name(study)}-metrics-{name}.{kind}"'
    return response


@login_required
@require_GET
def objective_json(request: HttpRequest, pk: int) -> HttpResponse:
    """Serve everything of the page as JSON."""
    return JsonResponse(_report(request, _study(request, pk)), json_dumps_params={"indent": 2})


@login_required
@require_GET
def figure(request: HttpRequest, pk: int, name: str, kind: str) -> HttpResponse:
    """Serve the scatter of metrics against people, or the sweep of strengths, as SVG, PNG or PDF."""
    if name not in FIGURES or kind not in figures.KINDS:
        raise Http404(f"there is no figure {name}.{kind}")
    report, draw = _report(request, _study(request, pk)), FIGURES[name]
    columns = 1 if request.GET.get("columns") == "1" else 2
    try:
        content = draw(report, dark=request.GET.get("theme") == "dark", columns=columns, kind=kind)
    except InputError as error:
        raise Http404(str(error)) from error
    return HttpResponse(content, content_type=figures.KINDS[kind], headers=FIGURE_HEADERS)


def _study(request: HttpRequest, pk: int) -> Study:
    related = studies_of(request.user).select_related("current_version", "recipe", "subset", "prompt_set")
    is_scored = Exists(Scoring.objects.filter(study=OuterRef("pk")))
    return get_object_or_404(related.annotate(is_scored=is_scored).prefetch_related(COMPARISONS), pk=pk)


def _report(request: HttpRequest, study: Study) -> dict[str, Any]:
    if not _has_pictures(study):
        raise Http404(f"“{study.name}” has no pictures yet")
    return cached_objective_report(study, _chosen(request, study), population_of(request))


def _chosen(request: HttpRequest, study: Study, known: Sequence[Scoring] | None = None) -> Scoring | None:
    """Return the scoring that the address names, else the newest; “none”: the preparation's own scores.

    known: the newest scorings, newest first, where they have been read.
    """
    name = request.GET.get("scoring", "")
    if name == "none":
        return None
    if name:
        return _scoring(study, name)
    return next(iter(study.scorings.all()[:1] if known is None else known), None)


def _scoring(study: Study, name: str) -> Scoring:
    number = int(name) if name.isdecimal() and len(name) < 19 else 0
    return get_object_or_404(study.scorings.all(), pk=number)
