"""Let a worker try a draft's recipe before the plan is frozen: read its checkpoints and its encoder, and time them.

One batch of the draft's prompts is drawn with all its arms, for a minute at most, and no picture of it is kept. What a
network evaluation took says how long the preparation will take on such workers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils import timezone

from evenhand.errors import InputError
from evenhand.generation.guidance import Guidance
from evenhand.studies.arm_recipes import RecipePart, arms_by_part, drawn
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import PromptSet, RecipeCheck, Study
from evenhand.studies.pipeline import model_cache, reading
from evenhand.studies.work.notify import notify
from evenhand.studies.work.queue import Claim, Handler

QUEUE = "gpu"
LONGEST = 60.0  # seconds that one checkpoint is timed
PROMPTS_ENCODED = 64  # to time the encoder


@dataclass(frozen=True)
class PartFinding:
    """What a worker found of one checkpoint. Sizes in pixels, times in seconds."""

    checkpoint: str
    revision: str
    height: int
    width: int
    device: str
    evaluation: float  # seconds of one network evaluation, its share of a batch
    picture: float | None  # seconds of decoding one picture; None where a minute did not suffice for any

    @property
    def milliseconds(self) -> str:
        """The time of an evaluation, with two digits."""
        return f"{float(f'{1000 * self.evaluation:.2g}'):g}"


@dataclass(frozen=True)
class Findings:
    """What a worker found: its checkpoints in the order of ``arms_by_part``, and seconds for encoding a prompt."""

    parts: list[PartFinding]
    prompt: float

    @classmethod
    def of(cls, check: RecipeCheck) -> Findings:
        """Read the findings of a check that is done."""
        assert check.findings is not None
        return cls([PartFinding(**part) for part in check.findings["parts"]], check.findings["prompt"])


def subject_of(study: Study, configuration: StudyConfiguration) -> str:
    """Return a hash (64 hex digits) of what a check reads: the prompt set, what draws each arm, and the encoder."""
    parts = [
        [asdict(part), [guidance.to_dict() for guidance in arms]] for part, arms in arms_by_part(configuration).items()
    ]
    what = [
        study.prompt_set.sha256,
        parts,
        drawn(configuration.baseline).to_dict(),
        [configuration.height, configuration.width, configuration.batch_size, configuration.measure_strength],
        [configuration.encoder, configuration.encoder_pretrained],
    ]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def latest(study: Study, configuration: StudyConfiguration) -> RecipeCheck | None:
    """Return the last check of what this configuration names, if it was asked for; one query."""
    return RecipeCheck.objects.filter(study=study, subject=subject_of(study, configuration)).first()


def ask(study: Study, *, actor: AbstractBaseUser | None = None, again: bool = False) -> RecipeCheck:
    """Ask a worker to check a draft's recipe, and return the check.

    One that waits, runs or found the recipe good is returned as it is, unless ``again`` asks for another once it ended.
    Checks of what the draft named before are removed. Raises ``InputError`` for a study that draws no pictures.
    """
    moving = (RecipeCheck.State.WAITING, RecipeCheck.State.LEASED)
    with transaction.atomic():
        study = Study.objects.select_for_update().get(pk=study.pk)  # as it is now, and so that two presses ask once
        configuration = configuration_of(study)
        if configuration.ready_made:
            raise InputError(f"“{study.name}” draws no pictures: there is no recipe to check")
        known = latest(study, configuration)
        if known is not None and (known.state in moving or (known.state == RecipeCheck.State.DONE and not again)):
            return known
        RecipeCheck.objects.filter(study=study).delete()
        check = RecipeCheck.objects.create(
            study=study,
            configuration=configuration.to_json(),
            subject=subject_of(study, configuration),
            creator_id=actor.pk if actor else None,
            queue=QUEUE,
            total=len(arms_by_part(configuration)) + 1,
        )
        transaction.on_commit(lambda: notify(QUEUE))
    return check


def compute(claim: Claim[RecipeCheck]) -> dict[str, Any]:
    """Check a claimed recipe; return the values to store in its row. Raises ``InputError`` for one that is no good."""
    study = claim.item.study
    configuration = StudyConfiguration.from_json(claim.item.configuration)
    own, *others = parts = list(arms_by_part(configuration))
    size = reading.size_of(own, configuration)
    found = {part: _try(part, size, study.prompt_set, configuration, claim) for part in (*others, own)}
    prompt = _time_encoding(study.prompt_set, configuration)
    findings = Findings([found[part] for part in parts], prompt)
    return {"findings": asdict(findings), "finished_at": timezone.now()}


def _try(
    part: RecipePart,
    size: tuple[int, int],
    prompt_set: PromptSet,
    configuration: StudyConfiguration,
    claim: Claim[RecipeCheck],
) -> PartFinding:
    loaded = reading.load_for(part, size, prompt_set, configuration)
    guidances = arms_by_part(configuration)[part] or [drawn(configuration.baseline)]
    prompts = list(prompt_set.prompts.order_by("index").values_list("text", flat=True)[: configuration.batch_size])
    watch = _time_drawing(loaded, part, size, prompts, guidances, configuration)
    claim.update(done=claim.item.done + 1)
    return PartFinding(
        checkpoint=part.checkpoint,
        revision=loaded.revision,
        height=size[0],
        width=size[1],
        device=_device_name(),
        evaluation=watch.evaluation,
        picture=None if watch.ended is None else watch.rest / (len(prompts) * len(guidances)),
    )


class Enough(Exception):
    """The drawing has been timed for long enough."""


@dataclass
class Watch:
    """The times of a drawing's reports: what an evaluation took, and what came after the last one."""

    began: float = field(default_factory=lambda: monotonic())
    first: tuple[float, int] | None = None
    last: tuple[float, int] | None = None
    ended: float | None = None

    def progress(self, done: int, _total: int) -> None:
        """Note a report; raise ``Enough`` after ``LONGEST``."""
        self.last = (monotonic(), done)
        self.first = self.first or self.last
        if self.last[0] - self.began > LONGEST:
            raise Enough

    @property
    def evaluation(self) -> float:
        """Seconds of one evaluation: between the first report and the last, as the first call is slower than others."""
        assert self.first is not None
        assert self.last is not None
        if self.last[1] > self.first[1]:
            return (self.last[0] - self.first[0]) / (self.last[1] - self.first[1])
        return (self.last[0] - self.began) / max(1, self.last[1])

    @property
    def rest(self) -> float:
        """Seconds from the last evaluation to the end."""
        assert self.last is not None
        assert self.ended is not None
        return self.ended - self.last[0]


def _time_drawing(
    loaded: reading.Loaded,
    part: RecipePart,
    size: tuple[int, int],
    prompts: Sequence[str],
    guidances: Sequence[Guidance],
    configuration: StudyConfiguration,
) -> Watch:
    """Draw one batch with all arms of a checkpoint, or as much of it as a minute allows."""
    from evenhand.generation.memory import generate_within_memory

    watch = Watch()
    try:
        generate_within_memory(
            loaded.pipeline,
            prompts,
            [configuration.seed] * len(prompts),
            {str(number): guidance for number, guidance in enumerate(guidances)},
            steps=part.steps,
            scheduler=part.scheduler,
            height=size[0],
            width=size[1],
            batch_size=configuration.batch_size,
            measure_strength=configuration.measure_strength,
            progress=watch.progress,
        )
        watch.ended = monotonic()
    except Enough:
        pass
    return watch


def _time_encoding(prompt_set: PromptSet, configuration: StudyConfiguration) -> float:
    """Load the encoder, and return the seconds that it takes for a prompt."""
    from evenhand.sampling.encode import encode_prompts

    model = model_cache.clip(configuration)
    texts = list(prompt_set.prompts.order_by("index").values_list("text", flat=True)[:PROMPTS_ENCODED])
    encode_prompts(texts[:1], model)  # the first call is slower than others
    began = monotonic()
    encode_prompts(texts, model)
    return (monotonic() - began) / len(texts)


def _device_name() -> str:
    """Name what the models run on: the graphics card, or the processor with the number of threads."""
    import torch

    device = model_cache.device()
    if torch.device(device).type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device}, {torch.get_num_threads()} threads"


HANDLER = Handler(compute)
