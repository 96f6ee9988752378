"""Write a bundle's records into the database as a new study's: prompts, images, pairs, check pairs, booklets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.contrib.auth.models import AbstractBaseUser

from evenhand.errors import InputError
from evenhand.generation.guidance import OtherCheckpoint, fingerprint, from_dict
from evenhand.sampling.prompts import clean, prompts_sha256
from evenhand.studies.bundle.records import Record
from evenhand.studies.bundle.verify_bundle import Bundle, document, rows
from evenhand.studies.configuration import StudyConfiguration, arm_label
from evenhand.studies.models import (
    Arm,
    ArmRecipe,
    Booklet,
    CheckPair,
    Comparison,
    Image,
    ImageScore,
    Pair,
    Prompt,
    PromptSet,
    PromptSubset,
    Recipe,
    Study,
    StudyVersion,
    SubsetPrompt,
    Trial,
)
from evenhand.studies.prompt_import import free_set_name
from evenhand.studies.unusable_pairs import mark_unusable

UNTOLD = "unusable in the original"  # where an anonymous bundle does not say why
BATCH = 1000  # rows of one insert
SUBSET = (
    "encoder", "size", "seed", "percentiles", "per_stratum", "frechet_curve", "draw", "deduplicate",
    "near_duplicate_cosine", "removed", "distance",
)  # fmt: skip
RECIPE = ("checkpoint", "revision", "scheduler", "steps", "height", "width", "dtype", "batch_size")


class Import:
    """The records of one bundle on their way into the database, by their names in the bundle.

    The pictures' files are stored already. The caller holds a transaction around it all.
    """

    def __init__(self, bundle: Bundle, configuration: StudyConfiguration) -> None:
        self.bundle = bundle
        self.configuration = configuration
        self.provenance = document(bundle, "provenance.json")
        self.arms: dict[str, Arm] = {}
        self.recipes: dict[str, Recipe] = {}  # of arms that another one than the study's draws
        self.prompts: dict[int, Prompt] = {}
        self.images: dict[int, Image] = {}
        self.pairs: dict[int, Pair] = {}
        self.checks: dict[int, CheckPair] = {}

    def write(self, *, name: str, owner: AbstractBaseUser, source: str) -> Study:
        """Write the study; return it ready to be opened."""
        recipe = self._recipe()
        study = Study.objects.create(
            name=name,
            owner_id=owner.pk,
            prompt_set=self._prompt_set(name, source, owner),
            recipe=recipe,
        )
        study.subset = self._subset(study.prompt_set)
        study.current_version = StudyVersion.objects.create(
            study=study, number=1, configuration=self.configuration.to_json(), sha256=self.configuration.sha256
        )
        comparisons = self._comparisons(study)
        self._images(recipe)
        self._pairs(study, comparisons)
        self._marks(owner)
        self._booklets(study)
        study.state = Study.State.READY
        study.save()
        return study

    def _rows(self, name: str) -> Iterator[Record]:
        return (row for _, row in rows(self.bundle, name))

    def _prompt_set(self, name: str, source: str, owner: AbstractBaseUser) -> PromptSet:
        """Write the bundle's prompts as a set of their own, numbered anew in their order.

        Each keeps the seed of its pictures, so that the set makes the same pictures again.
        """
        given = sorted(self._rows("prompts.jsonl"), key=lambda row: int(row["prompt_index"]))
        seeds = {row["prompt_index"]: row["seed"] for row in self._rows("images.jsonl")}
        texts = [row["text"] for row in given]
        if unclean := next((text for text in texts if clean(text) != text), None):
            raise InputError(f"the prompt {unclean!r} is not trimmed as prompts are")
        prompt_set = PromptSet.objects.create(
            name=free_set_name(name),
            source=source,
            sha256=prompts_sha256(texts),
            count=len(texts),
            duplicates=len(texts) - len(set(texts)),
            creator_id=owner.pk,
        )
        prompts = [
            Prompt(
                prompt_set=prompt_set,
                index=index,
                text=row["text"],
                source_id=row["source_id"] or str(row["prompt_index"]),
                seed=seeds.get(row["prompt_index"], row["seed"]),
            )
            for index, row in enumerate(given)
        ]
        Prompt.objects.bulk_create(prompts, batch_size=BATCH)
        self.prompts = {row["prompt_index"]: prompt for row, prompt in zip(given, prompts, strict=True)}
        return prompt_set

    def _recipe(self) -> Recipe | None:
        """Return the recipe of generated pictures; None where all were uploaded."""
        values = self.provenance["recipe"]
        return None if values is None and self.configuration.ready_made else _recipe_of(values)

    def _subset(self, prompt_set: PromptSet) -> PromptSubset | None:
        if self.provenance["subset"] is None and self.configuration.ready_made:
            return None
        values = {field: self.provenance["subset"][field] for field in SUBSET}
        subset = PromptSubset.objects.create(prompt_set=prompt_set, **values)
        SubsetPrompt.objects.bulk_create(
            (
                SubsetPrompt(
                    subset=subset,
                    prompt=self.prompts[row["prompt_index"]],
                    clip_score=row["clip_score"],
                    stratum=row["stratum"],
                )
                for row in self._rows("prompts.jsonl")
                if row["in_subset"]
            ),
            batch_size=BATCH,
        )
        return subset

    def _comparisons(self, study: Study) -> dict[int, Comparison]:
        for row in self.provenance["arms"]:
            self._arm(study, row)
        return {
            row["comparison"]: Comparison.objects.create(
                study=study,
                position=row["comparison"] - 1,
                baseline=self.arms[row["baseline"]],
                candidate=self.arms[row["candidate"]],
            )
            for row in self.provenance["comparisons"]
        }

    def _arm(self, study: Study, row: Record) -> None:
        """Write an arm, and the recipe that draws it where this is not the study's."""
        guidance, key = from_dict(row["guidance"]), row["fingerprint"]
        other = isinstance(guidance, OtherCheckpoint)
        if other and row.get("recipe") is None:
            raise InputError(
                f"the bundle does not say by which recipe the arm “{row['label']}” was drawn, as bundles of earlier "
                "versions do not: ask for one that is written anew"
            )
        if fingerprint(guidance) != key:
            raise InputError(f"the arm “{row['label']}” has not the fingerprint {key}")
        values = {"label": arm_label(guidance), "guidance": guidance.to_dict()}
        arm, _ = Arm.objects.get_or_create(fingerprint=key, defaults=values)
        self.arms[key] = arm
        if other:
            self.recipes[key] = _recipe_of(row["recipe"])
            ArmRecipe.objects.create(study=study, arm=arm, recipe=self.recipes[key])

    def _images(self, recipe: Recipe | None) -> None:
        scores: list[ImageScore] = []
        for row in self._rows("images.jsonl"):
            kind = Image.Kind(row["kind"])
            image = Image(
                prompt=self.prompts[row["prompt_index"]],
                arm=None if row["arm"] is None else self.arms[row["arm"]],
                recipe=self.recipes.get(row["arm"], recipe) if kind == Image.Kind.GENERATED else None,
                seed=row["seed"],
                kind=kind,
                state=Image.State.DONE,
                sha256=row["sha256"],
                width=row["width"],
                height=row["height"],
                provenance=row["provenance"],
            )
            self.images[row["image"]] = image
            scores += [ImageScore(image=image, metric=metric, value=value) for metric, value in row["scores"].items()]
        Image.objects.bulk_create(self.images.values(), batch_size=BATCH)
        ImageScore.objects.bulk_create(scores, batch_size=BATCH)

    def _pairs(self, study: Study, comparisons: dict[int, Comparison]) -> None:
        self.pairs = {
            row["pair"]: Pair(
                comparison=comparisons[row["comparison"]],
                prompt=self.prompts[row["prompt_index"]],
                stratum=row["stratum"],
                baseline_image=self.images[row["baseline_image"]],
                candidate_image=self.images[row["candidate_image"]],
                largest_difference=_difference(row),
            )
            for row in self._rows("pairs.jsonl")
        }
        Pair.objects.bulk_create(self.pairs.values(), batch_size=BATCH)
        self.checks = {
            row["check_pair"]: CheckPair(
                study=study,
                number=row["check_pair"],
                use=CheckPair.Use(row["use"]),
                fault=CheckPair.Fault(row["fault"]),
                prompt=self.prompts[row["prompt_index"]],
                better=self.images[row["better_image"]],
                worse=self.images[row["worse_image"]],
            )
            for row in self._rows("check_pairs.jsonl")
        }
        CheckPair.objects.bulk_create(self.checks.values())

    def _marks(self, owner: AbstractBaseUser) -> None:
        """Mark the pairs that were unusable in the original, so that nobody is shown them again."""
        for row in self._rows("pairs.jsonl"):
            if why := row.get("unusable"):  # bundles of earlier versions do not say
                reason = UNTOLD if why is True else str(why)
                mark_unusable(self.pairs[row["pair"]], reason=reason, actor=owner)

    def _booklets(self, study: Study) -> None:
        """Write the booklets that were planned, each with its trials; remainders belong to people of the original."""
        booklets = {
            row["booklet"]: Booklet(
                study=study, block=row["block"], number=row["number"], simulated=row["simulated"] is True
            )
            for row in self._rows("booklets.jsonl")
            if not row["remainder"]
        }
        Booklet.objects.bulk_create(booklets.values(), batch_size=BATCH)
        given = {row["trial"]: row for row in self._rows("trials.jsonl") if row["booklet"] in booklets}
        trials = {name: self._trial(row, booklets[row["booklet"]]) for name, row in given.items()}
        for wave in _waves(given.values()):
            for row in wave:
                trial = trials[row["trial"]]
                trial.lead = trials[row["lead"]] if row["lead"] else None
                trial.repeat_of = trials[row["repeat_of"]] if row["repeat_of"] else None
            Trial.objects.bulk_create([trials[row["trial"]] for row in wave], batch_size=BATCH)

    def _trial(self, row: Record, booklet: Booklet) -> Trial:
        side = row["candidate_side"]
        return Trial(
            booklet=booklet,
            position=row["position"],
            kind=Trial.Kind(row["kind"]),
            criterion=row["criterion"],
            pair=None if row["pair"] is None else self.pairs[row["pair"]],
            check_pair=None if row["check_pair"] is None else self.checks[row["check_pair"]],
            left_image=self.images[row["left_image"]],
            right_image=self.images[row["right_image"]],
            candidate_on_left=None if side is None else side == "left",
            expected_choice=row["expected_choice"],
        )


def _recipe_of(values: Record) -> Recipe:
    return Recipe.objects.get_or_create(**{field: values[field] for field in RECIPE})[0]


def _difference(row: Record) -> int | None:
    """Return a pair's largest difference; None where bundles of earlier versions do not say it."""
    found: int | None = row.get("largest_difference")
    if found is not None and not (isinstance(found, int) and 0 <= found <= 255):
        raise InputError(f"the largest difference of pair {row['pair']} is {found!r}, and lies in 0…255")
    return found


def _waves(trials: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield trials in four groups, so that each names only trials of earlier ones."""
    rows_ = list(trials)
    for repeats, follows in ((False, False), (False, True), (True, False), (True, True)):
        yield [row for row in rows_ if (bool(row["repeat_of"]), bool(row["lead"])) == (repeats, follows)]
