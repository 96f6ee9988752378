"""Complete a stage of which single items were set aside: prompts that cannot be drawn leave the study.

Such a prompt leaves the first subset. Where that happens among the final subset's prompts, the strata are chosen anew
from the others, so that the design keeps its shape; finished pictures are found again.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from evenhand.studies import audit
from evenhand.studies.models import Batch, Prompt, Stage, SubsetPrompt

CHOSEN_ANEW = {"baseline": (), "arms": ("strata", "arms")}  # stages whose batches hold prompts: what runs again
SHOWN = 300  # characters of an error in the audit log


def complete(stage: Stage) -> bool:
    """Complete a running stage without an open batch; whether the preparation goes on.

    Where something was set aside that the study cannot do without, the stage fails and says what.
    """
    aside = list(Batch.objects.filter(stage=stage, state=Batch.State.FAILED).order_by("number"))
    if not aside:
        _end(stage)
        return True
    if stage.name not in CHOSEN_ANEW:
        error = f"{len(aside)} of {stage.total} could not be done, the first one because: {aside[0].error}"
        Stage.objects.filter(pk=stage.pk, state=Stage.State.RUNNING).update(state=Stage.State.FAILED, error=error)
        return False
    _leave_out(stage, aside)
    return True


def _end(stage: Stage, **values: Any) -> bool:
    ended = {"state": Stage.State.DONE, "finished_at": timezone.now(), "error": "", "done": F("total")}
    return bool(Stage.objects.filter(pk=stage.pk, state=Stage.State.RUNNING).update(**ended | values))


def _leave_out(stage: Stage, aside: list[Batch]) -> None:
    """Take the prompts of failed batches out of the first subset, and end the stage or choose the strata anew."""
    errors = {pk: batch.error for batch in aside for pk in batch.items if isinstance(pk, int)}
    again = CHOSEN_ANEW[stage.name]
    with transaction.atomic():
        if not _end(stage):  # another worker has just done it
            return
        prompts = Prompt.objects.filter(pk__in=errors).order_by("index")
        left_out = [{"prompt": each.text, "error": errors[each.pk][:SHOWN]} for each in prompts]
        SubsetPrompt.objects.filter(subset=stage.study.subset_id, prompt__in=errors).delete()
        repeated = Stage.objects.filter(study=stage.study_id, name__in=again)
        Batch.objects.filter(stage__in=repeated.values("pk")).delete()
        repeated.update(state=Stage.State.WAITING, done=0, total=0, marks=[], started_at=None, finished_at=None)
        audit.record(stage.study, "prompts left out", stage=stage.name, prompts=left_out)
