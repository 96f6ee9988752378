"""Show a study's pairs with their arms named: filtered, sorted, by pages; evaluators never see this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Count, F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from evenhand.studies import picture_flags, safety_flags
from evenhand.studies.access import studies_of
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Pair, Skip, Study, Trial
from evenhand.studies.results.opinions import Opinion, opinions_of
from evenhand.studies.unusable_pairs import marks_in_force

PAIRS_PER_PAGE = 24
LOOKS = {
    "": "all",
    "flagged": "flagged by the safety checker",
    "odd": "without a visible difference, or of one colour",
    "reported": "reported by evaluators",
    "unusable": "marked as unusable",
}
SORTS = {
    "plan": "in the plan’s order",
    "disagreement": "most disagreement first",
    "effect": "largest effect first",
    "reports": "most reports first",
    "difference": "least difference of pixels first",
}
PLAN_ORDER = ("comparison__position", "stratum", "prompt__index")


@dataclass(frozen=True)
class Chosen:
    """Which pairs an address asks for, and in which order; what it does not know is left out."""

    comparison: int | None = None  # position
    stratum: str = ""
    look: str = ""
    sort: str = "plan"

    @classmethod
    def read(cls, asked: Mapping[str, str]) -> Chosen:
        """Read the address's query."""
        number, look, sort = asked.get("comparison", ""), asked.get("look", ""), asked.get("sort", "")
        return cls(
            int(number) - 1 if number.isascii() and number.isdigit() and len(number) < 5 else None,
            asked.get("stratum", "").replace("\0", ""),
            look if look in LOOKS else "",
            sort if sort in SORTS else "plan",
        )

    @property
    def query(self) -> str:
        """Write it as an address's query; empty for all pairs in the plan's order."""
        said = {
            "comparison": "" if self.comparison is None else str(self.comparison + 1),
            "stratum": self.stratum,
            "look": self.look,
            "sort": "" if self.sort == "plan" else self.sort,
        }
        return urlencode({name: value for name, value in said.items() if value})


@login_required
@require_GET
def pairs(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one page of the pairs that were asked for."""
    study = get_object_or_404(studies_of(request.user).select_related("current_version"), pk=pk)
    configuration, chosen = configuration_of(study), Chosen.read(request.GET.dict())
    page = Paginator(ordered_pairs(study, configuration, chosen), PAIRS_PER_PAGE).get_page(request.GET.get("page"))
    cells = list(
        Pair.objects.filter(comparison__study=study)
        .order_by(*PLAN_ORDER[:2])
        .values_list("comparison__position", "comparison__baseline__label", "comparison__candidate__label", "stratum")
        .distinct()
    )
    context = {
        "study": study,
        "page": page,
        "lines": _lines(study, configuration, list(page)),
        "flagged": safety_flags.flagged_images(study),
        "chosen": chosen,
        "comparisons": sorted({(position, f"{second} vs {first}") for position, first, second, _ in cells}),
        "strata": list(dict.fromkeys(stratum for *_, stratum in cells)),
        "looks": LOOKS.items(),
        "sorts": SORTS.items(),
        "rest": f"&{chosen.query}" if chosen.query else "",
    }
    return render(request, "console/pairs.html", context)


def ordered_pairs(study: Study, configuration: StudyConfiguration, chosen: Chosen) -> list[int]:
    """Return the numbers in the database of the pairs that are asked for, in order; one to three queries."""
    rows = _in_look(study, Pair.objects.filter(comparison__study=study), chosen.look)
    if chosen.comparison is not None:
        rows = rows.filter(comparison__position=chosen.comparison)
    if chosen.stratum:
        rows = rows.filter(stratum=chosen.stratum)
    order = (F("largest_difference").asc(nulls_last=True),) if chosen.sort == "difference" else ()
    found = list(rows.order_by(*order, *PLAN_ORDER).values_list("pk", flat=True))
    if chosen.sort == "reports":
        reports = reports_of(study)
        found.sort(key=lambda pk: -reports.get(pk, 0))
    elif chosen.sort in ("disagreement", "effect"):
        opinions, nothing = opinions_of(study, configuration), Opinion()
        if chosen.sort == "effect":
            found.sort(key=lambda pk: -opinions.get(pk, nothing).effect)
        else:
            found.sort(key=lambda pk: -opinions.get(pk, nothing).disagreement)
    return found


def _in_look(study: Study, rows: QuerySet[Pair], look: str) -> QuerySet[Pair]:
    if look == "flagged":
        images = safety_flags.flagged_images(study)
        return rows.filter(Q(baseline_image__in=images) | Q(candidate_image__in=images))
    if look == "odd":
        return rows.filter(picture_flags.is_odd())
    if look == "reported":
        return rows.filter(pk__in=_reported(study).values("pair"))
    if look == "unusable":
        return rows.filter(pk__in=marks_in_force(study).values("pair"))
    return rows


def _reported(study: Study) -> QuerySet[Trial]:
    return Trial.objects.filter(
        pair__comparison__study=study, skip__reason=Skip.Reason.REPORT, booklet__evaluator__withdrawn_at=None
    )


def reports_of(study: Study) -> dict[int, int]:
    """Count how often each pair was reported as not fit to be shown."""
    counted = _reported(study).order_by().values_list("pair").annotate(n=Count("pk"))
    return {pk: n for pk, n in counted if pk is not None}


def _lines(study: Study, configuration: StudyConfiguration, pks: list[int]) -> list[dict[str, object]]:
    """Return what the page says of each of its pairs."""
    rows = Pair.objects.select_related(
        "prompt", "comparison__baseline", "comparison__candidate", "baseline_image"
    ).defer("baseline_image__provenance")
    found = rows.in_bulk(pks)
    opinions, reports = opinions_of(study, configuration, pks), reports_of(study)
    unusable = dict(marks_in_force(study).values_list("pair", "reason"))
    return [
        {
            "pair": found[pk],
            "opinion": opinions.get(pk),
            "reports": reports.get(pk, 0),
            "unusable": unusable.get(pk),
        }
        for pk in pks
        if pk in found
    ]
