"""Collect pictures and the table that comes with them, look at each picture once, and plan pairs of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenhand.errors import InputError
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import PromptSet
from evenhand.studies.uploaded.matching import RULES, KnownPrompt, Matched, match_names, match_table
from evenhand.studies.uploaded.names import PICTURES, TABLES, has_ending
from evenhand.studies.uploaded.pictures import Looks, look_at_all
from evenhand.studies.uploaded.plan import Choices, Plan
from evenhand.studies.uploaded.sources import Files
from evenhand.studies.uploaded.tables import read_table

SET_LIMIT = 200_000  # prompts: all of a set's texts are held in memory to find the files'

Progress = Callable[[int, int], None]


class CollectionError(InputError):
    """Files that cannot be planned with; the message says what is missing or too much."""


@dataclass
class Collection:
    """Pictures by name, with where they lie and what they are; tables; files that are passed over, with the reason."""

    pictures: dict[str, Path] = field(default_factory=dict)
    looks: dict[str, Looks] = field(default_factory=dict)
    tables: dict[str, Path] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    hidden: int = 0

    def to_dict(self, folder: Path) -> dict[str, Any]:
        """Return plain JSON values; paths below ``folder`` become relative to it."""

        def written(path: Path) -> str:
            return str(path.relative_to(folder) if path.is_relative_to(folder) else path)

        return {
            "pictures": {name: written(path) for name, path in self.pictures.items()},
            "looks": {name: look.to_dict() for name, look in self.looks.items()},
            "tables": {name: written(path) for name, path in self.tables.items()},
            "refused": self.refused,
            "hidden": self.hidden,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], folder: Path) -> Collection:
        """Read what ``to_dict`` returned, of the folder as it lies on this machine."""
        return cls(
            {name: folder / path for name, path in values["pictures"].items()},
            {name: Looks.from_dict(look) for name, look in values["looks"].items()},
            {name: folder / path for name, path in values["tables"].items()},
            values["refused"],
            values["hidden"],
        )


def look_through(files: Files, *, most: int, progress: Progress = lambda _done, _of: None) -> Collection:
    """Sort files by their endings and look at each picture. Raises ``CollectionError`` for none, or more than ``most``.

    progress: called with the pictures looked at so far and all of them.
    """
    found = Collection(refused=dict(files.refused), hidden=files.hidden)
    for each in files.files:
        if has_ending(each.name, PICTURES):
            found.pictures[each.name] = each.path
        elif has_ending(each.name, TABLES):
            found.tables[each.name] = each.path
        else:
            found.refused[each.name] = "is no PNG, JPEG, WebP or CSV file by its name"
    if not found.pictures:
        raise CollectionError(f"there is no picture; names of pictures end in {', '.join(PICTURES)}")
    if len(found.pictures) > most:
        raise CollectionError(f"{len(found.pictures):,} pictures are too many here, {most:,} are the most")
    for count, (name, look) in enumerate(
        zip(found.pictures, look_at_all(found.pictures.values()), strict=True), start=1
    ):
        found.looks[name] = look
        progress(count, len(found.pictures))
    return found


@dataclass(frozen=True)
class Matching:
    """How files are matched: to the prompts of a set by a rule, or by the table where there is one."""

    prompt_set: PromptSet | None = None
    rule: str = "index"
    first_number: int = 0


def plan_of(
    collection: Collection, matching: Matching, configuration: StudyConfiguration, choices: Choices | None = None
) -> Plan:
    """Match a collection and plan its pairs; nothing is stored.

    Raises ``InputError`` where nothing can be matched at all, and for a baseline that is no arm.
    """
    matched = _matched(collection, matching)
    choices = choices or Choices()
    if choices.baseline and choices.baseline not in matched.arms:
        raise CollectionError(f"“{choices.baseline}” is none of the arms {', '.join(matched.arms)}")
    return Plan(matched, collection.looks, configuration, choices, collection.refused)


def _matched(collection: Collection, matching: Matching) -> Matched:
    names = list(collection.pictures)
    prompts = None if matching.prompt_set is None else known_prompts(matching.prompt_set)
    if len(collection.tables) > 1:
        raise CollectionError(f"there are several tables: {', '.join(collection.tables)}; bring one")
    for name, path in collection.tables.items():
        return match_table(names, read_table(path, name), prompts)
    if prompts is None:
        raise CollectionError("choose the prompt set that the pictures belong to, or bring a table (CSV) of prompts")
    if matching.rule not in RULES:
        raise CollectionError(f"{matching.rule!r} is none of {', '.join(RULES)}")
    return match_names(names, prompts, rule=matching.rule, first_number=matching.first_number)


def known_prompts(prompt_set: PromptSet) -> Sequence[KnownPrompt]:
    """Return a set's prompts. Raises ``CollectionError`` for a set that is too large to be matched with."""
    if prompt_set.count > SET_LIMIT:
        raise CollectionError(f"“{prompt_set}” has {prompt_set.count:,} prompts, at most {SET_LIMIT:,} are matched")
    return [KnownPrompt(*row) for row in prompt_set.prompts.order_by("index").values_list("index", "text", "source_id")]
