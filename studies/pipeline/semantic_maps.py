"""Read off which token each patch of a picture followed: make the picture again, and keep the maps of its guidance.

The libraries are imported inside the functions, because the web process asks for maps and never loads torch.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from evenhand.errors import InputError
from evenhand.generation.guidance import from_dict
from evenhand.generation.plan import demanded_rows
from evenhand.studies.models import Image, SemanticMap
from evenhand.studies.pipeline import model_cache
from evenhand.studies.work import queue as work_queue
from evenhand.studies.work.notify import notify
from evenhand.studies.work.queue import Claim, Handler

QUEUE = "gpu"


def has_map(image: Image) -> bool:
    """Whether a picture's guidance chooses tokens by patch; plain classifier-free guidance does not."""
    record = image.provenance
    if image.kind != Image.Kind.GENERATED or "guidance" not in record or "scheduler" not in record:
        return False
    try:
        rows = demanded_rows([from_dict(record["guidance"])], record["scheduler"]["steps"])
    except InputError:  # a method of a package that is not installed any more
        return False
    return any(row.scale is not None for row in rows)


def ask(images: list[Image]) -> list[SemanticMap]:
    """Ask a worker for the maps of those pictures that have one; one that failed begins anew."""
    asked = []
    with transaction.atomic():
        for image in filter(has_map, images):
            semantic_map, _ = SemanticMap.objects.get_or_create(image=image, defaults={"queue": QUEUE})
            asked.append(semantic_map)
        work_queue.release(SemanticMap.objects.filter(pk__in=[each.pk for each in asked]))
        transaction.on_commit(lambda: notify(QUEUE))
    return asked


def compute(claim: Claim[SemanticMap]) -> dict[str, Any]:
    """Make a claimed map; return the value to store in its row."""
    from evenhand.generation.semantics import finest_modules, maps_of, most_frequent, token_names
    from evenhand.studies.pipeline.remaking import run_again

    record = claim.item.image.provenance
    maps = run_again(record, semantic_maps=True).semantic_maps["image"]
    tokens = most_frequent(maps_of(maps, 0, modules=finest_modules(maps)))
    pipeline = model_cache.pipeline_of(record["checkpoint"], record["revision"], record["dtype"])
    names = token_names(pipeline.tokenizer, record["prompt"])
    return {"found": {"names": names, "tokens": tokens.tolist()}}


HANDLER = Handler(compute)
