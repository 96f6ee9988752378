"""Define a study's configuration: a validated value, stored as canonical JSON under its SHA-256."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any

from evenhand.errors import InputError
from evenhand.generation.guidance import (
    ClassifierFree,
    Guidance,
    GuidanceError,
    OtherCheckpoint,
    SegmentationFree,
    Uploaded,
    from_dict,
)
from evenhand.generation.plan import SCHEDULERS, check_scheduler
from evenhand.sampling.draws import DRAWS
from evenhand.sampling.duplicates import DEDUPLICATION
from evenhand.studies import comparisons as compared_arms
from evenhand.studies.criteria import DEFAULT_OPTIONS, DEFAULT_QUESTION, criterion_from
from evenhand.studies.panels import end_return_from
from evenhand.studies.procedure import Procedure, between, questions_from

STRATA = ("high", "middle", "low")
CHECKPOINT_LIMIT = 500  # characters: what a recipe holds
ENCODER_LIMIT = 250  # characters of name and weights together: what the names of subsets and scores hold


class ConfigurationError(InputError):
    """A configuration that cannot be used; ``errors`` maps a field to what is wrong with it."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{name}: {text}" for name, text in errors.items()))


@dataclass(frozen=True)
class StudyConfiguration(Procedure):
    """All settings of a study. Defaults are the paper's (§5.1, §5.3)."""

    checkpoint: str
    scheduler: str = "ddim"
    steps: int = 20
    height: int | None = None  # None: the model's own size
    width: int | None = None
    dtype: str = "float32"
    batch_size: int = 8
    encoder: str = "demo"  # "demo", a folder, or an open_clip model name
    encoder_pretrained: str = ""
    subset_size: int = 5000
    draw: str = "random"  # the paper's; "representative" lowers the Fréchet distance at equal size
    deduplicate: str = "none"  # the paper's; "exact" and "near" draw no prompt that repeats an earlier one
    near_duplicate_cosine: float = 0.95
    curve_sizes: tuple[int, ...] = (50, 150, 500, 1000, 2000, 5000, 10000)
    curve_draws: int = 5
    seed: int = 0
    percentiles: tuple[float, ...] = (90, 50, 10)
    per_stratum: int = 50
    baseline: Guidance = field(default_factory=ClassifierFree)
    candidates: tuple[Guidance, ...] = field(
        default_factory=lambda: (SegmentationFree(scale=5.0), SegmentationFree(scale=10.0))
    )
    comparisons: compared_arms.Compared = ()  # of arm numbers; empty: each candidate against the baseline
    primary_comparison: int = 1  # the primary outcome: a comparison's number, and a criterion's name (empty: the first)
    measure_strength: int = 0  # the effective strength at every n-th iteration; 0: nowhere
    primary_criterion: str = ""
    equivalence_margin: float | None = None  # points of net share; None: equivalence is not tested
    exclusion_rules: str = ""  # whom and which answers results will leave out, in words
    stopping_rule: str = ""  # when collecting ends, in words; empty: when the quota has been rated

    def __post_init__(self) -> None:
        # Equal values have one form, so that they have one hash: a form gives 90.0 where a program gives 90.
        object.__setattr__(self, "percentiles", tuple(map(_shortest, self.percentiles)))
        if self.equivalence_margin is not None:
            object.__setattr__(self, "equivalence_margin", float(self.equivalence_margin))
        object.__setattr__(self, "near_duplicate_cosine", float(self.near_duplicate_cosine))
        if self.comparisons == compared_arms.against_baseline(len(self.arms)):
            object.__setattr__(self, "comparisons", ())
        errors = {
            name: problem
            for name, problem in (
                ("checkpoint", self._checkpoint_problem()),
                ("encoder", self._encoder_problem()),
                ("scheduler", _one_of(self.scheduler, SCHEDULERS)),
                ("dtype", _one_of(self.dtype, ("float32", "float16", "bfloat16"))),
                ("steps", between(self.steps, 1, 1000)),
                ("batch_size", between(self.batch_size, 1, 256)),
                ("subset_size", between(self.subset_size, 2, 10_000_000)),
                ("draw", _one_of(self.draw, DRAWS)),
                ("deduplicate", _one_of(self.deduplicate, DEDUPLICATION)),
                ("near_duplicate_cosine", "" if 0 < self.near_duplicate_cosine <= 1 else "give a cosine in (0, 1]"),
                ("curve_draws", between(self.curve_draws, 1, 1000)),
                ("curve_sizes", "" if all(n >= 2 for n in self.curve_sizes) else "every size must be at least 2"),
                ("measure_strength", between(self.measure_strength, 0, 1000)),
                ("seed", between(self.seed, 0, 2**62)),
                ("per_stratum", between(self.per_stratum, 1, 1_000_000)),
                ("percentiles", _percentile_problem(self.percentiles)),
                ("baseline", self._baseline_problem()),
                ("candidates", self._candidate_problem()),
                ("comparisons", compared_arms.problem(self.comparisons, len(self.arms))),
                ("primary_comparison", between(self.primary_comparison, 1, max(1, len(self.compared)))),
                ("primary_criterion", self._primary_criterion_problem()),
                ("equivalence_margin", self._margin_problem()),
                *self.procedure_problems().items(),
            )
            if problem
        }
        if errors:
            raise ConfigurationError(errors)

    def _checkpoint_problem(self) -> str:
        if not self.checkpoint.strip() and not self.ready_made:
            return "give a folder or a hub id"
        return _too_long(self.checkpoint, CHECKPOINT_LIMIT)

    def _encoder_problem(self) -> str:
        if not self.encoder.strip():
            return "give “demo”, a folder or an open_clip model"
        return _too_long(f"{self.encoder}/{self.encoder_pretrained}", ENCODER_LIMIT)

    def _baseline_problem(self) -> str:
        if isinstance(self.baseline, OtherCheckpoint):
            return "the study's own checkpoint draws the baseline"
        return self._arm_problem(self.baseline)

    def _candidate_problem(self) -> str:
        if not self.candidates:
            return "give at least one candidate"
        if self.baseline in self.candidates or len(set(self.candidates)) < len(self.candidates):
            return "the baseline and the candidates must all differ"
        if self.ready_made and not all(isinstance(arm, Uploaded) for arm in self.arms):
            return "where the baseline was uploaded, every candidate is: nothing is generated beside it"
        return next(filter(None, map(self._arm_problem, self.candidates)), "")

    def _arm_problem(self, guidance: Guidance) -> str:
        """Say why an arm cannot run with this scheduler and these steps; empty where it can."""
        try:
            guidance.switch_iteration(self.steps)
            scheduler = self.scheduler
            if isinstance(guidance, OtherCheckpoint):
                if not self._differs(guidance):
                    return f"{guidance.label()}: this is the study's own recipe; give the guidance alone"
                scheduler = guidance.scheduler or scheduler
                if unknown := _one_of(scheduler, SCHEDULERS):
                    return f"scheduler: {unknown}"
                guidance = guidance.guidance
            check_scheduler(arm_label(guidance), guidance, scheduler)
        except GuidanceError as error:
            return str(error)
        return ""

    def _differs(self, other: OtherCheckpoint) -> bool:
        """Whether an arm is drawn by another recipe than the study's."""
        own = (self.checkpoint, self.scheduler, self.steps, self.dtype)
        return own != (
            other.checkpoint,
            other.scheduler or self.scheduler,
            other.steps or self.steps,
            other.dtype or self.dtype,
        )

    def _primary_criterion_problem(self) -> str:
        return _one_of(self.primary_criterion, ("", *(criterion.name for criterion in self.criteria)))

    def _margin_problem(self) -> str:
        margin = self.equivalence_margin
        return "" if margin is None or 0 < margin <= 100 else "give points between 0 and 100, or nothing"

    @property
    def arms(self) -> tuple[Guidance, ...]:
        """The arms in the order of their numbers: 0 is the baseline, 1 … are the candidates."""
        return (self.baseline, *self.candidates)

    @property
    def compared(self) -> compared_arms.Compared:
        """The two arms' numbers of every comparison, in their order."""
        return self.comparisons or compared_arms.against_baseline(len(self.arms))

    @property
    def ready_made(self) -> bool:
        """Whether the study's pictures were uploaded: nothing is drawn, generated or selected."""
        return isinstance(self.baseline, Uploaded)

    @property
    def brought(self) -> tuple[Uploaded, ...]:
        """The arms of uploaded pictures."""
        return tuple(arm for arm in self.arms if isinstance(arm, Uploaded))

    @property
    def strata(self) -> dict[float, str]:
        """Name each percentile's stratum: high, middle and low where there are three, else ``p90`` and so on.

        Empty for ready-made pairs, whose strata are given with them.
        """
        if self.ready_made:
            return {}
        if len(self.percentiles) == 3:
            return dict(zip(sorted(self.percentiles, reverse=True), STRATA, strict=True))
        return {p: f"p{p:g}" for p in self.percentiles}

    @property
    def encoder_name(self) -> str:
        """The encoder with its weights, as records name it: ``ViT-g-14/laion2b_s12b_b42k``."""
        return "/".join(part for part in (self.encoder, self.encoder_pretrained) if part)

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no spaces, one form for equal values.

        Comparisons are written only where they are set, so that plans stored before there were any keep their hash.
        """
        fields = {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}
        if not self.comparisons:
            del fields["comparisons"]
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> StudyConfiguration:
        """Return the configuration that ``to_json`` wrote."""
        fields: dict[str, Any] = json.loads(text)
        fields["baseline"] = from_dict(fields["baseline"])
        fields["candidates"] = tuple(from_dict(c) for c in fields["candidates"])
        fields["comparisons"] = compared_arms.read_comparisons(
            fields.get("comparisons", []), 1 + len(fields["candidates"])
        )
        for name in ("curve_sizes", "percentiles", "panel_parameters", "reasons"):
            if name in fields:
                fields[name] = tuple(fields[name])
        fields["comprehension"] = questions_from(fields.get("comprehension", []))
        fields["end_returns"] = tuple(map(end_return_from, fields.get("end_returns", [])))
        fields["criteria"] = tuple(map(criterion_from, fields.get("criteria") or [_only_criterion(fields)]))
        fields = {name: value for name, value in fields.items() if name not in ("question", "options")}
        return cls(**fields)

    @property
    def sha256(self) -> str:
        """The hash that the CSV carries as version_hash."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def _only_criterion(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the criterion of a configuration that was stored before there were several."""
    return {
        "question": fields.get("question", DEFAULT_QUESTION),
        "options": fields.get("options", DEFAULT_OPTIONS),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Guidance):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _shortest(value: float) -> float:
    """The whole number where it is one."""
    return int(value) if math.isfinite(value) and value == int(value) else float(value)


def _too_long(value: str, limit: int) -> str:
    return "" if len(value) <= limit else f"{len(value)} characters are too many, {limit} are the most"


def _one_of(value: str, allowed: tuple[str, ...]) -> str:
    return "" if value in allowed else f"{value!r} is none of {', '.join(allowed)}"


def _percentile_problem(values: tuple[float, ...]) -> str:
    if not values or len(set(values)) < len(values) or not all(0 <= p <= 100 for p in values):
        return "give different percentiles between 0 and 100"
    return ""


def compared_in_words(configuration: StudyConfiguration) -> list[str]:
    """Name the two arms of every comparison: “a = 10 against CFG”, the arm first whose preference is told."""
    labels = [arm_label(guidance) for guidance in configuration.arms]
    return [f"{labels[second]} against {labels[first]}" for first, second in configuration.compared]


def arm_label(guidance: Guidance) -> str:
    """Name an arm for study admins; classifier-free guidance with its strength in diffusers' convention too."""
    return guidance.label()
