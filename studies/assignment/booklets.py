"""Build booklets: which pairs an evaluator sees, on which sides and in which order.

Booklets come in blocks. A block's booklets cover every pair once; the next block is its mirror image (sides swapped,
newly shuffled); the one after that is planned afresh.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from django.db import IntegrityError, transaction
from django.db.models import Max

from evenhand.errors import InputError
from evenhand.studies.assignment.dealing import deal
from evenhand.studies.assignment.pairs import PairCell, Showing
from evenhand.studies.assignment.stock import Stock
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Booklet, Pair, Study

__all__ = ["PairCell", "Showing"]

LONGEST_RUN = 3  # of one comparison or one side, where the booklet allows it

Plan = list[list[Showing]]  # booklets of one block, trials in order


def booklets_needed(pairs: Sequence[PairCell], trials_per_evaluator: int) -> int:
    """Count the booklets of a block: enough for every pair, and for a prompt's pairs to lie in different booklets."""
    if trials_per_evaluator < 1:
        raise InputError(f"trials_per_evaluator must be at least 1, not {trials_per_evaluator}")
    if not pairs:
        raise InputError("there are no pairs to assign")
    pairs_per_prompt = max(Counter(cell.prompt for cell in pairs).values())
    return max(-(-len(pairs) // trials_per_evaluator), pairs_per_prompt)


def plan_block(pairs: Sequence[PairCell], trials_per_evaluator: int, rng: np.random.Generator) -> Plan:
    """Plan a new block: every pair once, no prompt twice in a booklet, cells and sides balanced in each booklet.

    Where the shape divides (the paper's 2 × 3 × 50 pairs and 30 trials: ten booklets), booklets are equally long and
    each holds the same number of every cell; where it does not, within one. Pairs of several criteria form one run for
    each, and which run comes first goes round from booklet to booklet.
    """
    hands = deal(pairs, booklets_needed(pairs, trials_per_evaluator), rng)
    criteria = sorted({pair.criterion for pair in pairs})
    plan = []
    for number, hand in enumerate(hands):
        first = number % len(criteria)
        plan.append(_in_runs(_with_sides(hand, rng), [*criteria[first:], *criteria[:first]], rng))
    return plan


def mirror(plan: Plan, rng: np.random.Generator) -> Plan:
    """Return the same booklets with the sides swapped and the runs in reverse order, newly shuffled."""
    mirrored = []
    for booklet in plan:
        criteria = list(dict.fromkeys(showing.cell.criterion for showing in booklet))
        swapped = [replace(showing, candidate_on_left=not showing.candidate_on_left) for showing in booklet]
        mirrored.append(_in_runs(swapped, criteria[::-1], rng))
    return mirrored


def _in_runs(booklet: list[Showing], criteria: Sequence[int], rng: np.random.Generator) -> list[Showing]:
    """Order a booklet as one run a criterion, each shuffled."""
    runs = [_ordered([each for each in booklet if each.cell.criterion == criterion], rng) for criterion in criteria]
    return [showing for run in runs for showing in run]


def _with_sides(hand: list[PairCell], rng: np.random.Generator) -> list[Showing]:
    """Alternate the sides from cell to cell, so that each cell and the whole booklet are balanced within one."""
    shuffled = [hand[int(i)] for i in rng.permutation(len(hand))]
    by_cell = sorted(shuffled, key=lambda cell: cell.cell)
    even_on_left = bool(rng.integers(2))
    return [Showing(cell, (i % 2 == 0) == even_on_left, (cell.criterion,)) for i, cell in enumerate(by_cell)]


def _ordered(booklet: list[Showing], rng: np.random.Generator, attempts: int = 200) -> list[Showing]:
    """Shuffle a booklet without long runs of one comparison or one side, as far as ``attempts`` shuffles allow."""
    properties: list[list[object]] = [[showing.candidate_on_left for showing in booklet]]
    comparisons: list[object] = [showing.cell.comparison for showing in booklet]
    if len(set(comparisons)) > 1:
        properties.append(comparisons)
    best, best_run = list(range(len(booklet))), len(booklet) + 1
    for _ in range(attempts):
        order: list[int] = rng.permutation(len(booklet)).tolist()
        run = _longest_run(properties, order, best_run)
        if run < best_run:
            best, best_run = order, run
        if best_run <= LONGEST_RUN:
            break
    return [booklet[i] for i in best]


def _longest_run(properties: Sequence[Sequence[object]], order: Sequence[int], limit: int) -> int:
    """Return the longest run of equal values of any property in this order; ``limit`` for one as long or longer."""
    longest = min(1, len(order))
    for values in properties:
        run, previous = 0, object()
        for i in order:
            value = values[i]
            if value != previous:
                run, previous = 1, value
                continue
            run += 1
            if run > longest:
                longest = run
                if run >= limit:
                    return limit
    return longest


def guarantees(pairs: Sequence[PairCell], trials_per_evaluator: int) -> list[str]:
    """Say in sentences what booklets of this shape guarantee, and what not, for the admin before opening."""
    count = booklets_needed(pairs, trials_per_evaluator)
    longest = -(-len(pairs) // count)
    cells = Counter(cell.cell for cell in pairs)
    criteria = len({cell.criterion for cell in pairs})
    number = len(pairs) // criteria
    asked = f" for each of the {criteria} criteria, which have a run of trials each" if criteria > 1 else ""
    sentences = [f"{count:,} booklets show each of the {number:,} pairs once{asked}; nobody sees a prompt twice."]
    kind = "comparison, stratum and criterion" if criteria > 1 else "comparison and stratum"
    if all(size % count == 0 for size in cells.values()):
        sentences.append(f"Every booklet holds the same number of pairs of each {kind}.")
    else:
        sentences.append(f"Booklets differ by one in how many pairs of a {kind} they hold.")
    if len(pairs) % count:
        sentences.append(f"Some booklets hold {longest - 1:,} trials instead of {longest:,}.")
    if longest < trials_per_evaluator:
        sentences.append(
            f"An evaluator gets {longest:,} trials, not {trials_per_evaluator:,}: no more fit these rules."
        )
    return sentences


# ------------------------------------------------------------------------------ records


def cells_of(study: Study) -> list[PairCell]:
    """Return the study's pairs, in a fixed order; once for each criterion where each has a run of its own."""
    configuration = configuration_of(study)
    criteria = range(len(configuration.criteria)) if configuration.runs else (0,)
    rows = Pair.objects.filter(comparison__study=study).order_by("comparison__position", "prompt__index")
    values = list(rows.values_list("pk", "comparison__position", "stratum", "prompt_id"))
    return [PairCell(*row, criterion) for criterion in criteria for row in values]


def build_blocks(study: Study, blocks: int, *, simulated: bool = False, pilot: bool = False) -> int:
    """Write booklets until there are ``blocks`` blocks; returns how many blocks were written.

    Simulated evaluators, and people of the pilot, have blocks of their own, planned as the others are. A block is one
    transaction. Of two processes that write the same block, the second one violates the uniqueness of booklet numbers,
    writes nothing, and goes on with the next block.
    """
    cells = cells_of(study)
    configuration = configuration_of(study)
    stock = Stock(study, configuration)
    numbered = Booklet.objects.filter(study=study, simulated=simulated, pilot=pilot, remainder=False)
    last_block = numbered.aggregate(last=Max("block"))["last"]
    count = 0
    planned = _Planner(cells, configuration.trials_per_evaluator, configuration.seed)
    for block in range(0 if last_block is None else last_block + 1, blocks):
        plan = planned.block(block)
        try:
            with transaction.atomic():
                _write(study, block, plan, stock, simulated=simulated, pilot=pilot)
                count += 1
        except IntegrityError:
            if not numbered.filter(block=block).exists():
                raise
    return count


@dataclass
class _Planner:
    """Plan blocks by their numbers; a block and its mirror image are planned once."""

    cells: list[PairCell]
    trials: int
    seed: int
    _last: tuple[int, Plan] | None = None

    def block(self, number: int) -> Plan:
        half = number // 2
        if self._last is None or self._last[0] != half:
            self._last = half, plan_block(self.cells, self.trials, np.random.default_rng([self.seed, half]))
        plan = self._last[1]
        return plan if number % 2 == 0 else mirror(plan, np.random.default_rng([self.seed, half, 1]))


def _write(study: Study, block: int, plan: Plan, stock: Stock, *, simulated: bool, pilot: bool) -> None:
    first = block * len(plan)
    booklets = Booklet.objects.bulk_create(
        Booklet(study=study, block=block, number=first + i, simulated=simulated, pilot=pilot) for i in range(len(plan))
    )
    rng = np.random.default_rng([stock.configuration.seed, block, 2])
    stock.write({booklet: stock.items(showings, rng) for booklet, showings in zip(booklets, plan, strict=True)})


def write_first(study: Study) -> Booklet:
    """Write the booklet that the first person will get, alone; for a transaction that is rolled back."""
    configuration = configuration_of(study)
    stock = Stock(study, configuration)
    [showings, *_] = _Planner(cells_of(study), configuration.trials_per_evaluator, configuration.seed).block(0)
    booklet = Booklet.objects.create(study=study, block=0, number=0)
    stock.write({booklet: stock.items(showings, np.random.default_rng([configuration.seed, 0, 2]))})
    return booklet
