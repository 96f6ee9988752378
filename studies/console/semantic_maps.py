"""Show which token each patch of a pair's pictures followed, once a worker has read the maps off."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods
from PIL import Image as Pillow

from evenhand.generation.semantics import overlay
from evenhand.studies.access import studies_of, study_of
from evenhand.studies.image_store import image_file
from evenhand.studies.models import Image, Pair, SemanticMap
from evenhand.studies.pipeline import semantic_maps
from evenhand.studies.visibility import image_of

SIDE = 512  # pixels of the longer side of picture and map


@dataclass(frozen=True)
class SideMap:
    """One picture's map: whether its guidance has any, and how far a worker is with it."""

    name: str
    image: Image
    possible: bool
    map: SemanticMap | None

    @property
    def moving(self) -> bool:
        """Whether a worker is to make the map, or is making it."""
        return self.map is not None and self.map.state in (SemanticMap.State.WAITING, SemanticMap.State.LEASED)


@dataclass(frozen=True)
class PairMaps:
    """The maps of a pair's pictures."""

    sides: list[SideMap]

    @property
    def possible(self) -> bool:
        """Whether either picture has a map."""
        return any(each.possible for each in self.sides)

    @property
    def moving(self) -> bool:
        """Whether the page is to look again soon."""
        return any(each.moving for each in self.sides)

    @property
    def lacking(self) -> bool:
        """Whether a map that could be there is not, and no worker is asked for it."""
        done = SemanticMap.State.DONE
        return any(each.possible and not each.moving and (each.map is None or each.map.state != done)
                   for each in self.sides)  # fmt: skip


def pair_maps(images: Sequence[Image]) -> PairMaps:
    """Return the maps of a pair's pictures, left and right; one query."""
    found = {each.image_id: each for each in SemanticMap.objects.filter(image__in=images)}
    return PairMaps(
        [
            SideMap(name, image, semantic_maps.has_map(image), found.get(image.pk))
            for name, image in zip(("Left", "Right"), images, strict=True)
        ]
    )


@login_required
@require_http_methods(["GET", "POST"])
def maps(request: HttpRequest, pk: int, pair: int) -> HttpResponse:
    """Ask a worker for the maps of a pair, or return the part of the pair's page that shows them."""
    if request.method == "POST":
        study_of(request.user, pk)
    study = get_object_or_404(studies_of(request.user), pk=pk)
    rows = Pair.objects.filter(comparison__study=study).select_related("baseline_image", "candidate_image")
    shown = get_object_or_404(rows, pk=pair)
    images = [shown.baseline_image, shown.candidate_image]
    if request.method == "POST":
        semantic_maps.ask(images)
        return redirect(reverse("console:pair", args=[pk, pair]) + "#maps")
    context = {"study": study, "pair": shown, "maps": pair_maps(images)}
    return render(request, "console/_semantic_maps.html", context)


@login_required
@require_GET
def picture(request: HttpRequest, pk: int) -> HttpResponse:
    """Serve a picture under its semantic map, with a legend of the tokens, as PNG."""
    image = image_of(request.user, pk)
    found = get_object_or_404(SemanticMap, image=image, state=SemanticMap.State.DONE).found
    assert found is not None
    try:
        with image_file(image.sha256).open() as file, Pillow.open(file) as stored:
            pixels = np.asarray(stored.convert("RGB"))
    except FileNotFoundError as error:
        raise Http404(f"the file of image {pk} is missing") from error
    drawn = overlay(pixels, np.asarray(found["tokens"]), found["names"], side=SIDE)
    data = io.BytesIO()
    Pillow.fromarray(drawn).save(data, "PNG")
    return HttpResponse(data.getvalue(), "image/png", headers={"Cache-Control": "private, max-age=3600"})
