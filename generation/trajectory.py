"""Generate pictures of prompts and seeds, all arms of a picture in one trajectory (paper Algorithm 1).

The network runs once for every distinct row (latent, conditioning, a, heads, tokens) of an iteration, so arms share the
rows they have in common. Where arms differ, their branch splits, and each part gets its own copy of the scheduler.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evenhand.errors import InputError
from evenhand.generation import noise
from evenhand.generation.arguments import (
    checked_batch_size,
    checked_iterations,
    checked_seeds,
    checked_texts,
    picture_size,
)
from evenhand.generation.arrays import floating, joined, joined_by_key, patch_grid
from evenhand.generation.attention import guide_attention
from evenhand.generation.combining import combine_pictures, effective_strengths, no_noise
from evenhand.generation.decoding import OnBranchPicture, decode_branches, nothing
from evenhand.generation.finite import are_finite, check_decoded, check_trajectories
from evenhand.generation.guidance import Guidance
from evenhand.generation.kinds.registry import Pipeline, kind_of
from evenhand.generation.methods.rows import EMPTY, PROMPT, Conditioning, Memory, Moment, Rule
from evenhand.generation.network import Network, RowMaps, check_layers, network_rows
from evenhand.generation.plan import (
    Group,
    Step,
    asks_for_own_tokens,
    check_family,
    count_evaluations,
    measured_plan,
    named_arms,
    negative_prompts,
)
from evenhand.generation.provenance import provenance_of
from evenhand.generation.schedule import Scheduler, advance, build_scheduler, signal_of
from evenhand.generation.text import check_prompts, encode_rows, refuse_differing_tokens, warn_of_cut_words

__all__ = ["Generated", "count_evaluations", "generate"]

Pictures = NDArray[np.uint8]
Progress = Callable[[int, int], None]
OnPicture = Callable[[str, int, NDArray[np.uint8]], None]
Arms = Mapping[str, Guidance] | Iterable[tuple[str, Guidance]]


@dataclass(frozen=True)
class Generated:
    """The result of ``generate`` for B prompts.

    images: for each arm uint8 (B, H, W, 3), in prompt order.
    evaluations: network evaluations over all prompts, padding excluded.
    latents: for each arm the final latents (B, C, h, w), float32 (float64 from a float64 pipeline), if requested.
    intermediates: for each arm and requested k the noisy latent after k iterations, decoded: uint8 (B, H, W, 3).
    semantic_maps: for each arm, iteration (0 … T−1) and cross-attention module, the token index chosen at each patch,
        int16 (B, 1 or heads, rows, columns); classifier-free iterations have none. Empty unless requested.
    effective_strengths: for each arm the effective strength of every picture and iteration, in diffusers' convention,
        and the share of the step that lies across classifier-free guidance's: float64 (B, T, 2), as
        ``combining.effective_strengths`` defines them; not a number where none was measured. Empty unless requested.
    provenance: JSON-able: scheduler and its configuration, call shapes, device, threads, versions.
    """

    images: dict[str, Pictures]
    evaluations: int
    provenance: dict[str, Any]
    latents: dict[str, NDArray[np.floating]] | None = None
    intermediates: dict[str, dict[int, Pictures]] = field(default_factory=dict)
    semantic_maps: dict[str, dict[int, dict[str, NDArray[np.int16]]]] = field(default_factory=dict)
    effective_strengths: dict[str, NDArray[np.float64]] = field(default_factory=dict)


@torch.no_grad()
def generate(
    pipeline: Pipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    arms: Arms,
    *,
    steps: int = 20,
    scheduler: str = "ddim",
    height: int | None = None,
    width: int | None = None,
    batch_size: int = 8,
    progress: Progress | None = None,
    return_latents: bool = False,
    intermediates: Sequence[int] = (),
    semantic_maps: bool = False,
    measure_strength: int = 0,
    on_picture: OnPicture | None = None,
) -> Generated:
    """Generate one picture for each prompt and arm; picture b of every arm starts from the noise of ``seeds[b]``.

    arms: guidance by name. steps: T. scheduler: ddim, ddpm, dpm_solver, euler or pndm, from the checkpoint's own
    configuration. height, width: pixels, multiples of the pipeline's ``vae_scale_factor``; the checkpoint's own size by
    default. batch_size: pictures a batch; every UNet call has ``network_rows(batch_size)`` rows, every VAE and text
    call ``batch_size``, so a picture does not depend on the other pictures, its slot or the other arms (bit for bit
    in float32 on a CPU). progress: called with (evaluations done, all evaluations) after each iteration of a batch.
    intermediates: the numbers of iterations k in 0 … T after which the noisy latent is decoded (Fig. 8).
    measure_strength: n measures the effective strengths at every n-th iteration, where an arm that needs no row of the
        empty prompt gets one more, and wherever an arm has that row anyway; 0 measures none.
    on_picture: called with an arm's name, b and the finished picture, uint8 (H, W, 3), as soon as its VAE call ends, so
    that encoding and storing in threads overlap the calls that follow.

    The pipeline's attention processors become the guided ones, which change nothing in other uses of it.
    Raises ValueError, naming the value, for input that cannot be run; NotFiniteError for pictures that are not finite,
    before theirs are handed to ``on_picture``. Warns (PromptTruncated) of prompts and negative
    prompts that are cut, these numbered in alphabetical order.
    """
    arms_by_name = named_arms(arms)
    check_family(arms_by_name, kind_of(pipeline).family)
    run = _Run(
        pipeline=pipeline,
        labels={name: guidance.label() for name, guidance in arms_by_name.items()},
        steps=measured_plan(arms_by_name, steps, scheduler, measure_strength),
        scheduler=build_scheduler(scheduler, pipeline.scheduler.config, steps),
        size=picture_size(pipeline, height, width),
        batch_size=checked_batch_size(batch_size),
        intermediate_iterations=frozenset(checked_iterations(intermediates, steps)),
        record_maps=semantic_maps,
        measure_strength=measure_strength,
    )
    prompts, seeds = list(checked_texts(prompts)), checked_seeds(seeds)
    if len(prompts) != len(seeds):
        raise InputError(f"there must be one seed for each prompt: {len(prompts)} prompts, {len(seeds)} seeds")
    check_prompts(pipeline, prompts)
    warn_of_cut_words(pipeline, [text for text in negative_prompts(run.rows) if text], "negative prompt")
    if asks_for_own_tokens(run.rows):
        refuse_differing_tokens(pipeline, prompts)
    guide_attention(pipeline.unet)
    check_layers(pipeline.unet, run.steps)

    counter = _Counter(len(prompts) * sum(step.evaluations for step in run.steps), progress)
    batches = [
        run.batch(prompts[part], seeds[part], counter, _from(part.start, on_picture))
        for part in (slice(at, at + batch_size) for at in range(0, len(prompts), batch_size))
    ]
    return Generated(
        images={name: joined(batch[name].images for batch in batches) for name in arms_by_name},
        evaluations=counter.evaluations,
        provenance=provenance_of(pipeline, run.scheduler, scheduler, steps, run.size, batch_size),
        latents=(
            {name: joined(batch[name].latents for batch in batches) for name in arms_by_name}
            if return_latents
            else None
        ),
        intermediates={name: joined_by_key([batch[name].intermediates for batch in batches]) for name in arms_by_name},
        semantic_maps={
            name: {
                iteration: joined_by_key([batch[name].maps[iteration] for batch in batches])
                for iteration in batches[0][name].maps
            }
            for name in arms_by_name
        },
        effective_strengths={
            name: joined(np.stack(list(batch[name].strengths.values()), axis=1) for batch in batches)
            for name in arms_by_name
            if measure_strength
        },
    )


@dataclass
class _Result:
    """One arm of one batch of b pictures, as arrays with b rows."""

    images: Pictures
    latents: NDArray[np.floating]
    intermediates: dict[int, Pictures]
    maps: dict[int, dict[str, NDArray[np.int16]]]
    strengths: dict[int, NDArray[np.float64]]


@dataclass
class _State:
    """A branch: latents (b, C, h, w), the scheduler that stepped them, and what the last rule keeps of each picture.

    intermediates, maps, strengths: by iteration. finite: bool (b,) after each network call, on the latents' device.
    """

    latents: torch.Tensor
    scheduler: Scheduler
    rule: Rule | None = None
    memories: Sequence[Memory] = ()
    intermediates: dict[int, torch.Tensor] = field(default_factory=dict)
    maps: dict[int, dict[str, NDArray[np.int16]]] = field(default_factory=dict)
    strengths: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    finite: list[torch.Tensor] = field(default_factory=list)


@dataclass
class _Counter:
    """Counts evaluations and reports them to ``progress``."""

    total: int
    progress: Progress | None
    evaluations: int = 0

    def add(self, evaluations: int) -> None:
        self.evaluations += evaluations
        if self.progress is not None:
            self.progress(self.evaluations, self.total)


@dataclass(frozen=True)
class _Run:
    """The settings that all batches of one call share."""

    pipeline: Pipeline
    labels: Mapping[str, str]
    steps: tuple[Step, ...]
    scheduler: Scheduler
    size: tuple[int, int]
    batch_size: int
    intermediate_iterations: frozenset[int]
    record_maps: bool
    measure_strength: int

    @property
    def iterations(self) -> int:
        """T."""
        return self.steps[-1].iteration + 1

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of one picture's latents."""
        factor = self.pipeline.vae_scale_factor
        return self.pipeline.unet.config.in_channels, self.size[0] // factor, self.size[1] // factor

    @property
    def rows(self) -> set[Conditioning]:
        """All kinds of rows that the steps need."""
        return {row for step in self.steps for branch in step.branches for row in branch.rows}

    def batch(
        self, prompts: Sequence[str], seeds: Sequence[int], counter: _Counter, on_picture: OnPicture
    ) -> dict[str, _Result]:
        """Generate all arms for at most ``batch_size`` prompts."""
        texts = encode_rows(self.pipeline, prompts, self.rows, self.batch_size, self.size)
        network = Network(self.pipeline.unet, texts, network_rows(self.batch_size), self.record_maps)
        states = [self._start(seeds, texts.prompts.states)]
        for entry, step in enumerate(self.steps):
            states = self._step(network, step, entry, states, seeds)
            counter.add(step.evaluations * len(prompts))
        arms = [[self.labels[name] for name in group.arms] for group in self._last_groups]
        check_trajectories(
            [state.finite for state in states],
            arms,
            [step.iteration for step in self.steps],
            prompts,
            self.pipeline.unet.dtype,
        )
        return self._results(states, on_picture, prompts)

    @property
    def _last_groups(self) -> list[Group]:
        """The groups of the last branches, in the order of their states."""
        return [group for branch in self.steps[-1].branches for group in branch.groups]

    def _start(self, seeds: Sequence[int], like: torch.Tensor) -> _State:
        first_noise = noise.draw(seeds, 0, self.latent_shape).to(device=like.device, dtype=like.dtype)
        scheduler = copy.deepcopy(self.scheduler)
        state = _State(first_noise * scheduler.init_noise_sigma, scheduler)
        if 0 in self.intermediate_iterations:
            state.intermediates[0] = scheduler.scale_model_input(state.latents, scheduler.timesteps[0])
        return state

    def _step(
        self, network: Network, step: Step, entry: int, states: Sequence[_State], seeds: Sequence[int]
    ) -> list[_State]:
        """Run one scheduler entry for every branch, and return the branches that follow from it."""
        timestep = self.scheduler.timesteps[entry]
        inputs = [state.scheduler.scale_model_input(state.latents, timestep) for state in states]
        branch_predictions = network.predict(step, inputs, timestep)
        next_states = []
        signal, output = signal_of(self.scheduler, entry), self.scheduler.config["prediction_type"]
        for state, branch, prediction, latents in zip(states, step.branches, branch_predictions, inputs, strict=True):
            moment = Moment(latents, signal, output, no_noise, step.iteration, self.iterations, timestep)
            copies = [copy.deepcopy(state.scheduler) for _ in branch.groups[1:]]
            for group, scheduler in zip(branch.groups, [*copies, state.scheduler], strict=True):
                combined = combine_pictures(
                    group.rule,
                    prediction.predictions,
                    state.memories if state.rule == group.rule else (),
                    moment,
                    lambda index: noise.draw([seeds[index]], f"guidance {entry}", self.latent_shape)[0],
                )
                next_latents = advance(
                    scheduler,
                    combined.prediction,
                    timestep,
                    state.latents,
                    lambda: noise.draw(seeds, entry + 1, self.latent_shape),
                    combined.renoise,
                )
                next_state = _State(
                    next_latents,
                    scheduler,
                    group.rule,
                    combined.memories,
                    dict(state.intermediates),
                    dict(state.maps),
                    dict(state.strengths),
                    [*state.finite, are_finite(next_latents)],
                )
                if self.measure_strength:  # of PNDM's two calls in its first iteration the second one counts
                    next_state.strengths[step.iteration] = _measured(combined.prediction, prediction.predictions)
                self._record(next_state, step, entry, _maps_of(group, prediction.maps))
                next_states.append(next_state)
        return next_states

    def _record(self, state: _State, step: Step, entry: int, maps: RowMaps | None) -> None:
        """Record the scaled latent if it is an intermediate to return, and the semantic maps if there are any."""
        iterations = step.iteration + 1
        if iterations in self.intermediate_iterations:  # PNDM's first iteration: its second call overwrites the first
            latents = state.latents
            if entry + 1 < len(self.steps):
                latents = state.scheduler.scale_model_input(latents, self.scheduler.timesteps[entry + 1])
            state.intermediates[iterations] = latents
        if maps is not None:
            state.maps[step.iteration] = {name: self._on_grid(torch.stack(rows)) for name, rows in maps.items()}

    def _on_grid(self, tokens: torch.Tensor) -> NDArray[np.int16]:
        """Token index (b, heads or 1, patches) as int16 (b, heads or 1, rows, columns)."""
        grid = patch_grid(tokens.shape[-1], self.latent_shape[1:])
        return tokens.unflatten(-1, grid).numpy().astype(np.int16)

    def _results(self, states: Sequence[_State], on_picture: OnPicture, prompts: Sequence[str]) -> dict[str, _Result]:
        groups = self._last_groups

        def on_branch_picture(branch: int, index: int, picture: NDArray[np.uint8]) -> None:
            for name in groups[branch].arms:
                on_picture(name, index, picture)

        images = self._decoded([state.latents for state in states], prompts, on_branch_picture)
        intermediates = {
            k: self._decoded([state.intermediates[k] for state in states], prompts)
            for k in sorted(self.intermediate_iterations)
        }
        return {
            name: _Result(
                images[branch],
                floating(state.latents),
                {k: pictures[branch] for k, pictures in intermediates.items()},
                state.maps,
                state.strengths,
            )
            for branch, (state, group) in enumerate(zip(states, groups, strict=True))
            for name in group.arms
        }

    def _decoded(
        self,
        latents: Sequence[torch.Tensor],
        prompts: Sequence[str],
        on_picture: OnBranchPicture = nothing,
    ) -> list[Pictures]:
        """Decode the latents of each branch, and raise NotFiniteError for a picture that is not finite."""
        names = [[self.labels[name] for name in group.arms] for group in self._last_groups]

        def check(finite: Sequence[bool], branches: Sequence[Sequence[int]], indices: Sequence[int]) -> None:
            labels = [[label for branch in shown for label in names[branch]] for shown in branches]
            check_decoded(finite, labels, [prompts[index] for index in indices], kind_of(self.pipeline).decoder_dtype)

        return decode_branches(self.pipeline, latents, self.batch_size, on_picture, check)


def _measured(guided: torch.Tensor, predictions: Mapping[Conditioning, torch.Tensor]) -> NDArray[np.float64]:
    """Return effective strengths (b, 2), not a number where the empty prompt was not computed."""
    if EMPTY not in predictions:
        return np.full((len(guided), 2), np.nan)
    measured: NDArray[np.float64] = effective_strengths(guided, predictions[PROMPT], predictions[EMPTY]).numpy()
    return measured


def _maps_of(group: Group, maps: Mapping[Conditioning, RowMaps]) -> RowMaps | None:
    """Return the semantic maps of the group's first row that has any."""
    return next((maps[row] for row in group.rows if row in maps), None)


def _from(start: int, on_picture: OnPicture | None) -> OnPicture:
    """Return ``on_picture`` for the batch that begins at prompt ``start``."""
    return lambda name, index, picture: on_picture(name, start + index, picture) if on_picture else None
