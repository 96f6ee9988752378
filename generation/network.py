"""Run the planned rows through the UNet in calls of a fixed size.

Matrix kernels may treat the last rows of a call differently, so a picture's bits can depend on how many rows share its
call. Therefore every call has the same number of rows, padded by repeating its last row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from diffusers import UNet2DConditionModel

from evenhand.generation.attention import (
    Perturbation,
    RowChange,
    SemanticMaps,
    TextProjections,
    after_first,
    dense_perturbation,
    perturbation,
    project_text,
)
from evenhand.generation.kinds.base import Conditions, joined
from evenhand.generation.methods.rows import Conditioning
from evenhand.generation.plan import Step
from evenhand.generation.self_attention import SelfChanges, self_attention_modules, self_changes
from evenhand.generation.text import Texts

RowMaps = dict[str, list[torch.Tensor]]  # module name -> for each picture, its token index (heads or 1, patches)


def network_rows(batch_size: int) -> int:
    """Return the rows of every UNet call for batches of ``batch_size`` pictures: two a picture.

    Numbers above four are rounded up to a multiple of four. With two or six rows over, MKL's matrix product on more
    than one thread uses another kernel for them, and a picture's last bits would depend on its slot.
    """
    rows = 2 * batch_size
    return rows if rows <= 4 else 4 * -(-rows // 4)


def is_compiled(unet: UNet2DConditionModel) -> bool:
    """Whether calls of the UNet run a compiled graph: ``unet.compile()`` or ``torch.compile(unet)``."""
    return hasattr(unet, "_orig_mod") or getattr(unet, "_compiled_call_impl", None) is not None


@dataclass(frozen=True)
class BranchPrediction:
    """Network output on one branch: a prediction (b, C, h, w) and, where recorded, maps for each conditioning."""

    predictions: dict[Conditioning, torch.Tensor]
    maps: dict[Conditioning, RowMaps]


@dataclass(frozen=True)
class _Row:
    """One network row: a picture of the batch, on a branch, under a conditioning."""

    branch: int
    picture: int
    conditioning: Conditioning


@dataclass(frozen=True)
class _Call:
    """A prepared network call: its rows without padding, and its fixed inputs."""

    rows: tuple[_Row, ...]
    sources: torch.Tensor  # (rows,) int64, into the stacked latents of all branches
    conditions: Conditions  # of as many rows as the call has
    projections: TextProjections
    perturbation: Perturbation | None
    self_changes: SelfChanges | None


def check_layers(unet: UNet2DConditionModel, steps: Sequence[Step]) -> None:
    """Raise LayerError where the rows of ``steps`` change self-attention in layers that the network does not have."""
    rows = {row for step in steps for branch in step.branches for row in branch.rows}
    for row in rows:
        if row.self_attention is not None:
            self_attention_modules(unet, row.self_attention.layers)


@dataclass
class Network:
    """The UNet on one batch of pictures. rows: the fixed number of rows in a call."""

    unet: UNet2DConditionModel
    texts: Texts
    rows: int
    record_maps: bool = False
    _key: tuple[object, ...] = ()
    _calls: list[_Call] = field(default_factory=list)

    def predict(self, step: Step, inputs: Sequence[torch.Tensor], timestep: torch.Tensor) -> list[BranchPrediction]:
        """Compute the rows that ``step`` plans, on the scaled latents (b, C, h, w) of each branch."""
        latents = torch.cat(list(inputs))
        results = [BranchPrediction({}, {}) for _ in step.branches]
        parts: dict[tuple[int, Conditioning], list[torch.Tensor]] = {}
        for call in self._prepared(step, latents.shape[2:]):
            maps: SemanticMaps | None = {} if self.record_maps and call.perturbation is not None else None
            outputs = self._run(call, latents, timestep, maps)
            for row, prediction in zip(call.rows, outputs, strict=False):  # outputs beyond the rows are padding
                parts.setdefault((row.branch, row.conditioning), []).append(prediction)
            _collect_maps(results, call, maps or {})
        for (branch, conditioning), predictions in parts.items():
            results[branch].predictions[conditioning] = torch.stack(predictions)
        return results

    def _run(
        self, call: _Call, latents: torch.Tensor, timestep: torch.Tensor, maps: SemanticMaps | None
    ) -> torch.Tensor:
        """One UNet call, (rows, C, h, w)."""
        keywords: dict[str, object] = {"text_projections": call.projections}
        if call.perturbation is not None:
            keywords["perturbation"] = call.perturbation
        if call.self_changes is not None:
            keywords["self_changes"] = call.self_changes
        if maps is not None:
            keywords["semantic_maps"] = maps
        # Recording maps is a side effect, which would need another compiled graph: such calls run uncompiled.
        network = getattr(self.unet, "_orig_mod", self.unet).forward if self.record_maps else self.unet
        output: torch.Tensor = network(
            latents.index_select(0, call.sources),
            timestep,
            encoder_hidden_states=call.conditions.states,
            cross_attention_kwargs=keywords,
            added_cond_kwargs=dict(call.conditions.added) or None,
            return_dict=False,
        )[0]
        return output

    def _prepared(self, step: Step, latent_size: Sequence[int]) -> list[_Call]:
        """Return the step's calls; rebuild them only where the set of rows changes, since iterations repeat it."""
        conditionings_of = tuple(branch.rows for branch in step.branches)
        key = (conditionings_of, *latent_size)
        if key != self._key:
            self._calls.clear()  # their projections are large
            pictures = range(len(self.texts.prompts))
            rows = [
                _Row(branch, picture, conditioning)
                for branch, conditionings in enumerate(conditionings_of)
                for conditioning in conditionings
                for picture in pictures
            ]
            self._calls.extend(
                self._call(rows[at : at + self.rows], latent_size) for at in range(0, len(rows), self.rows)
            )
            self._key = key
        return self._calls

    def _call(self, rows: Sequence[_Row], latent_size: Sequence[int]) -> _Call:
        prompts, device = self.texts.prompts, self.texts.prompts.states.device
        padded_rows = [*rows, *[rows[-1]] * (self.rows - len(rows))]
        sources = torch.tensor([row.branch * len(prompts) + row.picture for row in padded_rows])
        changes = [self._change(row) for row in rows] + [None] * (len(padded_rows) - len(rows))
        conditions = joined([self._conditions(row) for row in padded_rows])
        return _Call(
            tuple(rows),
            sources.to(device),
            conditions,
            project_text(self.unet, conditions.states),
            self._perturbation(changes),
            self_changes(
                getattr(self.unet, "_orig_mod", self.unet),
                [row.conditioning.self_attention for row in padded_rows],
                (latent_size[0], latent_size[1]),
                device=device,
                dtype=self.unet.dtype,
            ),
        )

    def _perturbation(self, changes: Sequence[RowChange | None]) -> Perturbation | None:
        """Return None for a plain call, the dense form for a compiled network, else the form that names rows."""
        texts = self.texts.prompts.states
        if any(changes) and is_compiled(self.unet) and not self.record_maps:
            return dense_perturbation(changes, tokens=texts.shape[1], device=texts.device, dtype=self.unet.dtype)
        return perturbation(changes, device=texts.device, dtype=self.unet.dtype)

    def _conditions(self, row: _Row) -> Conditions:
        negative = row.conditioning.negative_prompt
        return self.texts.prompts.row(row.picture) if negative is None else self.texts.negatives[negative]

    def _change(self, row: _Row) -> RowChange | None:
        conditioning = row.conditioning
        if conditioning.scale is None:
            return None
        if conditioning.tokens == "prompt":
            assert self.texts.own_tokens is not None
            allowed_tokens = self.texts.own_tokens[row.picture]
        else:
            allowed_tokens = after_first(self.texts.prompts.states.shape[1])
        return RowChange(conditioning.scale, allowed_tokens, per_head=conditioning.heads == "per_head")


def _collect_maps(results: Sequence[BranchPrediction], call: _Call, maps: Mapping[str, torch.Tensor]) -> None:
    """Add each perturbed row's semantic maps to its branch; a head-mean row has one map for all heads."""
    perturbed_rows = [row for row in call.rows if row.conditioning.scale is not None]
    for name, token_index in maps.items():
        for row, row_index in zip(perturbed_rows, token_index.cpu(), strict=True):
            row_map = row_index if row.conditioning.heads == "per_head" else row_index[:1]
            results[row.branch].maps.setdefault(row.conditioning, {}).setdefault(name, []).append(row_map)
