"""Show one pair large with all that is known of it, and let admins mark it as unusable and take that back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from evenhand.studies.access import studies_of, study_of
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.console.gallery import Chosen, ordered_pairs
from evenhand.studies.console.semantic_maps import pair_maps
from evenhand.studies.console.strength_curve import strength_curve
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Exclusion, ImageScore, Pair, Rating, Skip, Study, Trial
from evenhand.studies.score_names import FLAG, SAFETY, in_words
from evenhand.studies.unusable_pairs import UnusableError, mark_unusable, take_back

RATINGS_SHOWN = 200  # the latest
CHOICES = {
    -2: "left much better",
    -1: "left slightly better",
    0: "no preference",
    1: "right slightly better",
    2: "right much better",
}


@login_required
@require_GET
def pair(request: HttpRequest, pk: int, pair: int) -> HttpResponse:
    """Show a pair, the baseline's picture left, and lead to those before and after it in the list it was found in."""
    study = get_object_or_404(studies_of(request.user).select_related("current_version"), pk=pk)
    configuration, chosen = configuration_of(study), Chosen.read(request.GET.dict())
    shown = _pair(study, pair)
    pks = ordered_pairs(study, configuration, chosen)
    place = pks.index(shown.pk) if shown.pk in pks else None
    marks = list(shown.exclusions.select_related("made_by", "lifted_by").order_by("-pk"))
    images = (shown.baseline_image, shown.candidate_image)
    context = {
        "study": study,
        "chosen": chosen,
        "pair": shown,
        "sides": [
            {"name": name, "arm": arm, "image": image, "side": side}
            for name, arm, image, side in zip(
                ("Left", "Right"), (shown.comparison.baseline, shown.comparison.candidate), images,
                ("left", "right"), strict=True,
            )
        ],
        "maps": pair_maps(images),
        "small": max(shown.baseline_image.width, shown.candidate_image.width) <= 256,
        "mark": next((each for each in marks if each.lifted_at is None), None),
        "earlier_marks": [each for each in marks if each.lifted_at is not None],
        "curve": strength_curve([image.provenance.get("effective_strength") for image in images]),
        "place": None if place is None else place + 1,
        "of": len(pks),
        "previous": pks[place - 1] if place else None,
        "next": pks[place + 1] if place is not None and place + 1 < len(pks) else None,
        "query": f"?{chosen.query}" if chosen.query else "",
        **_scores(shown),
        **_ratings(shown, configuration),
        "skips": Skip.objects.filter(trial__pair=shown, trial__booklet__evaluator__withdrawn_at=None)
        .select_related("trial__booklet")
        .order_by("-pk")[:RATINGS_SHOWN],
    }  # fmt: skip
    return render(request, "console/pair.html", context)


@login_required
@require_POST
def change_use(request: HttpRequest, pk: int, pair: int) -> HttpResponse:
    """Mark a pair as unusable, or use it again."""
    study = study_of(request.user, pk)
    shown = _pair(study, pair)
    assert isinstance(request.user, AbstractBaseUser)
    if request.POST.get("again"):
        take_back(shown, actor=request.user)
        messages.success(request, "The pair is used again: its ratings count, and people are asked about it.")
    else:
        try:
            mark_unusable(shown, reason=request.POST.get("reason", ""), actor=request.user)
        except UnusableError as error:
            messages.error(request, f"Nothing was changed: {error}.")
        else:
            messages.success(request, "The pair is marked. Its ratings stay stored; results leave them out.")
    chosen = Chosen.read(request.POST.dict()).query
    return redirect(reverse("console:pair", args=[pk, pair]) + (f"?{chosen}" if chosen else ""))


def _pair(study: Study, pk: int) -> Pair:
    related = ("prompt", "comparison__study", "comparison__baseline", "comparison__candidate")
    rows = Pair.objects.filter(comparison__study=study).select_related(*related, "baseline_image", "candidate_image")
    return get_object_or_404(rows, pk=pk)


def _scores(pair: Pair) -> dict[str, Any]:
    """Return each metric's scores of both pictures, and the marks that scoring and screening left on them."""
    images = (pair.baseline_image_id, pair.candidate_image_id)
    values: dict[str, dict[int, float]] = {}
    for metric, image, value in ImageScore.objects.filter(image__in=images).values_list("metric", "image", "value"):
        values.setdefault(metric, {})[image] = value
    rows, flags = [], []
    for metric, of_image in sorted(values.items()):
        if metric.startswith((FLAG, SAFETY)):
            sides = [name for name, image in zip(("left", "right"), images, strict=True) if of_image.get(image)]
            what = "flagged by the safety checker" if metric.startswith(SAFETY) else metric.removeprefix(FLAG)
            flags += [f"{side} picture: {what.replace('_', ' ')}" for side in sides]
        else:
            left, right = (of_image.get(image) for image in images)
            both = left is not None and right is not None
            rows.append(
                {"name": in_words(metric).title, "left": left, "right": right, "by": right - left if both else None}  # type: ignore[operator]
            )
    return {"scores": rows, "flags": flags}


def _ratings(pair: Pair, configuration: StudyConfiguration) -> dict[str, Any]:
    """Return the current ratings of a pair, the latest first, and how many there are of each answer."""
    left_out = Exclusion.objects.filter(evaluator=OuterRef("evaluator"), lifted_at=None)
    alone = Exclusion.objects.filter(rating=OuterRef("pk"), lifted_at=None)
    rows = list(
        Rating.objects.filter(
            trial__pair=pair, trial__kind=Trial.Kind.MAIN, superseded=False, deleted_at=None,
            evaluator__withdrawn_at=None,
        )
        .select_related("trial", "evaluator")
        .annotate(is_left_out=Exists(left_out), is_left_out_alone=Exists(alone))
        .order_by("-pk")
    )  # fmt: skip
    names = [criterion.name for criterion in configuration.criteria]
    lines = [
        {
            "rating": row,
            "simulated": row.evaluator.simulated,
            "said": "both are bad" if row.both_bad else CHOICES[row.preference or 0],
            "criterion": names[row.trial.criterion] if row.trial.criterion < len(names) else "",
            "seconds": None if row.elapsed_ms is None else row.elapsed_ms / 1000,
            "reasons": "; ".join(row.reasons),
            "left_out": vars(row)["is_left_out"]
            or vars(row)["is_left_out_alone"]
            or row.evaluator.pilot
            or not row.counted,
        }
        for row in rows
    ]
    return {"ratings": lines[:RATINGS_SHOWN], "rated": len(lines), "tallies": _tallies(lines, names)}


def _tallies(lines: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Count the answers that are not left out, of people and of simulations apart, criterion by criterion."""
    counted = Counter((each["criterion"], each["simulated"], each["rating"].preference) for each in lines
                      if not each["left_out"])  # fmt: skip
    rows = []
    for name in names:
        for simulated in (False, True):
            counts = [counted[name, simulated, choice] for choice in CHOICES]
            if sum(counts):
                mean = sum(choice * n for choice, n in zip(CHOICES, counts, strict=True)) / sum(counts)
                rows.append({"criterion": name, "simulated": simulated, "counts": counts, "mean": mean})
    return rows
