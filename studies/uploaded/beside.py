"""Take uploaded pictures as one more candidate of a draft, whose other arms are generated.

Which prompts the study will use is not known while it is a draft: the preparation finds out, and stops where the final
subset has prompts without a picture (``studies.pipeline.brought``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from evenhand.errors import InputError
from evenhand.generation.guidance import Uploaded
from evenhand.studies import audit
from evenhand.studies.changed_arms import with_candidates
from evenhand.studies.chosen_prompts import seed_of
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import StaleDraftError, change_draft, configuration_of, draft_sha256
from evenhand.studies.image_store import store_image, store_picture
from evenhand.studies.models import Image, Prompt, Recipe, Study
from evenhand.studies.uploaded.collection import Collection, CollectionError, Matching, known_prompts
from evenhand.studies.uploaded.matching import RULES, Matched, match_arm
from evenhand.studies.uploaded.pictures import Looks
from evenhand.studies.uploaded.plan import LOST, Finding, counted
from evenhand.studies.uploaded.storing import About, Progress, Size, Stored, arm_of, store_all, uploaded_guidance
from evenhand.studies.uploaded.tables import read_table

BATCH = 1000  # rows of one insert or query
UNNAMED_ARM = "uploaded"


class BesideError(InputError):
    """Pictures that cannot become a candidate; the message says why, and nothing was stored."""


@dataclass
class ArmPlan:
    """Pictures of one arm matched to a draft's prompts, before anything is stored.

    size: of the study's pictures, None where only the checkpoint knows it. fit: scale pictures of another size, on
    grey. prompts: how many the set has.
    """

    matched: Matched
    looks: Mapping[str, Looks]
    refused: Mapping[str, str]
    size: Size | None
    fit: bool
    prompts: int

    @cached_property
    def taken(self) -> dict[int, str]:
        """The files that are taken, by the index of their prompt."""
        names = {row.index: next(iter(row.files.values())) for row in self.matched.rows}
        return {index: name for index, name in names.items() if index is not None and not self.looks[name].error}

    @cached_property
    def shown_size(self) -> Size:
        """The size in which the pictures are stored: the study's where it is known, else that of most of them."""
        return self.size or Counter(map(self._size_of, self.taken.values())).most_common(1)[0][0]

    def _size_of(self, name: str) -> Size:
        return self.looks[name].width, self.looks[name].height

    @cached_property
    def findings(self) -> list[Finding]:
        """Everything that is to be told, what blocks first."""
        broken = tuple(f"{name}: {look.error}" for name, look in self.looks.items() if look.error)
        passed = tuple(f"{name}: {reason}" for name, reason in self.refused.items())
        loose = tuple(f"{name}: {reason}" for name, reason in self.matched.loose.items())
        found = [
            counted(broken, "file that is not taken", "files that are not taken"),
            counted(passed, "file that is passed over", "files that are passed over"),
            counted(loose, "file that matches nothing", "files that match nothing"),
            counted(tuple(self.matched.lost), *LOST),
            counted(tuple(self.matched.doubles), "prompt has two files", "prompts have two files", blocks=True),
            *self._notes(),
        ]
        if not self.taken:
            found.append(Finding("No file is a readable picture of a prompt of the set", (), True))
        else:
            found += [self._sizes(), self._missing()]
        return sorted((each for each in found if each.text), key=lambda each: not each.blocks)

    def _notes(self) -> list[Finding]:
        by_note: dict[str, list[str]] = {}
        for name in self.taken.values():
            for note in self.looks[name].notes:
                by_note.setdefault(note, []).append(name)
        return [Finding(f"{len(names)} × {note}", tuple(names)) for note, names in by_note.items()]

    def _sizes(self) -> Finding:
        width, height = self.shown_size
        odd = tuple(
            f"{name}: {'×'.join(map(str, self._size_of(name)))}"
            for name in self.taken.values()
            if self._size_of(name) != self.shown_size
        )
        told = "scaled to fit, on grey" if self.fit else "fit them, or bring others"
        return counted(
            odd,
            f"picture of another size than {width}×{height} ({told})",
            f"pictures of another size than {width}×{height} ({told})",
            blocks=not self.fit,
        )

    def _missing(self) -> Finding:
        if len(self.taken) == self.prompts:
            return Finding("")
        return Finding(
            f"{len(self.taken):,} of the set’s {self.prompts:,} prompts have a picture. The preparation stops if a "
            "prompt of the final subset has none"
        )

    @property
    def takable(self) -> bool:
        """Whether nothing stands against it."""
        return not any(each.blocks for each in self.findings)


def arm_plan_of(collection: Collection, study: Study, matching: Matching, *, fit: bool = False) -> ArmPlan:
    """Match a collection to a draft's prompts as pictures of one arm; nothing is stored.

    matching: its prompt set is not used, the study's is. Raises ``InputError`` where nothing can be matched.
    """
    names = list(collection.pictures)
    if len(collection.tables) > 1:
        raise CollectionError(f"there are several tables: {', '.join(collection.tables)}; bring one")
    if matching.rule not in RULES:
        raise CollectionError(f"{matching.rule!r} is none of {', '.join(RULES)}")
    tables = [read_table(path, name) for name, path in collection.tables.items()]
    matched = match_arm(
        names,
        known_prompts(study.prompt_set),
        UNNAMED_ARM,
        rule=matching.rule,
        first_number=matching.first_number,
        table=tables[0] if tables else None,
    )
    size = size_of(configuration_of(study))
    return ArmPlan(matched, collection.looks, collection.refused, size, fit, study.prompt_set.count)


def size_of(configuration: StudyConfiguration) -> Size | None:
    """Return the size of a draft's generated pictures where the plan gives it, or an earlier study found it out."""
    if configuration.width and configuration.height:
        return configuration.width, configuration.height
    if configuration.width or configuration.height:
        return None
    known = Recipe.objects.filter(checkpoint=configuration.checkpoint, dtype=configuration.dtype).order_by("-pk")
    sizes = set(known.values_list("width", "height"))
    return sizes.pop() if len(sizes) == 1 else None


def take_arm(
    plan: ArmPlan,
    files: Mapping[str, Path],
    study: Study,
    *,
    actor: AbstractBaseUser,
    about: About,
    smaller_copies: bool = True,
    progress: Progress = lambda _done, _of: None,
) -> Uploaded:
    """Store an arm's pictures and add it to the draft's candidates.

    files: where each picture lies. Raises ``InputError``; then no record is stored and the plan is as it was.
    """
    if not plan.takable:
        raise BesideError("; ".join(each.text for each in plan.findings if each.blocks))
    _draft(study)
    wanted = sorted(plan.taken)
    asked = [(plan.taken[index], plan.shown_size) for index in wanted]
    stored = store_all(asked, files, plan.looks, store_picture if smaller_copies else store_image, progress)
    prompts = _prompts_of(study, wanted)
    pictures = dict(zip(wanted, stored, strict=True))
    guidance = uploaded_guidance(
        UNNAMED_ARM,
        about,
        ((prompts[index].text, prompts[index].seed, each.sha256) for index, each in pictures.items()),
    )
    while True:
        try:
            with transaction.atomic():
                _add(guidance, _draft(study), prompts, pictures, actor)
            return guidance
        except StaleDraftError:  # somebody saved between reading and writing: add it to what is stored now
            continue


def _draft(study: Study) -> Study:
    found = Study.objects.select_related("current_version", "prompt_set").get(pk=study.pk)
    if found.state != Study.State.DRAFT:
        raise BesideError(f"“{study.name}” is no draft any more: its configuration is frozen")
    if configuration_of(found).ready_made:
        raise BesideError(f"the pairs of “{study.name}” were uploaded ready-made; nothing is added to them")
    return found


def _prompts_of(study: Study, indices: Sequence[int]) -> dict[int, Prompt]:
    found: dict[int, Prompt] = {}
    for start in range(0, len(indices), BATCH):
        for prompt in study.prompt_set.prompts.filter(index__in=indices[start : start + BATCH]):
            found[prompt.index] = prompt
    return found


def _add(
    guidance: Uploaded,
    study: Study,
    prompts: Mapping[int, Prompt],
    pictures: Mapping[int, Stored],
    actor: AbstractBaseUser,
) -> None:
    configuration, read_as, arm = configuration_of(study), draft_sha256(study), arm_of(guidance)
    there = set(Image.objects.filter(arm=arm, kind=Image.Kind.UPLOADED).values_list("prompt", flat=True))
    Image.objects.bulk_create(
        (
            Image(
                prompt=prompts[index], arm=arm, seed=seed_of(prompts[index], configuration), kind=Image.Kind.UPLOADED,
                state=Image.State.DONE, sha256=each.sha256, width=each.width, height=each.height,
                provenance=each.provenance,
            )
            for index, each in pictures.items()
            if prompts[index].pk not in there
        ),
        batch_size=BATCH,
    )  # fmt: skip
    if guidance in configuration.candidates:
        return
    changed = with_candidates(configuration, [*configuration.candidates, guidance])
    change_draft(study=study, actor=actor, configuration=changed, read_as=read_as)
    audit.record(study, "arm uploaded", actor=actor, arm=guidance.label(), pictures=len(pictures))
