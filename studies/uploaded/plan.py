"""Plan ready-made pairs from pictures that were looked at: pairs, checks, and what stands against taking them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.uploaded.matching import Matched, Row
from evenhand.studies.uploaded.pictures import Looks

UNEQUAL = {
    "refuse": "take nothing while there are such pairs",
    "leave out": "leave such pairs out",
    "fit": "show both in the smaller size, scaled to fit, on grey",
}
ALL = "all"  # the stratum of pairs that are given none
STREAM = 11  # of the seed, for the pairs that are held out
NAMED = 5
LOST = "line of the table without its file or prompt", "lines of the table without their file or prompt"
EQUAL = (
    "pair of one and the same file: there is nothing to prefer in it",
    "pairs of one and the same file: there is nothing to prefer in them",
)
HELD = (
    "prompt is held out of the pairs for practice and checks",
    "prompts are held out of the pairs for practice and checks",
)


@dataclass(frozen=True)
class Choices:
    """What an admin chooses. baseline: an arm, empty for the first one. hold_out: take pairs' prompts for checks."""

    unequal: str = "refuse"
    baseline: str = ""
    hold_out: bool = False


@dataclass(frozen=True)
class PlannedPair:
    """A pair to be made. row: of the matched rows. size: in which both pictures are shown, pixels (width, height)."""

    row: int
    candidate: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Finding:
    """Something to be told: a sentence, and what it is about. blocks: nothing is taken while it is so."""

    text: str
    names: tuple[str, ...] = ()
    blocks: bool = False

    @property
    def first(self) -> tuple[str, ...]:
        """The first few names."""
        return self.names[:NAMED]

    @property
    def more(self) -> int:
        """How many names are not shown."""
        return max(0, len(self.names) - NAMED)


@dataclass
class Plan:
    """Ready-made pairs, before anything is stored."""

    matched: Matched
    looks: Mapping[str, Looks]
    configuration: StudyConfiguration  # of its procedure alone: its arms are not used
    choices: Choices = field(default_factory=Choices)
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms, the baseline first."""
        first = self.choices.baseline or self.matched.arms[0]
        return (first, *(arm for arm in self.matched.arms if arm != first))

    @property
    def rows(self) -> list[Row]:
        """The prompts with their files."""
        return self.matched.rows

    def look(self, row: int, arm: str) -> Looks | None:
        """Return what a readable picture of a prompt is, None where there is none."""
        found = self.looks.get(self.rows[row].files.get(arm, ""))
        return found if found is not None and not found.error else None

    def size(self, row: int) -> tuple[int, int]:
        """Return the size in which a prompt's pictures are shown: the smallest width and height of them."""
        found = [look for arm in self.arms if (look := self.look(row, arm))]
        if self.choices.unequal != "fit":
            found = found[:1]
        return min(look.width for look in found), min(look.height for look in found)

    def _couples(self) -> list[tuple[int, str]]:
        """Return each prompt and candidate with two readable pictures."""
        baseline, *candidates = self.arms
        return [
            (row, candidate)
            for candidate in candidates
            for row in range(len(self.rows))
            if self.look(row, baseline) and self.look(row, candidate)
        ]

    def _is_unequal(self, row: int, candidate: str) -> bool:
        one, other = self.look(row, self.arms[0]), self.look(row, candidate)
        assert one is not None
        assert other is not None
        return (one.width, one.height) != (other.width, other.height)

    @cached_property
    def unequal(self) -> list[tuple[int, str]]:
        """The prompts and candidates whose two pictures differ in size."""
        return [(row, candidate) for row, candidate in self._couples() if self._is_unequal(row, candidate)]

    @cached_property
    def possible(self) -> list[PlannedPair]:
        """All pairs that could be made."""
        left_out = set() if self.choices.unequal == "fit" else set(self.unequal)
        return [
            PlannedPair(row, candidate, self.size(row))
            for row, candidate in self._couples()
            if (row, candidate) not in left_out
        ]

    @cached_property
    def check_rows(self) -> list[int]:
        """The prompts of practice and attention checks: of spare pictures first, then of pairs that are held out."""
        needed = self.checks_needed
        if not needed:
            return []
        paired = {pair.row for pair in self.possible}
        texts = {self.rows[row].text for row in paired}
        spare = self._distinct(
            row
            for row in range(len(self.rows))
            if row not in paired and self.look(row, self.arms[0]) and self.rows[row].text not in texts
        )
        rest = needed - len(spare)
        if rest <= 0 or not self.choices.hold_out:
            return spare
        once = Counter(self.rows[row].text for row in paired)
        single = [row for row in sorted(paired) if once[self.rows[row].text] == 1]
        drawn = np.random.default_rng([self.configuration.seed, STREAM]).permutation(len(single))[:rest]
        return [*spare, *sorted(single[int(place)] for place in drawn)]

    def _distinct(self, rows: Iterable[int]) -> list[int]:
        by_text: dict[str, int] = {}
        for row in rows:
            by_text.setdefault(self.rows[row].text, row)
        return list(by_text.values())

    @property
    def checks_needed(self) -> int:
        """How many prompts practice and checks need: two at least, since one may be shown with another's picture."""
        needed = self.configuration.checks_needed
        return max(2, needed) if needed else 0

    @cached_property
    def pairs(self) -> list[PlannedPair]:
        """The pairs that are made."""
        held = set(self.check_rows)
        return [pair for pair in self.possible if pair.row not in held]

    @cached_property
    def pairs_by_arm(self) -> dict[str, int]:
        """Number of pairs of each candidate."""
        counts = Counter(pair.candidate for pair in self.pairs)
        return {arm: counts[arm] for arm in self.arms[1:]}

    @cached_property
    def strata(self) -> dict[str, int]:
        """Number of pairs of each stratum."""
        return dict(Counter(self.rows[pair.row].stratum or ALL for pair in self.pairs))

    @cached_property
    def findings(self) -> list[Finding]:
        """Everything that is to be told, what blocks first."""
        found = [*self._blocking(), *self._files(), *self._pictures(), *self._pairs(), *self._checks(), self._people()]
        return sorted((each for each in found if each.text), key=lambda each: not each.blocks)

    @property
    def takable(self) -> bool:
        """Whether nothing stands against it."""
        return not any(each.blocks for each in self.findings)

    def _blocking(self) -> list[Finding]:
        found = []
        if self.matched.doubles:
            found.append(Finding("Two files for one place; only one may be meant", tuple(self.matched.doubles), True))
        if not self.pairs:
            found.append(Finding("There is no pair: no prompt has a readable picture of two arms", (), True))
        for arm, count in self.pairs_by_arm.items():
            if self.pairs and not count:
                found.append(Finding(f"“{arm}” has no pair with “{self.arms[0]}”", (), True))
        return found

    def _files(self) -> list[Finding]:
        broken = tuple(f"{name}: {look.error}" for name, look in self.looks.items() if look.error)
        refused = tuple(f"{name}: {reason}" for name, reason in self.refused.items())
        loose = tuple(f"{name}: {reason}" for name, reason in self.matched.loose.items())
        return [
            counted(broken, "file that is not taken", "files that are not taken"),
            counted(refused, "file that is passed over", "files that are passed over"),
            counted(loose, "file that matches nothing", "files that match nothing"),
            counted(tuple(self.matched.lost), *LOST),
            *(self._missing(arm) for arm in self.arms),
        ]  # fmt: skip

    def _missing(self, arm: str) -> Finding:
        names = tuple(self.prompt_name(row) for row in range(len(self.rows)) if not self.look(row, arm))
        return counted(names, f"prompt without a picture of “{arm}”", f"prompts without a picture of “{arm}”")

    def prompt_name(self, row: int) -> str:
        """Name a prompt by index and text."""
        found = self.rows[row]
        return f"{found.text[:60]}" if found.index is None else f"{found.index}: {found.text[:60]}"

    def _pictures(self) -> list[Finding]:
        used = {name for row in self.rows for name in row.files.values()}
        by_note: dict[str, list[str]] = {}
        for name, look in self.looks.items():
            for note in look.notes if name in used else ():
                by_note.setdefault(note, []).append(name)
        return [Finding(f"{len(names)} × {note}", tuple(names)) for note, names in by_note.items()]

    def _pairs(self) -> list[Finding]:
        unequal = tuple(
            f"{self.prompt_name(row)}: {self._sizes(row, self.arms[0])} and {self._sizes(row, candidate)}"
            for row, candidate in self.unequal
        )
        told = UNEQUAL[self.choices.unequal]
        equal = tuple(self.prompt_name(pair.row) for pair in self.possible if self._is_equal(pair))
        return [
            counted(
                unequal,
                f"pair of unequal size ({told})",
                f"pairs of unequal size ({told})",
                blocks=self.choices.unequal == "refuse",
            ),
            counted(equal, *EQUAL),
        ]

    def _sizes(self, row: int, arm: str) -> str:
        look = self.look(row, arm)
        assert look is not None
        return f"{look.width}×{look.height}"

    def _is_equal(self, pair: PlannedPair) -> bool:
        one, other = self.look(pair.row, self.arms[0]), self.look(pair.row, pair.candidate)
        return one is not None and other is not None and one.sha256 == other.sha256

    def _checks(self) -> list[Finding]:
        needed, have = self.checks_needed, len(self.check_rows)
        if not needed:
            return [Finding("No practice and no attention checks: how careful people are is not measured")]
        if have < needed:
            return [
                Finding(
                    f"Practice and checks need {needed} prompts that are in no pair and have a picture of "
                    f"“{self.arms[0]}”; there are {have}. Hold out pairs for them, or set practice and checks to 0",
                    (),
                    True,
                )
            ]
        held = [row for row in self.check_rows if any(pair.row == row for pair in self.possible)]
        return [counted(tuple(map(self.prompt_name, held)), *HELD)]

    def _people(self) -> Finding:
        """Tell where a person gets fewer pairs than planned: nobody meets a prompt twice."""
        prompts, wanted = (
            len({self.rows[pair.row].text for pair in self.pairs}),
            self.configuration.trials_per_evaluator,
        )
        if wanted <= prompts:
            return Finding("")
        return Finding(f"A person meets no prompt twice, and so rates {prompts} pairs at most, not {wanted}")

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Number of pairs by the size in which they are shown."""
        return {f"{w}×{h}": count for (w, h), count in Counter(pair.size for pair in self.pairs).most_common()}


def counted(names: Sequence[str], one: str, many: str, *, blocks: bool = False) -> Finding:
    """Return a finding that counts what it names; without text where there is none."""
    if not names:
        return Finding("")
    return Finding(f"{len(names)} {one if len(names) == 1 else many}", tuple(names), blocks)
