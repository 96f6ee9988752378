"""Plan which network rows each iteration needs, and which arms share them (method §1.12).

All arms of an image start from one latent. At every network call each arm demands a prediction on the image's own
prompt and, where it guides, those that its method combines with it. Arms of one branch with the same demands stay in
one branch. Where demands differ, the branch splits after the call; the rows of that call are on the common latent and
are computed once.
This module is plain Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral

from evenhand.errors import InputError
from evenhand.generation.guidance import Guidance, GuidanceError
from evenhand.generation.methods.rows import EMPTY, PROMPT, Conditioning, Demand, Rule

SCHEDULERS = ("ddim", "ddpm", "dpm_solver", "euler", "pndm")
TRAINING_STEPS = 1000  # of the published checkpoints


@dataclass(frozen=True)
class Group:
    """Arms that take the same step: they combine the same rows by the same rule."""

    rows: tuple[Conditioning, ...]
    rule: Rule
    arms: tuple[str, ...]


@dataclass(frozen=True)
class Branch:
    """One latent at one network call: its distinct rows, and the groups that continue from it (one: no split)."""

    rows: tuple[Conditioning, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Step:
    """One entry of the scheduler. Its branches are the groups of the previous entry, in order."""

    iteration: int
    branches: tuple[Branch, ...]

    @property
    def evaluations(self) -> int:
        """Network evaluations of this entry for one image, padding excluded."""
        return sum(len(branch.rows) for branch in self.branches)


def plan(
    arms: Mapping[str, Guidance] | Iterable[tuple[str, Guidance]],
    steps: int = 20,
    scheduler: str = "ddim",
    besides: tuple[Conditioning, ...] = (),
    besides_every: int = 1,
) -> tuple[Step, ...]:
    """Plan the network calls of one image under all ``arms``, in order.

    besides: rows that every branch computes at every ``besides_every``-th iteration, from the first, whether its arms
        need them or not.

    Raises ValueError for no arms, a name given twice, something that is no guidance, ``steps`` below 1,
    ``switch_after`` beyond ``steps``, an unknown scheduler, or one that a guidance does not work with.
    """
    arms_by_name = named_arms(arms)
    for name, guidance in arms_by_name.items():
        check_scheduler(name, guidance, scheduler)
    branches: list[tuple[str, ...]] = [tuple(arms_by_name)]
    entries = []
    for iteration in entry_iterations(scheduler, steps):
        added = () if iteration % besides_every else besides
        step = Step(iteration, tuple(_branch(members, arms_by_name, iteration, steps, added) for members in branches))
        branches = [group.arms for branch in step.branches for group in branch.groups]
        entries.append(step)
    return tuple(entries)


def measured_plan(
    arms: Mapping[str, Guidance] | Iterable[tuple[str, Guidance]], steps: int, scheduler: str, measure_strength: int
) -> tuple[Step, ...]:
    """Plan as ``plan`` does, with the empty prompt at every ``measure_strength``-th iteration; 0: as arms need it."""
    if not measure_strength:
        return plan(arms, steps, scheduler)
    return plan(arms, steps, scheduler, (EMPTY,), measure_strength)


def count_evaluations(
    arms: Mapping[str, Guidance] | Iterable[tuple[str, Guidance]],
    steps: int = 20,
    scheduler: str = "ddim",
    prompts: int = 1,
    measure_strength: int = 0,
) -> int:
    """Count the network evaluations that ``generate`` will make, padding excluded, without running anything.

    For classifier-free guidance and K segmentation-free arms with one opening, a prompt takes
    2·t_s + (2+K) + 2(K+1)(T−t_s−1). measure_strength: as ``generate`` takes it.
    """
    steps_of_all = measured_plan(arms, steps, scheduler, measure_strength)
    return prompts * sum(step.evaluations for step in steps_of_all)


def entry_iterations(scheduler: str, steps: int) -> tuple[int, ...]:
    """Return the iteration (0 … T−1) of each network call of the scheduler.

    PNDM calls the network once more than it iterates; both of its first calls belong to iteration 0, so that with
    t_s ≥ 1 the last T − t_s calls are segmentation-free.
    """
    if scheduler not in SCHEDULERS:
        raise InputError(f"scheduler must be one of {', '.join(SCHEDULERS)}, not {scheduler!r}")
    if isinstance(steps, bool) or not isinstance(steps, Integral) or steps < 1:
        raise InputError(f"steps must be a whole number of at least 1, not {steps!r}")
    iterations = tuple(range(steps))
    return (0, *iterations) if scheduler == "pndm" and steps > 1 else iterations


def check_steps(scheduler: str, steps: int, training_steps: int = TRAINING_STEPS) -> None:
    """Raise InputError for more ``steps`` than end, and begin, where the method says.

    DDIM's timesteps lie N // T apart, N being ``training_steps``, and the last one is 1. Where they are 1 apart, the
    last step leads to another timestep instead of x0, and the first one lies at T, far from pure noise.
    """
    if scheduler == "ddim" and training_steps // steps < 2:
        raise InputError(
            f"steps must be at most {training_steps // 2} with ddim, half of the checkpoint's {training_steps} training"
            f" steps, not {steps}: with more it does not end on a picture without noise"
        )


def named_arms(arms: Mapping[str, Guidance] | Iterable[tuple[str, Guidance]]) -> dict[str, Guidance]:
    """Check the arms and return them by name, in order. Raises ValueError as ``plan`` does."""
    pairs = list(arms.items() if isinstance(arms, Mapping) else arms)
    if not pairs:
        raise InputError("arms must name at least one guidance, and none was given")
    arms_by_name: dict[str, Guidance] = {}
    for name, guidance in pairs:
        if not isinstance(name, str) or not name:
            raise InputError(f"an arm's name must be a text that is not empty, not {name!r}")
        if name in arms_by_name:
            raise InputError(f"arm {name!r} is named twice")
        if not isinstance(guidance, Guidance):
            raise InputError(f"arm {name!r} must be a guidance, not {guidance!r}")
        arms_by_name[name] = guidance
    return arms_by_name


def check_scheduler(name: str, guidance: Guidance, scheduler: str) -> None:
    """Raise GuidanceError where the arm ``name`` does not work with a scheduler."""
    if guidance.schedulers and scheduler not in guidance.schedulers:
        known = ", ".join(guidance.schedulers)
        raise GuidanceError(f"{name}: {guidance.method} works with the scheduler {known} alone, not {scheduler!r}")


def check_family(arms: Mapping[str, Guidance], family: str) -> None:
    """Raise GuidanceError where an arm does not work on a family of networks, for instance ``unet``."""
    for name, guidance in arms.items():
        if family not in guidance.families:
            known = ", ".join(guidance.families)
            raise GuidanceError(f"{name}: {guidance.method} works on networks of the family {known}, not {family!r}")


def demanded_rows(arms: Iterable[Guidance], steps: int) -> set[Conditioning]:
    """Return the rows that ``arms`` demand beside the prompt's own in ``steps`` iterations."""
    return {row for arm in arms for iteration in range(steps) for row in arm.demand(iteration, steps).rows}


def negative_prompts(rows: Iterable[Conditioning]) -> list[str]:
    """Return the texts, sorted, that the rows put in the place of the empty one, which is among them."""
    return sorted({row.negative_prompt for row in rows if row.negative_prompt is not None})


def asks_for_own_tokens(rows: Iterable[Conditioning]) -> bool:
    """Return whether a row may choose its semantic token among the prompt's own alone."""
    return any(row.scale is not None and row.tokens == "prompt" for row in rows)


def _branch(
    members: tuple[str, ...],
    arms: Mapping[str, Guidance],
    iteration: int,
    steps: int,
    besides: tuple[Conditioning, ...],
) -> Branch:
    demands: dict[Demand, list[str]] = {}
    for name in members:
        demands.setdefault(arms[name].demand(iteration, steps), []).append(name)
    groups = tuple(Group(demand.rows, demand.rule, tuple(names)) for demand, names in demands.items())
    rows = dict.fromkeys(row for demanded in (*(group.rows for group in groups), besides) for row in demanded)
    rows.pop(PROMPT, None)
    # Negative before positive, as diffusers orders the rows of classifier-free guidance.
    return Branch((*rows, PROMPT), groups)
