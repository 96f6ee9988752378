"""Score single pictures by metrics that a scoring names: the CLIP score, PickScore, HPS v2.

A metric is written ``clip``, ``pickscore`` or ``hps``, or with what it loads: ``clip=ViT-g-14,laion2b_s12b_b42k``,
``pickscore=FOLDER``, ``hps=FILE``. Values are stored under the model's name; that of a folder or file has digits of its
fingerprint, so that no score is taken for another model's.

The libraries are imported inside the functions: the web process only checks names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenhand.errors import InputError
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.image_store import image_file
from evenhand.studies.model_roots import DEMO, check_metric
from evenhand.studies.models import Image, ImageScore
from evenhand.studies.pipeline import lost_pictures, model_cache
from evenhand.studies.score_names import NOT_FINITE, ONE_COLOUR

Score = Callable[[Sequence[NDArray[np.uint8]], Sequence[str]], NDArray[np.float32]]
KINDS = ("clip", "pickscore", "hps")
HPS_MODEL = "ViT-H-14"  # whose open_clip weights HPS v2 and v2.1 are (Wu et al. 2023)
NAME_LIMIT = 200  # characters of a metric's name


def parsed(metric: str, kinds: Sequence[str] = KINDS) -> tuple[str, str]:
    """Return a metric's kind and what it loads (empty: its default). Raises ``InputError`` for an unknown kind."""
    kind, _, location = metric.partition("=")
    if kind not in kinds:
        raise InputError(f"there is no metric {metric!r}; choose among {', '.join(kinds)}")
    if len(location) > NAME_LIMIT:
        raise InputError(
            f"{kind}: {len(location)} characters are too many for what it loads, {NAME_LIMIT} are the most"
        )
    if kind == "hps" and not location:
        raise InputError("hps needs a file of weights: hps=FILE")
    return kind, location


def scorer(metric: str, configuration: StudyConfiguration) -> tuple[str, Score]:
    """Load a metric; return the name under which its values are stored, and its function.

    Raises ``InputError`` where the model cannot be loaded.
    """
    kind, location = parsed(metric)
    check_metric(metric)
    if kind == "clip" and not location:
        return _encoder_scorer(configuration)
    return _loaded(kind, location, model_cache.device())


def _encoder_scorer(configuration: StudyConfiguration) -> tuple[str, Score]:
    """Return the CLIP score by the study's encoder: the model that ships and tagged ones are named as plans do."""
    from evenhand.metrics.clip import clip_scores

    clip = model_cache.clip(configuration)
    is_named = configuration.encoder == DEMO or not clip.is_local
    name = configuration.encoder_name if is_named else clip.label
    return f"clip:{name}", lambda pictures, texts: clip_scores(pictures, texts, clip)


@lru_cache(maxsize=4)
def _loaded(kind: str, location: str, device: str) -> tuple[str, Score]:
    if kind == "pickscore":
        from evenhand.metrics.pickscore import DEFAULT, load_pickscore, pick_scores

        model = load_pickscore(location or DEFAULT, device=device)
        return model.label, lambda pictures, texts: pick_scores(pictures, texts, model)
    from evenhand.metrics.clip import clip_scores, load_clip

    if kind == "hps":
        clip = load_clip(HPS_MODEL, location, device=device)
        return f"hps:{clip.label}", lambda pictures, texts: clip_scores(pictures, texts, clip)
    name, _, pretrained = location.partition(",")
    clip = load_clip(name, pretrained or None, device=device)
    return f"clip:{clip.label}", lambda pictures, texts: clip_scores(pictures, texts, clip)


def score_images(images: Sequence[Image], metrics: Sequence[str], configuration: StudyConfiguration) -> list[str]:
    """Store the metrics' values of pictures that have none yet; return the names under which they are stored.

    Pictures of one colour are scored and marked; a value that is not finite is not stored, and its picture is marked.
    """
    from evenhand.generation.images import decode_png
    from evenhand.metrics.pictures import is_one_coloured

    pixels: dict[int, Any] = {}

    def picture(image: Image) -> Any:
        if image.pk not in pixels:
            pixels[image.pk] = decode_png(image_file(image.sha256).read_bytes())
        return pixels[image.pk]

    rows, names = [], []
    for metric in metrics:
        name, score = scorer(metric, configuration)
        names.append(name)
        not_finite = f"{NOT_FINITE}:{name}"
        known = ImageScore.objects.filter(image__in=images, metric__in=[name, not_finite])
        missing = [image for image in images if image.pk not in set(known.values_list("image_id", flat=True))]
        if not missing:
            continue
        lost_pictures.ensure(missing)
        values = score([picture(image) for image in missing], [image.prompt.text for image in missing])
        for image, value in zip(missing, values.tolist(), strict=True):
            finite = abs(value) != float("inf") and value == value
            rows.append(ImageScore(image=image, metric=name if finite else not_finite, value=value if finite else 1.0))
    seen = [image for image in images if image.pk in pixels]
    rows += [ImageScore(image=image, metric=ONE_COLOUR, value=1.0) for image in seen if is_one_coloured(picture(image))]
    ImageScore.objects.bulk_create(rows, ignore_conflicts=True)
    return names
