"""Take back what is not yet data: stop a preparation, return a study to its draft, delete it, plan it again.

A study without an answer of a real person is its admins' own affair. From the first such answer on it is a record: it
can be closed, and is never deleted or planned anew.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import F

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.drafts import configuration_of, create_study
from evenhand.studies.models import (
    ArmRecipe,
    Batch,
    Booklet,
    CheckPair,
    Comparison,
    Evaluator,
    Exclusion,
    Pair,
    Rating,
    Replication,
    Scoring,
    Skip,
    Stage,
    Study,
    StudyVersion,
    Trial,
)

logger = logging.getLogger(__name__)
STOPPED = "stopped by an admin"


class UndoError(InputError):
    """A step back that is not possible any more; the message says why, and nothing was changed."""


@dataclass(frozen=True)
class Losses:
    """What a step back would delete, in numbers."""

    pairs: int
    simulated_ratings: int
    pilot_ratings: int
    people: int  # who have a link or have come in, and have given no answer

    @property
    def sentence(self) -> str:
        """Say it for a page."""
        named = (
            (self.pairs, "pair", "pairs"),
            (self.simulated_ratings, "simulated answer", "simulated answers"),
            (self.pilot_ratings, "answer of the pilot", "answers of the pilot"),
            (self.people, "person’s link", "people’s links"),
        )
        parts = [f"{count:,} {one if count == 1 else many}" for count, one, many in named if count]
        return " and ".join(parts) if len(parts) < 3 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def has_answers(study: Study) -> bool:
    """Whether a real person has answered, be it later withdrawn, corrected or deleted on request.

    A pilot's answers do not bind: they are there to find out what must be changed.
    """
    return Rating.objects.filter(evaluator__study=study, evaluator__simulated=False, evaluator__pilot=False).exists()


def losses(study: Study) -> Losses:
    """Count what a return to the draft would delete. Pictures stay: they are found again when the same are wanted."""
    return Losses(
        pairs=Pair.objects.filter(comparison__study=study).count(),
        simulated_ratings=Rating.objects.filter(evaluator__study=study, evaluator__simulated=True).count(),
        pilot_ratings=Rating.objects.filter(evaluator__study=study, evaluator__pilot=True).count(),
        people=Evaluator.objects.filter(study=study, simulated=False).count(),
    )


def stop_preparation(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """Stop a preparation: what is finished is kept, workers leave what they are at. *Try again* goes on with it.

    Raises ``UndoError`` where no stage is running.
    """
    with transaction.atomic():
        stages = Stage.objects.filter(study=study, study__state=Study.State.PREPARING, state=Stage.State.RUNNING)
        names = list(stages.values_list("name", flat=True))
        if not stages.update(state=Stage.State.FAILED, error=STOPPED):
            raise UndoError(f"no stage of “{study.name}” is running")
        # Whoever holds a batch finds out at the next report, or before it stores anything in the study.
        open_batches = Batch.objects.filter(stage__study=study).exclude(state=Batch.State.DONE)
        open_batches.update(state=Batch.State.FAILED, holder=None, lease_until=None, not_before=None, error=STOPPED)
        audit.record(study, "stopped", actor=actor, stages=names)


def return_to_draft(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """Thaw the plan of a study that nobody has rated, and delete what was made from it, but no picture.

    Raises ``UndoError`` for a draft, while a stage is running, while evaluators may come in, where a real person has
    answered, and for a study of uploaded pictures.
    """
    with transaction.atomic():
        locked = _lock(study)
        if locked.state == Study.State.DRAFT:
            raise UndoError(f"“{study.name}” is a draft: its plan can be changed as it is")
        _check_quiet(locked)
        frozen = configuration_of(locked)
        _check_made_here(locked, frozen.ready_made)
        lost = losses(locked)
        _delete_made(locked)
        # One version remains, with the configuration that was in force: the draft that is changed.
        version = locked.current_version
        assert version is not None  # configuration_of read it
        StudyVersion.objects.filter(study=locked).exclude(pk=version.pk).delete()
        StudyVersion.objects.filter(pk=version.pk).update(number=1)
        Study.objects.filter(pk=locked.pk).update(state=Study.State.DRAFT, ratings_root="")
        audit.record(study, "returned to draft", actor=actor, version_hash=frozen.sha256, deleted=lost.sentence)
    study.refresh_from_db()


def delete_study(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """Delete a study that nobody has rated, with everything that belongs to it alone; its name is free again.

    Pictures and prompts stay. Raises ``UndoError`` as ``return_to_draft`` does, but for a draft.
    """
    name, number = study.name, study.pk
    with transaction.atomic():
        locked = _lock(study)
        _check_quiet(locked)
        _delete_made(locked)
        Study.objects.filter(pk=number).update(state=Study.State.DRAFT, current_version=None)
        Study.objects.get(pk=number).delete()
    logger.info("study %s “%s” was deleted by %s", number, name, actor.pk if actor else "a command")


def duplicate(study: Study, *, name: str, owner: AbstractBaseUser, keep_out: bool = False) -> Study:
    """Create a draft with another study's prompts and its configuration in force; no people, no pictures' record.

    keep_out: people who took part in the other study, or will, are not let in.

    Raises ``UndoError`` for a study of uploaded pictures.
    """
    configuration = configuration_of(study)
    _check_made_here(study, configuration.ready_made)
    copy = create_study(owner=owner, name=name, prompt_set=study.prompt_set, configuration=configuration)
    audit.record(copy, "duplicated", actor=owner, source=study.pk, source_name=study.name)
    if keep_out:
        copy.keeps_out.add(study)
        audit.record(copy, "kept out", actor=owner, studies=[study.name])
    return copy


def _lock(study: Study) -> Study:
    """Lock the study's row: an answer that comes at this moment waits, and then finds another state."""
    Study.objects.filter(pk=study.pk).update(name=F("name"))
    return Study.objects.select_related("current_version").get(pk=study.pk)


def _check_made_here(study: Study, ready_made: bool) -> None:
    """Raise ``UndoError`` for ready-made pairs: a draft of them could not be prepared."""
    if ready_made:
        raise UndoError(
            f"the pairs of “{study.name}” were uploaded ready-made: upload them again for another plan, and delete "
            "this study if nobody has rated it"
        )


def _check_quiet(study: Study) -> None:
    """Raise ``UndoError`` where a real person has answered, or where something may come in meanwhile."""
    if has_answers(study):
        raise UndoError(f"people have answered in “{study.name}”: it is a record now, which can be closed")
    if study.state == Study.State.COLLECTING:
        raise UndoError(f"“{study.name}” is open: pause it first, so that nobody begins meanwhile")
    if Stage.objects.filter(study=study, state=Stage.State.RUNNING).exists():
        raise UndoError(f"“{study.name}” is being prepared: stop the preparation first")


def _delete_made(study: Study) -> None:
    """Delete people, booklets, pairs, scorings, stages and the drawn subset, in the order that the references allow."""
    people = Evaluator.objects.filter(study=study).values("pk")
    trials = Trial.objects.filter(booklet__study=study)
    Exclusion.objects.filter(study=study).delete()
    # Rows that name each other go in one statement; the database checks at the end of the transaction.
    for rows in (
        Rating.objects.filter(evaluator__in=people),
        Skip.objects.filter(trial__in=trials.values("pk")),
        trials,
        Booklet.objects.filter(study=study),
        Evaluator.objects.filter(study=study),
    ):
        rows._raw_delete(rows.db)
    Pair.objects.filter(comparison__study=study).delete()
    CheckPair.objects.filter(study=study).delete()
    Comparison.objects.filter(study=study).delete()
    ArmRecipe.objects.filter(study=study).delete()
    Replication.objects.filter(study=study).delete()  # what is made anew is nobody's replication
    Scoring.objects.filter(study=study).delete()
    Stage.objects.filter(study=study).delete()
    subset = study.subset
    Study.objects.filter(pk=study.pk).update(subset=None, recipe=None)
    if subset is not None:
        subset.delete()
