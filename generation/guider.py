"""Add segmentation-free guidance to diffusers' modular pipelines, as one of their guiders.

diffusers calls guiders experimental: their interface may change with its version, and this module is tested with the
installed one. For pictures of a study use ``generation.trajectory``, which shares rows and records what it did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.guiders.guider_utils import BaseGuidance, GuiderOutput
from diffusers.models.attention_processor import Attention

from evenhand.errors import InputError
from evenhand.generation.attention import (
    GuidedAttention,
    Perturbation,
    RowChange,
    after_first,
    cross_attention_modules,
    dense_perturbation,
    guide_attention,
)
from evenhand.generation.guidance import ClassifierFree, Heads, SegmentationFree, combine

if TYPE_CHECKING:
    from diffusers.modular_pipelines.modular_pipeline import BlockState

Inputs = dict[str, tuple[torch.Tensor, torch.Tensor]]


class SegmentationFreeGuidance(BaseGuidance):
    """Classifier-free guidance until the switch, then segmentation-free guidance (eq. 8–11, Algorithm 1).

    guidance_scale: of the iterations before the switch, in diffusers' convention 1 + w.
    segmentation_free_scale: the paper's a. segmentation_free_strength: the paper's w̄.
    switch_after: t_s, as the pipeline counts steps; None: half of them.
    heads: the semantic token is the heads' mean argmax, or each head's own. Padding may be chosen, too: a guider does
        not know which tokens are the prompt's own.
    start, stop, enabled: as of every guider; outside of the window the prompt's prediction is taken alone.

    Works on diffusers' UNets with cross-attention (Stable Diffusion XL's modular pipeline). After the switch the
    attention processors are others during every second call, and put back behind it; where such a call fails, the next
    call puts them back, or ``cleanup_models``. Raises GuidanceError, naming the setting, for what cannot be used.
    """

    _input_predictions = ["pred_cond", "pred_uncond", "pred_cond_sfg"]

    @register_to_config
    def __init__(
        self,
        guidance_scale: float = 8.5,
        segmentation_free_scale: float = 10.0,
        segmentation_free_strength: float = 2.5,
        switch_after: int | None = None,
        heads: Heads = "mean",
        start: float = 0.0,
        stop: float = 1.0,
        enabled: bool = True,
    ) -> None:
        super().__init__(start, stop, enabled)
        self._guidance = SegmentationFree(
            segmentation_free_scale,
            segmentation_free_strength,
            switch_after,
            ClassifierFree(guidance_scale - 1.0),
            heads=heads,
        )
        self._stock_processors: dict[str, Any] | None = None

    @property
    def num_conditions(self) -> int:
        """How many predictions the step takes; before the first one the pipeline asks whether to encode both texts."""
        return 2 if self._is_guided else 1

    @property
    def is_conditional(self) -> bool:
        """Whether the call in turn is on the prompt."""
        return self._count_prepared == 1 or self._is_switched

    @property
    def _is_guided(self) -> bool:
        if not self._enabled or self._num_inference_steps is None:
            return bool(self._enabled)
        first, stop = (int(share * self._num_inference_steps) for share in (self._start, self._stop))
        return first <= self._step < stop

    @property
    def _is_switched(self) -> bool:
        steps = self._num_inference_steps
        return steps is not None and self._step >= self._guidance.switch_iteration(steps)

    def prepare_inputs(self, data: Inputs) -> list[BlockState]:
        """Return the inputs of each prediction: on both texts, or twice on the prompt behind the switch."""
        return [self._prepare_batch(data, place, name) for place, name in self._predictions]

    def prepare_inputs_from_block_state(
        self, data: BlockState, input_fields: dict[str, str | tuple[str, str]]
    ) -> list[BlockState]:
        """Return the same from a state's fields by name."""
        return [
            self._prepare_batch_from_block_state(input_fields, data, place, name) for place, name in self._predictions
        ]

    @property
    def _predictions(self) -> list[tuple[int, str]]:
        """The place of each prediction's inputs in their pairs, and its name."""
        second = (0, "pred_cond_sfg") if self._is_switched else (1, "pred_uncond")
        return [(0, "pred_cond"), second][: self.num_conditions]

    def prepare_models(self, denoiser: torch.nn.Module) -> None:
        """Perturb the cross-attention of the second call behind the switch."""
        self.cleanup_models(denoiser)  # of a call that failed
        self._count_prepared += 1
        if not (self._is_guided and self._is_switched and self._count_prepared == 2):
            return
        unet: Any = getattr(denoiser, "_orig_mod", denoiser)
        if not hasattr(unet, "attn_processors"):
            raise InputError(f"segmentation-free guidance needs a UNet with cross-attention, not {type(unet).__name__}")
        stock = dict(unet.attn_processors)
        guide_attention(unet)  # checks every module
        names = {f"{name}.processor" for name in cross_attention_modules(unet)}
        change = RowChange(self._guidance.scale, torch.empty(0), per_head=self._guidance.heads == "per_head")
        unet.set_attn_processor(
            {
                name: PerturbedAttention(each, change) if name in names else each
                for name, each in unet.attn_processors.items()
            }
        )
        self._stock_processors = stock

    def cleanup_models(self, denoiser: torch.nn.Module) -> None:
        """Put the network's own attention processors back."""
        if self._stock_processors is not None:
            unet: Any = getattr(denoiser, "_orig_mod", denoiser)
            unet.set_attn_processor(self._stock_processors)
            self._stock_processors = None

    def forward(
        self,
        pred_cond: torch.Tensor,
        pred_uncond: torch.Tensor | None = None,
        pred_cond_sfg: torch.Tensor | None = None,
    ) -> GuiderOutput:
        """Combine the predictions of ``prepare_inputs`` by eq. 4 or eq. 8."""
        if pred_cond_sfg is not None:
            pred = combine(pred_cond_sfg, pred_cond, self._guidance.strength)
        elif pred_uncond is not None:
            pred = combine(pred_uncond, pred_cond, self._guidance.opening.strength)
        else:
            pred = pred_cond
        return GuiderOutput(pred=pred, pred_cond=pred_cond, pred_uncond=pred_uncond)


class PerturbedAttention:
    """Guided cross-attention in which every row of a call is perturbed, by one change."""

    def __init__(self, guided: GuidedAttention, change: RowChange) -> None:
        self._guided, self._change = guided, change
        self._perturbation: Perturbation | None = None

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attention output (B, patches, channels)."""
        assert encoder_hidden_states is not None  # it stands at cross-attention alone
        if self._perturbation is None:
            tokens = encoder_hidden_states.shape[1]
            change = RowChange(self._change.scale, after_first(tokens), self._change.per_head)
            self._perturbation = dense_perturbation(  # one row, for all
                [change], tokens=tokens, device=hidden_states.device, dtype=hidden_states.dtype
            )
        return self._guided(attn, hidden_states, encoder_hidden_states, attention_mask, temb, self._perturbation)
