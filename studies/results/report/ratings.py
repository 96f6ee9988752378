"""Hold a study's main ratings as columns, and count them by category, evaluator and prompt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from evenhand.analysis.tallies import Tally, rated_again, table, tally_of_tables

Floats = NDArray[np.float64]
SCALE = np.arange(-2, 3)  # preferences towards the candidate, choices towards the right
# From the ten joint categories (candidate on the right −2 … 2, then on the left) to the five preferences and choices.
TO_PREFERENCE = np.vstack([np.eye(5), np.eye(5)])
TO_CHOICE = np.vstack([np.eye(5), np.eye(5)[::-1]])
TO_SIDED = TO_CHOICE * (SCALE != 0)


@dataclass(frozen=True, eq=False)
class Ratings:
    """Main ratings as columns of one length, ordered by criterion and comparison, and therein by evaluator.

    Evaluators, prompts and strata are numbered from 0. ``counts`` is false for what results leave out.
    """

    comparison: NDArray[np.intp]  # position in the study
    criterion: NDArray[np.intp]
    evaluator: NDArray[np.intp]
    prompt: NDArray[np.intp]
    stratum: NDArray[np.intp]
    choice: NDArray[np.int8]  # −2 … 2 towards the right
    on_left: NDArray[np.bool_]  # the candidate's side
    both_bad: NDArray[np.bool_]  # said instead of “no preference”
    elapsed_ms: Floats  # NaN where the page told no time
    counts: NDArray[np.bool_]
    for_pair: NDArray[np.bool_]  # left out because the pair is marked as unusable, and for nothing else
    flagged: NDArray[np.bool_]  # with a flag of its own, or by somebody whose series is flagged
    failed_check: NDArray[np.bool_]  # by somebody who failed an attention check
    once: bool = False  # whether it is known that nobody rated a prompt twice

    def __len__(self) -> int:
        return len(self.choice)

    @property
    def preference(self) -> NDArray[np.int8]:
        """−2 … 2 towards the candidate."""
        return np.where(self.on_left, -self.choice, self.choice)

    def where(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Ratings:
        """Return the rows that a mask, an order or a slice selects; all of them where the mask holds everywhere."""
        if isinstance(rows, np.ndarray) and rows.dtype == np.bool_ and rows.all():
            return self
        columns = {field.name: getattr(self, field.name)[rows] for field in fields(self) if field.name != "once"}
        return replace(self, **columns)

    def parts(self, comparisons: int) -> Iterator[tuple[int, int, Ratings]]:
        """Yield criterion, comparison and their ratings, of those that occur."""
        key = self.criterion * comparisons + self.comparison
        ends = np.append(np.flatnonzero(np.diff(key)) + 1, len(key)).tolist() if len(key) else []
        start = 0
        for end in ends:
            yield int(self.criterion[start]), int(self.comparison[start]), self.where(slice(start, end))
            start = end

    def checked_once(self) -> Ratings:
        """Find out whether nobody rated a prompt twice by one criterion, once for all parts of these ratings."""
        if self.once:
            return self
        people, prompts = (int(index.max()) + 1 if len(self) else 1 for index in (self.evaluator, self.prompt))
        cells = np.sort((self.criterion * people + self.evaluator) * prompts + self.prompt)
        return replace(self, once=not bool((cells[1:] == cells[:-1]).any()))

    def counted(self) -> Counts:
        """Count these ratings by the ten joint categories."""
        category = self.on_left * 5 + self.preference + 2
        return Counts(
            by_evaluator=table(category, 10, self.evaluator),
            by_prompt=table(category, 10, self.prompt),
            again=np.zeros((0, 10)) if self.once else rated_again(category, 10, self.evaluator, self.prompt),
        )

    def tally(self) -> Tally:
        """Count these ratings by the five preferences."""
        return self.counted().mapped(TO_PREFERENCE)


@dataclass(frozen=True, eq=False)
class Counts:
    """How often each evaluator, and each prompt, has each category; and the cells that hold several ratings."""

    by_evaluator: Floats  # (E, K)
    by_prompt: Floats  # (P, K)
    again: Floats  # (C, K)

    def mapped(self, categories: Floats) -> Tally:
        """Return the tally of other categories, of the old ones (K, K')."""
        again = self.again @ categories
        return tally_of_tables(
            self.by_evaluator @ categories, self.by_prompt @ categories, again=again[again.sum(axis=1) > 0]
        )
