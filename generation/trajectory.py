"""Prompts and seeds in, pictures out: all arms of a picture from one trajectory (paper Algorithm 1).

Arms share what they have in common, exactly: the network is run once for every distinct row (latent, conditioning, a,
heads, tokens) of an iteration, and a branch splits, each part with its own copy of the scheduler, where arms part.
"""

from __future__ import annotations

import copy
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from evenhand.errors import InputError
from evenhand.generation import noise
from evenhand.generation.attention import guide_attention
from evenhand.generation.guidance import Guidance, combine
from evenhand.generation.network import Network, RowMaps, Texts, decode_latents, is_compiled, network_rows
from evenhand.generation.plan import PROMPT, Step, count_evaluations, named_arms, plan
from evenhand.generation.schedule import Scheduler, advance, build_scheduler
from evenhand.generation.text import check_prompts, encode_texts, own_tokens

__all__ = ["Generated", "count_evaluations", "generate"]

Pictures = NDArray[np.uint8]
Progress = Callable[[int, int], None]
OnPicture = Callable[[str, int, NDArray[np.uint8]], None]
Arms = Mapping[str, Guidance] | Iterable[tuple[str, Guidance]]


@dataclass(frozen=True)
class Generated:
    """What ``generate`` made, for B prompts.

    images: for each arm uint8 (B, H, W, 3), in prompt order.
    evaluations: network evaluations over all prompts, padding excluded.
    latents: for each arm the final latents (B, C, h, w), float32 (float64 from a float64 pipeline); None unless asked.
    intermediates: for each arm and each k asked for, the noisy latent after k iterations, decoded: uint8 (B, H, W, 3).
    semantic_maps: for each arm, iteration (0 … T−1) and cross-attention module, the token index chosen at each patch,
        int16 (B, 1 or heads, rows, columns); classifier-free iterations have none. Empty unless asked.
    provenance: JSON-able: scheduler and its configuration, call shapes, device, threads, versions.
    """

    images: dict[str, Pictures]
    evaluations: int
    provenance: dict[str, Any]
    latents: dict[str, NDArray[np.floating]] | None = None
    intermediates: dict[str, dict[int, Pictures]] = field(default_factory=dict)
    semantic_maps: dict[str, dict[int, dict[str, NDArray[np.int16]]]] = field(default_factory=dict)


@torch.no_grad()
def generate(
    pipeline: StableDiffusionPipeline,
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
    on_picture: OnPicture | None = None,
) -> Generated:
    """One picture for each prompt and arm; picture b of every arm starts from the noise of ``seeds[b]``.

    arms: guidance by name. steps: T. scheduler: ddim, ddpm, dpm_solver, euler or pndm, from the checkpoint's own
    configuration. height, width: pixels, multiples of the pipeline's ``vae_scale_factor``; the checkpoint's own size by
    default. batch_size: pictures a batch; every UNet call has ``network_rows(batch_size)`` rows, every VAE and text
    call ``batch_size``, so a picture does not depend on its companions, its slot or the other arms (bit for bit in
    float32 on a CPU). progress: called with (evaluations done, evaluations in all) after every iteration of a batch.
    intermediates: the numbers of iterations k in 0 … T after which the noisy latent is decoded (Fig. 8).
    on_picture: called with an arm's name, b and the finished picture, uint8 (H, W, 3), as soon as its VAE call ends, so
    that encoding and storing in threads overlap what is still to come.

    The pipeline's attention processors become the guided ones, which change nothing in other uses of it.
    Raises ValueError, naming the value, for input that cannot be run; warns (PromptTruncated) of prompts that are cut.
    """
    named = named_arms(arms)
    run = _Run(
        pipeline=pipeline,
        steps=plan(named, steps, scheduler),
        scheduler=build_scheduler(scheduler, pipeline.scheduler.config, steps),
        size=picture_size(pipeline, height, width),
        batch_size=_batch_size(batch_size),
        wanted=frozenset(_iteration_numbers(intermediates, steps)),
        record_maps=semantic_maps,
    )
    prompts, seeds = list(_texts(prompts)), _seeds(seeds)
    if len(prompts) != len(seeds):
        raise InputError(f"there must be one seed for each prompt: {len(prompts)} prompts, {len(seeds)} seeds")
    check_prompts(pipeline, prompts)
    guide_attention(pipeline.unet)

    report = _Counter(count_evaluations(named, steps, scheduler, len(prompts)), progress)
    batches = [
        run.batch(prompts[part], seeds[part], report, _from(part.start, on_picture))
        for part in (slice(at, at + batch_size) for at in range(0, len(prompts), batch_size))
    ]
    return Generated(
        images={name: _joined(batch[name].images for batch in batches) for name in named},
        evaluations=report.done,
        provenance=_provenance(run, scheduler, steps),
        latents={name: _joined(batch[name].latents for batch in batches) for name in named} if return_latents else None,
        intermediates={name: _joined_by_key([batch[name].intermediates for batch in batches]) for name in named},
        semantic_maps={
            name: {
                iteration: _joined_by_key([batch[name].maps[iteration] for batch in batches])
                for iteration in batches[0][name].maps
            }
            for name in named
        },
    )


@dataclass
class _Result:
    """One arm of one batch of b pictures, as arrays with b rows."""

    images: Pictures
    latents: NDArray[np.floating]
    intermediates: dict[int, Pictures]
    maps: dict[int, dict[str, NDArray[np.int16]]]


@dataclass
class _State:
    """A branch: latents (b, C, h, w) and the scheduler that has followed them. kept, maps: by iteration."""

    latents: torch.Tensor
    scheduler: Scheduler
    kept: dict[int, torch.Tensor] = field(default_factory=dict)
    maps: dict[int, dict[str, NDArray[np.int16]]] = field(default_factory=dict)


@dataclass
class _Counter:
    """Evaluations done, told to ``progress`` as they come."""

    total: int
    progress: Progress | None
    done: int = 0

    def add(self, evaluations: int) -> None:
        self.done += evaluations
        if self.progress is not None:
            self.progress(self.done, self.total)


@dataclass(frozen=True)
class _Run:
    """What all batches of one call share."""

    pipeline: StableDiffusionPipeline
    steps: tuple[Step, ...]
    scheduler: Scheduler
    size: tuple[int, int]
    batch_size: int
    wanted: frozenset[int]
    record_maps: bool

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of one picture's latents."""
        factor = self.pipeline.vae_scale_factor
        return self.pipeline.unet.config.in_channels, self.size[0] // factor, self.size[1] // factor

    def batch(
        self, prompts: Sequence[str], seeds: Sequence[int], report: _Counter, on_picture: OnPicture
    ) -> dict[str, _Result]:
        """All arms for at most ``batch_size`` prompts."""
        texts = self._texts(prompts)
        network = Network(self.pipeline.unet, texts, network_rows(self.batch_size), self.record_maps)
        states = [self._start(seeds, texts.prompts)]
        for entry, step in enumerate(self.steps):
            states = self._step(network, step, entry, states, seeds)
            report.add(step.evaluations * len(prompts))
        return self._results(states, on_picture)

    def _texts(self, prompts: Sequence[str]) -> Texts:
        rows = {row for step in self.steps for branch in step.branches for row in branch.rows}
        negatives = sorted({row.negative_prompt for row in rows if row.negative_prompt is not None})
        encoded = encode_texts(self.pipeline, negatives, self.batch_size) if negatives else ()
        return Texts(
            encode_texts(self.pipeline, prompts, self.batch_size),
            dict(zip(negatives, encoded, strict=True)),
            torch.stack([own_tokens(self.pipeline, prompt) for prompt in prompts]),
        )

    def _start(self, seeds: Sequence[int], like: torch.Tensor) -> _State:
        drawn = noise.draw(seeds, 0, self.latent_shape).to(device=like.device, dtype=like.dtype)
        scheduler = copy.deepcopy(self.scheduler)
        state = _State(drawn * scheduler.init_noise_sigma, scheduler)
        if 0 in self.wanted:
            state.kept[0] = scheduler.scale_model_input(state.latents, scheduler.timesteps[0])
        return state

    def _step(
        self, network: Network, step: Step, entry: int, states: Sequence[_State], seeds: Sequence[int]
    ) -> list[_State]:
        """One network call for every branch, and the branches that follow from it."""
        timestep = self.scheduler.timesteps[entry]
        inputs = [state.scheduler.scale_model_input(state.latents, timestep) for state in states]
        predicted = network.predict(step, inputs, timestep)
        following = []
        for state, branch, prediction in zip(states, step.branches, predicted, strict=True):
            copies = [copy.deepcopy(state.scheduler) for _ in branch.groups[1:]]
            for group, scheduler in zip(branch.groups, [*copies, state.scheduler], strict=True):
                guided = combine(prediction.predictions[group.negative], prediction.predictions[PROMPT], group.strength)
                latents = advance(
                    scheduler, guided, timestep, state.latents, lambda: noise.draw(seeds, entry + 1, self.latent_shape)
                )
                parted = _State(latents, scheduler, dict(state.kept), dict(state.maps))
                self._record(parted, step, entry, prediction.maps.get(group.negative))
                following.append(parted)
        return following

    def _record(self, state: _State, step: Step, entry: int, maps: RowMaps | None) -> None:
        """Keep the scaled latent where it is wanted, and the semantic maps where they were made."""
        last = entry + 1 == len(self.steps)
        if step.iteration + 1 in self.wanted:  # of the two calls of PNDM's first iteration the second one stays
            scale = state.scheduler.scale_model_input
            following = None if last else self.scheduler.timesteps[entry + 1]
            state.kept[step.iteration + 1] = state.latents if following is None else scale(state.latents, following)
        if maps is not None:
            state.maps[step.iteration] = {name: self._on_grid(torch.stack(rows)) for name, rows in maps.items()}

    def _on_grid(self, tokens: torch.Tensor) -> NDArray[np.int16]:
        """Token index (b, heads or 1, patches) as int16 (b, heads or 1, rows, columns)."""
        grid = patch_grid(tokens.shape[-1], self.latent_shape[1:])
        return tokens.unflatten(-1, grid).numpy().astype(np.int16)

    def _results(self, states: Sequence[_State], on_picture: OnPicture) -> dict[str, _Result]:
        groups = [group for branch in self.steps[-1].branches for group in branch.groups]

        def arrived(at: int, index: int, picture: NDArray[np.uint8]) -> None:
            for name in groups[at].arms:
                on_picture(name, index, picture)

        images = self._decoded([state.latents for state in states], arrived)
        kept = {k: self._decoded([state.kept[k] for state in states]) for k in sorted(self.wanted)}
        return {
            name: _Result(
                images[at],
                _floating(state.latents),
                {k: pictures[at] for k, pictures in kept.items()},
                state.maps,
            )
            for at, (state, group) in enumerate(zip(states, groups, strict=True))
            for name in group.arms
        }

    def _decoded(
        self,
        latents: Sequence[torch.Tensor],
        arrived: Callable[[int, int, NDArray[np.uint8]], None] = lambda *_: None,
    ) -> list[Pictures]:
        """Pictures for the latents of each branch; a latent that branches still shared is decoded once.

        arrived: told the branch, the picture's index in the batch and the picture.
        """
        distinct = list({id(each): each for each in latents}.values())
        wanted = [[at for at, each in enumerate(latents) if each is one] for one in distinct]
        size = len(latents[0])

        def tell(position: int, picture: NDArray[np.uint8]) -> None:
            for at in wanted[position // size]:
                arrived(at, position % size, picture)

        pictures = decode_latents(self.pipeline, torch.cat(distinct), self.batch_size, tell)
        parts = dict(zip(map(id, distinct), np.split(pictures, len(distinct)), strict=True))
        return [parts[id(each)] for each in latents]


def patch_grid(patches: int, latent_size: tuple[int, int]) -> tuple[int, int]:
    """The rows and columns of an attention module's patches: the latent's size halved as often as it takes.

    Raises ValueError where no halving gives that number of patches.
    """
    rows, columns = latent_size
    while rows * columns > patches and (rows > 1 or columns > 1):
        rows, columns = -(-rows // 2), -(-columns // 2)
    if rows * columns != patches:
        raise InputError(f"{patches} patches are no halving of latents of size {latent_size[0]}×{latent_size[1]}")
    return rows, columns


def _from(start: int, on_picture: OnPicture | None) -> OnPicture:
    """``on_picture`` for the batch that begins at prompt ``start``."""
    return lambda name, index, picture: on_picture(name, start + index, picture) if on_picture else None


def _texts(prompts: Sequence[str]) -> Sequence[str]:
    if isinstance(prompts, str):
        raise InputError(f"prompts must be a list of texts, not the one text {prompts!r}")
    if not len(prompts):
        raise InputError("prompts must hold at least one text, and the list is empty")
    return prompts


def _seeds(seeds: Sequence[int]) -> list[int]:
    for index, seed in enumerate(seeds):
        whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
        if not whole or not 0 <= int(seed) < noise.SEED_LIMIT:
            raise InputError(f"seed {index} must be a whole number from 0 to 2**63 − 1, not {seed!r}")
    return [int(seed) for seed in seeds]


def picture_size(pipeline: StableDiffusionPipeline, height: int | None, width: int | None) -> tuple[int, int]:
    """Height and width in pixels, the checkpoint's own where None.

    Raises ValueError for a size that is no positive multiple of the pipeline's ``vae_scale_factor``.
    """
    factor = pipeline.vae_scale_factor
    sample = pipeline.unet.config.sample_size
    rows, columns = (sample, sample) if isinstance(sample, int) else sample
    return _side("height", height, rows * factor, factor), _side("width", width, columns * factor, factor)


def _side(name: str, value: int | None, default: int, factor: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or value % factor:
        raise InputError(f"{name} must be a positive multiple of {factor} pixels, not {value!r}")
    return value


def _batch_size(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"batch_size must be a whole number of at least 1, not {value!r}")
    return value


def _iteration_numbers(values: Sequence[int], steps: int) -> list[int]:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= steps:
            raise InputError(f"intermediates must be numbers of iterations in 0…{steps}, not {value!r}")
    return list(values)


def _floating(latents: torch.Tensor) -> NDArray[np.floating]:
    kept = latents if latents.dtype == torch.float64 else latents.float()
    array: NDArray[np.floating] = kept.cpu().numpy()
    return array


def _joined(parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(list(parts))


def _joined_by_key(parts: Sequence[Mapping[Any, NDArray[Any]]]) -> dict[Any, NDArray[Any]]:
    return {key: _joined(part[key] for part in parts) for key in parts[0]}


def _provenance(run: _Run, scheduler: str, steps: int) -> dict[str, Any]:
    """What the bits of a picture depend on beside its prompt, seed and arm; JSON-able."""
    pipeline = run.pipeline
    device = pipeline.device
    on_gpu = device.type == "cuda"
    config = {name: value for name, value in run.scheduler.config.items() if not name.startswith("_")}
    return {
        "scheduler": {"name": scheduler, "class": type(run.scheduler).__name__, "config": config, "steps": steps},
        "size": {"height": run.size[0], "width": run.size[1]},
        "rows": {"network": network_rows(run.batch_size), "vae": run.batch_size, "text": run.batch_size},
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "processor": {"machine": platform.machine(), "capability": torch.backends.cpu.get_cpu_capability()},
        "threads": torch.get_num_threads(),
        "dtype": str(pipeline.unet.dtype).removeprefix("torch."),
        "channels_last": pipeline.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last),
        "compiled": is_compiled(pipeline.unet),
        "versions": {
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            **({"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()} if on_gpu else {}),
        },
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }
