"""Make pictures again whose files are lost, from their records, with equal bytes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from django.db.models import Q, QuerySet

from evenhand.errors import InputError, lacks_models
from evenhand.studies import check_pairs
from evenhand.studies.drafts import configuration_of
from evenhand.studies.image_store import missing, store_picture
from evenhand.studies.models import CheckPair, Image, Pair, Study
from evenhand.studies.pipeline.remaking import remake
from evenhand.studies.work.outage import is_outage

logger = logging.getLogger(__name__)

OPEN_STATES = (Study.State.READY, Study.State.COLLECTING, Study.State.PAUSED)


@dataclass
class Restoring:
    """Which pictures were made again, and why others could not be, by the image's number."""

    restored: list[Image] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)


def of_open_studies() -> QuerySet[Image]:
    """Return the pictures that evaluators of ready, open and paused studies may see."""
    pairs = Pair.objects.filter(comparison__study__state__in=OPEN_STATES)
    checks = CheckPair.objects.filter(study__state__in=OPEN_STATES)
    return Image.objects.filter(
        Q(pk__in=pairs.values("baseline_image"))
        | Q(pk__in=pairs.values("candidate_image"))
        | Q(pk__in=checks.values("better"))
        | Q(pk__in=checks.values("worse"))
    )


def lost(images: QuerySet[Image] | Iterable[Image]) -> list[Image]:
    """Return the done pictures whose files are not there."""
    rows = list(images.filter(state=Image.State.DONE) if isinstance(images, QuerySet) else images)
    gone = missing(image.sha256 for image in rows)
    return [image for image in rows if image.sha256 in gone]


def in_order(images: Iterable[Image]) -> list[Image]:
    """Put pictures before those that were altered: a damaged copy needs the picture that it was made from."""
    return sorted(images, key=lambda image: image.kind == Image.Kind.ALTERED)


def ensure(images: Iterable[Image]) -> None:
    """Make those pictures again whose files are lost.

    Raises ``InputError`` where one cannot be, and other errors as they come: they are tried again, with the work.
    """
    refused = _restore_each(lost(images), InputError).refused
    if refused:
        raise InputError("; ".join(refused.values()))


def restore(images: Iterable[Image]) -> Restoring:
    """Make pictures again and store their files, where the bytes are the recorded ones. For workers and commands.

    A picture that fails, whatever the error, holds up no other. Raises only what would fail all: an outage, or
    ``ModuleNotFoundError`` where the models' libraries are not installed.
    """
    return _restore_each(images, Exception)


def _restore_each(images: Iterable[Image], survived: type[Exception]) -> Restoring:
    """Make pictures again; an error of the kind ``survived`` is noted, and the next picture has its turn."""
    result = Restoring()
    for image in in_order(images):
        try:
            _restore(image)
        except survived as error:
            if is_outage(error) or lacks_models(error):
                raise
            result.refused[image.pk] = _in_words(image, error)
        else:
            logger.info("%s has been made again with equal bytes", image)
            result.restored.append(image)
    return result


def _in_words(image: Image, error: Exception) -> str:
    """Log why a picture could not be made again, a fault with its traceback, and return it for people."""
    if isinstance(error, InputError):
        logger.warning("%s: %s", image, error)
        return str(error)
    logger.error("%s could not be made again", image, exc_info=error)
    return f"{image} could not be made again: {type(error).__name__}: {error}"


def _restore(image: Image) -> None:
    told = f"the file of {image} is lost or damaged"
    if image.kind == Image.Kind.UPLOADED:
        raise InputError(f"{told}: restore {image.sha256}.png from a backup, it was uploaded")
    if image.kind == Image.Kind.ALTERED:
        if not any(made == image.sha256 for made in _damaged_again(image)):
            raise InputError(f"{told}, and what alters it now gives other bytes")
        return
    made = remake(image.provenance).data
    from evenhand.generation.images import sha256_of

    if sha256_of(made) != image.sha256:
        raise InputError(f"{told}, and made again it has other bytes: manage.py regenerate {image.pk} says why")
    store_picture(made)


def _damaged_again(image: Image) -> Iterator[str]:
    """Damage the better pictures again that this one may be a copy of; yield the hashes of what is stored."""
    for pair in CheckPair.objects.filter(worse=image).select_related("study", "better__prompt"):
        ensure([pair.better])
        configuration = configuration_of(pair.study)
        fault = CheckPair.Fault.values.index(pair.fault)
        for numbers in ((), (pair.better_id, fault)):  # as the stage makes them, and as an exchange does
            rng = check_pairs.stream(configuration, pair.number, *numbers)
            ratios = check_pairs.size_ratios(pair.study)
            yield check_pairs.worse_image(pair.better, CheckPair.Fault.DAMAGED, [], ratios, rng).sha256
