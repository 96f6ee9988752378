"""Plan which network rows each iteration needs, and which arms share them (method §1.12).

All arms of an image start from one latent. At every network call each arm demands a prediction on the image's own
prompt and, where it guides, one on what its guidance subtracts. Arms of one branch with the same demands stay in one
branch. Where demands differ, the branch splits after the call; the rows of that call are on the common latent and are
computed once.
This module is plain Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral

from evenhand.errors import InputError
from evenhand.generation.guidance import ClassifierFree, Guidance, Heads, SegmentationFree, Tokens

SCHEDULERS = ("ddim", "ddpm", "dpm_solver", "euler", "pndm")


@dataclass(frozen=True)
class Conditioning:
    """The inputs of one network row beside its latent.

    negative_prompt: a text that stands in for ∅, or None for the image's own prompt.
    scale: the a of eq. 10, or None for plain attention; heads and tokens matter only with a scale.
    """

    negative_prompt: str | None = None
    scale: float | None = None
    heads: Heads = "mean"
    tokens: Tokens = "all"


PROMPT = Conditioning()


@dataclass(frozen=True)
class Group:
    """Arms that take the same step: they subtract the same row with the same strength."""

    negative: Conditioning
    strength: float
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
    arms: Mapping[str, Guidance] | Iterable[tuple[str, Guidance]], steps: int = 20, scheduler: str = "ddim"
) -> tuple[Step, ...]:
    """Plan the network calls of one image under all ``arms``, in order.

    Raises ValueError for no arms, a name given twice, something that is no guidance, ``steps`` below 1,
    ``switch_after`` beyond ``steps``, or an unknown scheduler.
    """
    arms_by_name = named_arms(arms)
    branches: list[tuple[str, ...]] = [tuple(arms_by_name)]
    entries = []
    for iteration in entry_iterations(scheduler, steps):
        step = Step(iteration, tuple(_branch(members, arms_by_name, iteration, steps) for members in branches))
        branches = [group.arms for branch in step.branches for group in branch.groups]
        entries.append(step)
    return tuple(entries)


def count_evaluations(
    arms: Mapping[str, Guidance] | Iterable[tuple[str, Guidance]],
    steps: int = 20,
    scheduler: str = "ddim",
    prompts: int = 1,
) -> int:
    """Count the network evaluations that ``generate`` will make, padding excluded, without running anything.

    For classifier-free guidance and K segmentation-free arms with one opening, a prompt takes
    2·t_s + (2+K) + 2(K+1)(T−t_s−1).
    """
    return prompts * sum(step.evaluations for step in plan(arms, steps, scheduler))


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
        if not isinstance(guidance, ClassifierFree | SegmentationFree):
            raise InputError(f"arm {name!r} must be a ClassifierFree or SegmentationFree, not {guidance!r}")
        arms_by_name[name] = guidance
    return arms_by_name


def _branch(members: tuple[str, ...], arms: Mapping[str, Guidance], iteration: int, steps: int) -> Branch:
    demands: dict[tuple[Conditioning, float], list[str]] = {}
    for name in members:
        demands.setdefault(_demand(arms[name], iteration, steps), []).append(name)
    groups = tuple(Group(negative, strength, tuple(names)) for (negative, strength), names in demands.items())
    negatives = dict.fromkeys(group.negative for group in groups if group.negative != PROMPT)
    # Negative before positive, as diffusers orders the rows of classifier-free guidance.
    return Branch((*negatives, PROMPT), groups)


def _demand(guidance: Guidance, iteration: int, steps: int) -> tuple[Conditioning, float]:
    if isinstance(guidance, SegmentationFree):
        if iteration >= guidance.switch_iteration(steps):
            perturbed = Conditioning(scale=guidance.scale, heads=guidance.heads, tokens=guidance.tokens)
            return perturbed, guidance.strength
        guidance = guidance.opening
    if not guidance.guides(iteration):
        return PROMPT, 0.0  # n + 1·(p − n) with n = p is p itself, bit for bit
    return Conditioning(negative_prompt=guidance.negative_prompt), guidance.strength
