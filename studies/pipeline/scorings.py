"""Score a study's arms by metrics, beside what people say: the paper's Tables 1 and 2 over any prompts of the study.

A scoring makes the pictures that are missing, scores every picture, and compares each arm with reference pictures. It
is cut into parts that any worker takes; a part that was interrupted is done again, and what is stored is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import F, Sum

from evenhand.errors import InputError
from evenhand.generation.guidance import Guidance, fingerprint
from evenhand.studies import audit
from evenhand.studies.arm_recipes import made_for, recipes_of
from evenhand.studies.arms import arms_of
from evenhand.studies.chosen_prompts import CHOICES, pks_of, prompts_of, seed_of
from evenhand.studies.configuration import StudyConfiguration, arm_label
from evenhand.studies.drafts import configuration_of
from evenhand.studies.image_store import image_file
from evenhand.studies.models import Arm, Image, Prompt, Scoring, ScoringPart, Study
from evenhand.studies.models.work import WorkItem
from evenhand.studies.pipeline import scorers
from evenhand.studies.pipeline.distances import SCENES as SCENES
from evenhand.studies.pipeline.distances import SPACES, compare_arm, read_reference
from evenhand.studies.pipeline.pictures import generate_missing
from evenhand.studies.work import queue as work_queue
from evenhand.studies.work.notify import notify
from evenhand.studies.work.queue import Claim, Handler

QUEUE = "gpu"
PROMPTS_PER_PART = 64
MOST_ARMS = 40


class ScoringError(InputError):
    """A scoring that cannot be made; the message names what is wrong."""


@dataclass(frozen=True)
class Request:
    """What a scoring computes.

    arms: guidances beside those of the study. prompts: of the final subset, of the first, or the whole set. metrics: of
    single pictures, as ``scorers`` writes them. spaces: of features in which arms are compared with the reference.
    reference: a folder of pictures, or ``scenes``, which renders the demo's captions. crop: whether reference pictures
    are cut to their centred square and scaled to the study's size.
    """

    arms: tuple[Guidance, ...] = ()
    prompts: str = "final"
    metrics: tuple[str, ...] = ("clip",)
    spaces: tuple[str, ...] = ()
    reference: str = ""
    crop: bool = False

    def check(self) -> None:
        """Raise ``ScoringError`` for what certainly cannot be computed, before any model is loaded."""
        if self.prompts not in CHOICES:
            raise ScoringError(f"prompts must be one of {', '.join(CHOICES)}, not {self.prompts!r}")
        for metric in self.metrics:
            scorers.parsed(metric)
        _refuse_two_of_one_kind(self.spaces)
        if self.spaces and not self.reference:
            raise ScoringError(f"{', '.join(self.spaces)}: a distance needs reference pictures")
        if self.reference and not self.spaces:
            raise ScoringError(f"reference pictures need a space of features: {', '.join(SPACES)}")
        if self.reference and self.reference != SCENES and not Path(self.reference).is_dir():
            raise ScoringError(f"there is no folder of reference pictures {self.reference!r}")
        if not self.metrics and not self.spaces:
            raise ScoringError("name at least one metric, or a reference")


def _refuse_two_of_one_kind(spaces: Sequence[str]) -> None:
    """Refuse spaces whose distances would have one name: the later ones would take the place of the earlier ones."""
    named: dict[str, str] = {}
    for space in spaces:
        kind, _ = scorers.parsed(space, SPACES)
        if kind in named:
            raise ScoringError(
                f"{named[kind]} and {space} are both of the kind {kind}; start a scoring for each of them"
            )
        named[kind] = space


def start(study: Study, request: Request, *, actor: AbstractBaseUser | None = None) -> Scoring:
    """Create a scoring of a prepared study and notify the workers. Raises ``ScoringError``."""
    request.check()
    if study.state in (Study.State.DRAFT, Study.State.PREPARING):
        raise ScoringError(f"“{study.name}” is {study.state}; only a prepared study has arms to score")
    configuration = configuration_of(study)
    if configuration.ready_made and request.arms:
        raise ScoringError(f"the pictures of “{study.name}” were uploaded; none can be generated beside them")
    elsewhere = [arm.label() for arm in request.arms if not arm.generated_here]
    if elsewhere:
        raise ScoringError(f"{elsewhere[0]}: only the study's own checkpoint draws arms beside the study's")
    prompts = pks_of(study, request.prompts)
    with transaction.atomic():
        arms = _arms(study, request.arms)
        plan = {
            "arms": [arm.pk for arm in arms],
            "prompts": request.prompts,
            "count": len(prompts),
            "metrics": list(request.metrics),
            "spaces": list(request.spaces),
            "reference": _absolute(request.reference),
            "crop": request.crop,
        }
        scoring = Scoring.objects.create(study=study, plan=plan, created_by_id=actor.pk if actor else None)
        ScoringPart.objects.bulk_create(_parts(scoring, prompts, arms, configuration), batch_size=1000)
        audit.record(study, "scoring started", actor=actor, scoring=scoring.pk, **plan)
    transaction.on_commit(lambda: notify(QUEUE))
    return scoring


def _absolute(reference: str) -> str:
    """Return a folder's whole path: a worker may run in another one."""
    return reference if reference in ("", SCENES) else str(Path(reference).resolve())


def _arms(study: Study, others: Iterable[Guidance]) -> list[Arm]:
    """Return the study's arms, the baseline first, and the others without repetition."""
    arms = {arm.pk: arm for arm in arms_of(study)}
    for guidance in others:
        values = {"label": arm_label(guidance), "guidance": guidance.to_dict()}
        arm = Arm.objects.get_or_create(fingerprint=fingerprint(guidance), defaults=values)[0]
        arms[arm.pk] = arm
    if len(arms) > MOST_ARMS:
        raise ScoringError(f"{len(arms)} arms are too many for one scoring, {MOST_ARMS} are the most")
    return list(arms.values())


def _parts(
    scoring: Scoring, prompts: Sequence[int], arms: Sequence[Arm], configuration: StudyConfiguration
) -> list[ScoringPart]:
    size = max(1, PROMPTS_PER_PART // configuration.batch_size) * configuration.batch_size
    phases = ScoringPart.Phase
    spaces = scoring.plan["spaces"]
    items: list[tuple[int, list[Any], int]] = [
        (phases.PICTURES, list(part), len(part) * len(arms))
        for part in (prompts[at : at + size] for at in range(0, len(prompts), size))
    ]
    items += [(phases.REFERENCE, [space], 100) for space in spaces]
    items += [(phases.DISTANCES, [arm.pk, space], len(prompts)) for arm in arms for space in spaces]
    return [
        ScoringPart(scoring=scoring, phase=phase, number=number, items=what, total=total, queue=QUEUE)
        for number, (phase, what, total) in enumerate(items)
    ]


@dataclass(frozen=True)
class Progress:
    """How far a scoring is: its state (waiting, running, done, failed), units done of all, and the first error."""

    state: str
    done: int
    total: int
    error: str


def progress_of(scoring: Scoring) -> Progress:
    """Return how far a scoring is, from its parts."""
    return progresses([scoring])[0]


def progresses(scorings: Sequence[Scoring]) -> list[Progress]:
    """Return how far scorings are, in two queries."""
    parts = ScoringPart.objects.filter(scoring__in=[scoring.pk for scoring in scorings]).order_by()
    sums: dict[int, dict[str, tuple[int, int]]] = {scoring.pk: {} for scoring in scorings}
    for pk, state, done, total in parts.values_list("scoring", "state").annotate(d=Sum("done"), t=Sum("total")):
        sums[pk][state] = (done, total)
    failed = parts.filter(state=WorkItem.State.FAILED).order_by("-pk")
    errors = dict(failed.values_list("scoring", "error"))
    return [_progress(sums[scoring.pk], errors.get(scoring.pk, "")) for scoring in scorings]


def _progress(sums: Mapping[str, tuple[int, int]], error: str) -> Progress:
    states = set(sums)
    if WorkItem.State.FAILED in states:
        state = "failed"
    elif states <= {WorkItem.State.DONE}:
        state = "done"
    else:
        state = "waiting" if states == {WorkItem.State.WAITING} else "running"
    return Progress(state, sum(done for done, _ in sums.values()), sum(total for _, total in sums.values()), error)


def retry(scoring: Scoring) -> int:
    """Give failed parts another round of attempts; return how many there were."""
    count = work_queue.release(ScoringPart.objects.filter(scoring=scoring))
    notify(QUEUE)
    return count


@dataclass
class _Work:
    """A claimed part, as ``pictures.PictureWork``. done: units finished before the current call."""

    configuration: StudyConfiguration
    claim: Claim[ScoringPart]
    share: float = 1.0

    def progress(self, done: int, total: int) -> None:
        self.claim.progress(int(self.share * done), total)

    def confirm(self) -> None:
        self.claim.confirm()

    def count_evaluations(self, evaluations: int) -> None:
        Scoring.objects.filter(pk=self.claim.item.scoring_id).update(evaluations=F("evaluations") + evaluations)


def run(claim: Claim[ScoringPart]) -> None:
    """Run one claimed part."""
    part = claim.item
    scoring = Scoring.objects.select_related("study__recipe", "study__current_version").get(pk=part.scoring_id)
    configuration = configuration_of(scoring.study)
    if part.phase == ScoringPart.Phase.PICTURES:
        _score_pictures(scoring, configuration, claim)
    elif part.phase == ScoringPart.Phase.REFERENCE:
        read_reference(scoring, configuration, part.items[0], claim.progress)
    else:
        arm, space = part.items
        images = [(f"{image.prompt.index}", image_file(image.sha256)) for image in pictures_of(scoring, arm)]
        compare_arm(scoring, configuration, Arm.objects.get(pk=arm), space, images, claim.progress)


def pictures_of(scoring: Scoring, arm: int) -> list[Image]:
    """Return an arm's pictures of the scoring's prompts, by the prompts' index."""
    return _images(scoring.study, prompts_of(scoring.study, scoring.plan["prompts"]), [arm])


def _images(study: Study, prompts: Any, arms: Sequence[int]) -> list[Image]:
    """Return the done pictures of prompts and arms, each with the study's seed of its prompt."""
    configuration = configuration_of(study)
    found = Image.objects.filter(made_for(study), prompt__in=prompts, arm__in=arms, state=Image.State.DONE)
    images = found.exclude(kind=Image.Kind.ALTERED).select_related("prompt").order_by("prompt__index", "arm")
    return [image for image in images if image.seed == seed_of(image.prompt, configuration)]


def _score_pictures(scoring: Scoring, configuration: StudyConfiguration, claim: Claim[ScoringPart]) -> None:
    """Make the missing pictures of a part's prompts, unless they were uploaded, and store the missing scores."""
    prompts = list(Prompt.objects.filter(pk__in=claim.item.items).order_by("index"))
    arms = list(Arm.objects.filter(pk__in=scoring.plan["arms"]))
    if not configuration.ready_made:
        for recipe, drawn_by_it in recipes_of(scoring.study, arms).values():
            generate_missing(_Work(configuration, claim, share=0.9), recipe, prompts, drawn_by_it)
    images = _images(scoring.study, prompts, [arm.pk for arm in arms])
    scorers.score_images(images, scoring.plan["metrics"], configuration)


HANDLER = Handler(run)
