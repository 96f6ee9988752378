"""Take a plan of ready-made pairs: store its pictures, then write the whole study in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction

from evenhand.errors import InputError
from evenhand.generation.guidance import Uploaded
from evenhand.sampling.prompts import prompts_sha256
from evenhand.studies import audit
from evenhand.studies.chosen_prompts import seed_of
from evenhand.studies.image_store import store_image, store_picture
from evenhand.studies.models import (
    Arm,
    CheckPair,
    Comparison,
    Image,
    Pair,
    Prompt,
    PromptSet,
    Study,
    StudyVersion,
)
from evenhand.studies.prompt_import import free_set_name
from evenhand.studies.uploaded.checks import planned_checks
from evenhand.studies.uploaded.plan import ALL, Plan
from evenhand.studies.uploaded.storing import About, Progress, Stored, arm_of, store_all, uploaded_guidance

BATCH = 1000  # rows of one insert
NAME_LIMIT = 100


class TakingError(InputError):
    """A plan that cannot be taken; the message says why, and no record was stored."""


def free_study_name(name: str) -> str:
    """Return the trimmed name if it is free. Raises ``TakingError``."""
    name = name.strip()
    if not name or len(name) > NAME_LIMIT or "\0" in name:
        raise TakingError(f"a study's name has 1 to {NAME_LIMIT} characters, not {len(name)}")
    if Study.objects.filter(name=name).exists():
        raise TakingError(f"there is a study named “{name}” already")
    return name


def take(
    plan: Plan,
    files: Mapping[str, Path],
    *,
    name: str,
    owner: AbstractBaseUser,
    prompt_set: PromptSet | None = None,
    about: Mapping[str, About] | None = None,
    smaller_copies: bool = True,
    progress: Progress = lambda _done, _of: None,
) -> Study:
    """Make the study of a plan, ready to be opened.

    files: where each picture lies. prompt_set: the set that the plan's prompts have their indices in; None makes a set
    of the plan's own. smaller_copies: encode lossless WebP copies, too, which takes the longest. Raises ``TakingError``
    and ``InputError``; then no record is stored.
    """
    name = free_study_name(name)
    if not plan.takable:
        blocking = [each for each in plan.findings if each.blocks]
        raise TakingError("; ".join(": ".join([each.text, *each.first[:1]]) for each in blocking))
    stored = _store(plan, files, store_picture if smaller_copies else store_image, progress)
    writer = _Writer(plan, stored, about or {})
    try:
        with transaction.atomic():
            return writer.write(name, owner, prompt_set)
    except IntegrityError as error:
        free_study_name(name)  # raises the right error where somebody took the name meanwhile
        raise TakingError(f"the records exclude each other: {error}") from error


# ------------------------------------------------------------------------------ pictures


Place = tuple[int, str]  # row and arm


def _wanted(plan: Plan) -> list[Place]:
    baseline = plan.arms[0]
    places = [(pair.row, arm) for pair in plan.pairs for arm in (baseline, pair.candidate)]
    return list(dict.fromkeys([*places, *((row, baseline) for row in plan.check_rows)]))


def _store(
    plan: Plan, files: Mapping[str, Path], store: Callable[[bytes], str], progress: Progress
) -> dict[Place, Stored]:
    """Put every picture of the plan into the store."""
    wanted = _wanted(plan)
    asked = [(plan.rows[row].files[arm], plan.size(row)) for row, arm in wanted]
    return dict(zip(wanted, store_all(asked, files, plan.looks, store, progress), strict=True))


# ------------------------------------------------------------------------------ records


class _Writer:
    """Writes the records of one study. All files are stored before ``write``, around which is a transaction."""

    def __init__(self, plan: Plan, stored: Mapping[Place, Stored], about: Mapping[str, About]) -> None:
        self.plan, self.stored = plan, stored
        self.guidances = {arm: self._guidance(arm, about.get(arm, About())) for arm in plan.arms}
        baseline, *candidates = (self.guidances[arm] for arm in plan.arms)
        self.configuration = replace(
            plan.configuration,
            checkpoint="", baseline=baseline, candidates=tuple(candidates), primary_comparison=1,
        )  # fmt: skip
        self.arms: dict[str, Arm] = {}
        self.prompts: dict[int, Prompt] = {}
        self.images: dict[Place, Image] = {}
        self.samples = {row: self._sample(row) for row in plan.check_rows}
        self.checks = planned_checks(self.configuration, list(self.samples.values()), self._couples())

    def _sample(self, row: int) -> Image:
        """Return a baseline picture as check pairs are made of it, before there is a record."""
        each = self.stored[row, self.plan.arms[0]]
        prompt = Prompt(text=self.plan.rows[row].text, index=row)
        return Image(prompt=prompt, seed=0, sha256=each.sha256, width=each.width, height=each.height)

    def _couples(self) -> list[tuple[str, str]]:
        baseline = self.plan.arms[0]
        return [
            (self.stored[pair.row, baseline].sha256, self.stored[pair.row, pair.candidate].sha256)
            for pair in self.plan.pairs
        ]

    def _guidance(self, arm: str, about: About) -> Uploaded:
        pictures = (
            (self.plan.rows[row].text, self.plan.rows[row].seed, each.sha256)
            for (row, its), each in self.stored.items()
            if its == arm
        )
        return uploaded_guidance(arm, about, pictures)

    def write(self, name: str, owner: AbstractBaseUser, prompt_set: PromptSet | None) -> Study:
        """Write the study; return it ready to be opened."""
        prompt_set = self._own_prompts(name, owner) if prompt_set is None else self._found_prompts(prompt_set)
        study = Study.objects.create(name=name, owner_id=owner.pk, prompt_set=prompt_set)
        study.current_version = StudyVersion.objects.create(
            study=study, number=1, configuration=self.configuration.to_json(), sha256=self.configuration.sha256
        )
        comparisons = self._comparisons(study)
        self._images()
        self._pairs(comparisons)
        self._checks(study)
        study.state = Study.State.READY
        study.save()
        audit.record(
            study, "pairs taken", actor=owner, version_hash=self.configuration.sha256, pairs=len(self.plan.pairs),
            pictures=len(self.stored), pairs_held_out=len(self.plan.possible) - len(self.plan.pairs),
        )  # fmt: skip
        return study

    def _rows(self) -> list[int]:
        return sorted({row for row, _ in self.stored})

    def _own_prompts(self, name: str, owner: AbstractBaseUser) -> PromptSet:
        texts = [self.plan.rows[row].text for row in self._rows()]
        prompt_set = PromptSet.objects.create(
            name=free_set_name(name),
            source=f"uploaded with the pictures of {name}",
            sha256=prompts_sha256(texts),
            count=len(texts),
            duplicates=len(texts) - len(set(texts)),
            creator_id=owner.pk,
        )
        self.prompts = {
            row: Prompt(prompt_set=prompt_set, index=index, text=text, seed=self.plan.rows[row].seed)
            for index, (row, text) in enumerate(zip(self._rows(), texts, strict=True))
        }
        Prompt.objects.bulk_create(self.prompts.values(), batch_size=BATCH)
        return prompt_set

    def _found_prompts(self, prompt_set: PromptSet) -> PromptSet:
        wanted = {self.plan.rows[row].index: row for row in self._rows()}
        for some in _cut(list(wanted)):
            for prompt in prompt_set.prompts.filter(index__in=some):
                row = wanted[prompt.index]
                if prompt.text == self.plan.rows[row].text:
                    self.prompts[row] = prompt
        if len(self.prompts) < len(wanted):
            raise TakingError(f"“{prompt_set}” is not the prompt set that the pictures were matched to")
        return prompt_set

    def _comparisons(self, study: Study) -> dict[str, Comparison]:
        for name, guidance in self.guidances.items():
            self.arms[name] = arm_of(guidance)
        baseline, *candidates = self.plan.arms
        return {
            each: Comparison.objects.create(
                study=study, position=position, baseline=self.arms[baseline], candidate=self.arms[each]
            )
            for position, each in enumerate(candidates)
        }

    def _images(self) -> None:
        """Write the pictures' records; those of an earlier study with the same arms and prompts are taken again."""
        there = self._images_there()
        new = []
        for (row, arm), each in self.stored.items():
            prompt = self.prompts[row]
            image = there.get((prompt.pk, self.arms[arm].pk))
            if image is None:
                image = Image(
                    prompt=prompt, arm=self.arms[arm], seed=seed_of(prompt, self.configuration),
                    kind=Image.Kind.UPLOADED, state=Image.State.DONE, sha256=each.sha256,
                    width=each.width, height=each.height, provenance=each.provenance,
                )  # fmt: skip
                new.append(image)
            self.images[row, arm] = image
        Image.objects.bulk_create(new, batch_size=BATCH)

    def _images_there(self) -> dict[tuple[int, int | None], Image]:
        found = Image.objects.filter(
            kind=Image.Kind.UPLOADED,
            arm__in=[arm.pk for arm in self.arms.values()],
            prompt__prompt_set=next(iter(self.prompts.values())).prompt_set_id,
        )
        return {(image.prompt_id, image.arm_id): image for image in found}

    def _pairs(self, comparisons: Mapping[str, Comparison]) -> None:
        baseline = self.plan.arms[0]
        Pair.objects.bulk_create(
            (
                Pair(
                    comparison=comparisons[pair.candidate],
                    prompt=self.prompts[pair.row],
                    stratum=self.plan.rows[pair.row].stratum or ALL,
                    baseline_image=self.images[pair.row, baseline],
                    candidate_image=self.images[pair.row, pair.candidate],
                )
                for pair in self.plan.pairs
            ),
            batch_size=BATCH,
        )

    def _checks(self, study: Study) -> None:
        baseline = self.plan.arms[0]
        records = {id(sample): self.images[row, baseline] for row, sample in self.samples.items()}
        for check in self.checks:
            check.study, check.better = study, records[id(check.better)]
            check.prompt = check.better.prompt
            if id(check.worse) in records:
                check.worse = records[id(check.worse)]
            else:
                check.worse.prompt, check.worse.seed = check.better.prompt, check.better.seed
                check.worse.save()
                check.worse = check.worse  # takes its number
        CheckPair.objects.bulk_create(self.checks)


def _cut(values: list[Any], size: int = BATCH) -> Iterable[list[Any]]:
    return (values[at : at + size] for at in range(0, len(values), size))
