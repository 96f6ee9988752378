"""Cross-attention in which the semantic token of each patch is weighted by −a (paper eq. 9 and 10).

Every attention module of the UNet gets one processor that computes what diffusers' ``AttnProcessor2_0`` computes. Rows
of a batch that a ``Perturbation`` names are then corrected: out' = out − (1+a)·A[p,s]·V[s], so the other rows stay as
stock attention made them, bit for bit. The perturbation is data and travels as a cross-attention keyword argument,
which all processors accept (self-attention's ignores it), so arms differ in tensors and never in code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from evenhand.errors import InputError

SemanticMaps = dict[str, torch.Tensor]  # module name -> token index (n, heads or 1, patches)
TextProjections = dict[str, tuple[torch.Tensor, torch.Tensor]]  # module name -> keys, values (B, heads, tokens, d)


class AttentionError(InputError):
    """A UNet whose attention cannot be guided; the message names the module."""


class Perturbation(NamedTuple):
    """Which n rows of a batch are perturbed, and how."""

    rows: slice | torch.Tensor | None  # a run of the batch, or positions (n,) int64; None: every row, n = B
    coefficient: torch.Tensor  # (n, 1, 1, 1), 1 + a
    barred: torch.Tensor  # (n, 1, 1, tokens) bool, tokens that may not be the semantic one
    per_head: torch.Tensor | None  # (n, 1, 1, 1) bool; None where every row takes the mean over heads


@dataclass(frozen=True)
class RowChange:
    """The change to one row. scale: eq. 10's a; allowed: bool (tokens,); per_head: one token for each head."""

    scale: float
    allowed: torch.Tensor
    per_head: bool = False


def perturbation(
    changes: Sequence[RowChange | None], *, device: torch.device, dtype: torch.dtype
) -> Perturbation | None:
    """The perturbation of a batch with one entry a row (None: a plain row); None where all rows are plain.

    dtype: the network's; coefficients are kept in the dtype in which attention weights are computed.
    """
    rows = [row for row, change in enumerate(changes) if change is not None]
    chosen = [change for change in changes if change is not None]
    if not chosen:
        return None
    run = slice(rows[0], rows[-1] + 1)  # needs no copies
    positions = run if run.stop - run.start == len(rows) else torch.tensor(rows).to(device)
    sparse = _as_tensors(chosen, device, dtype)._replace(rows=positions)
    return sparse if any(change.per_head for change in chosen) else sparse._replace(per_head=None)


def dense_perturbation(
    changes: Sequence[RowChange | None], *, tokens: int, device: torch.device, dtype: torch.dtype
) -> Perturbation:
    """The same with a coefficient for every row: shapes follow from the batch alone, so that one compiled graph serves
    all arms. Plain rows have the coefficient 0, which is a = −1: they stay as stock attention makes them."""
    plain = RowChange(-1.0, after_first(tokens))
    return _as_tensors([change or plain for change in changes], device, dtype)


def _as_tensors(changes: Sequence[RowChange], device: torch.device, dtype: torch.dtype) -> Perturbation:
    scales = torch.tensor([1.0 + change.scale for change in changes], dtype=_working(dtype))
    return Perturbation(
        rows=None,
        coefficient=scales.view(-1, 1, 1, 1).to(device),
        barred=~torch.stack([change.allowed for change in changes])[:, None, None, :].to(device),
        per_head=torch.tensor([change.per_head for change in changes]).view(-1, 1, 1, 1).to(device),
    )


def after_first(tokens: int) -> torch.Tensor:
    """Bool (tokens,): every token but the begin-of-sentence one may be the semantic token (eq. 9, i > 0)."""
    return torch.arange(tokens) > 0


class GuidedAttention:
    """Stock scaled-dot-product attention, plus the correction on perturbed rows of cross-attention modules.

    name: the module's, under which semantic maps are recorded. Without a perturbation, and in self-attention, this is
    ``AttnProcessor2_0`` itself.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._stock = AttnProcessor2_0()

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        perturbation: Perturbation | None = None,
        semantic_maps: SemanticMaps | None = None,
        text_projections: TextProjections | None = None,
    ) -> torch.Tensor:
        """Attention output (B, patches, channels) for hidden states of that shape and text (B, tokens, width).

        text_projections: what ``project_text`` made of the same text; the text itself is then not read.
        """
        if encoder_hidden_states is None or (perturbation is None and text_projections is None):
            return self._stock(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        if attention_mask is not None:
            raise AttentionError(f"{self.name}: segmentation-free guidance takes no cross-attention mask")
        query = _heads(attn.to_q(hidden_states), attn.heads)
        key, value = text_projections[self.name] if text_projections else _projected(attn, encoder_hidden_states)
        attended = F.scaled_dot_product_attention(query, key, value)
        if perturbation is not None:
            attended, semantic = _corrected(attended, query, key, value, perturbation)
            if semantic_maps is not None:
                semantic_maps[self.name] = semantic
        merged = attended.transpose(1, 2).flatten(2).to(query.dtype)
        output: torch.Tensor = attn.to_out[1](attn.to_out[0](merged))
        return output if attn.rescale_output_factor == 1 else output / attn.rescale_output_factor


def guide_attention(unet: UNet2DConditionModel) -> None:
    """Give every attention module of the UNet the guided processor, once; without a perturbation nothing changes.

    Raises AttentionError where the UNet has no cross-attention, where a module has another processor than diffusers'
    default (fused projections, IP-Adapter, xFormers), or a cross-attention module is of a kind not handled.
    """
    unet = getattr(unet, "_orig_mod", unet)  # torch.compile's wrapper knows its modules by other names
    processors: dict[str, Any] = dict(unet.attn_processors)
    if all(isinstance(processor, GuidedAttention) for processor in processors.values()) and processors:
        return
    for name in cross_attention_modules(unet):
        _check_module(name, unet.get_submodule(name))
    for name, processor in processors.items():
        if type(processor) not in (AttnProcessor2_0, GuidedAttention):
            kind = type(processor).__name__
            raise AttentionError(
                f"{name} is {kind}; guidance needs AttnProcessor2_0 (unet.set_attn_processor(AttnProcessor2_0()))"
            )
    unet.set_attn_processor({name: GuidedAttention(name.removesuffix(".processor")) for name in processors})


def project_text(unet: UNet2DConditionModel, text: torch.Tensor) -> TextProjections:
    """The keys and values that every cross-attention module makes of text states (B, tokens, width).

    They are the same at every iteration, and with the same rows bit for bit what the module itself would make.
    """
    unet = getattr(unet, "_orig_mod", unet)
    states = unet.process_encoder_hidden_states(encoder_hidden_states=text, added_cond_kwargs=None)
    return {name: _projected(unet.get_submodule(name), states) for name in cross_attention_modules(unet)}


def cross_attention_modules(unet: UNet2DConditionModel) -> list[str]:
    """The names of the UNet's cross-attention modules, in order. Raises AttentionError where it has none."""
    names = [
        name for name, module in unet.named_modules() if isinstance(module, Attention) and module.is_cross_attention
    ]
    if not names:
        raise AttentionError(f"{type(unet).__name__} has no cross-attention to guide")
    return names


def _corrected(
    attended: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, change: Perturbation
) -> tuple[torch.Tensor, torch.Tensor]:
    """``attended`` (B, heads, patches, d) with out − (1+a)·A[p,s]·V[s] on the rows named; s (n, heads|1, patches)."""
    working = _working(query.dtype)
    weights = _attention_weights(_rows(query, change), _rows(key, change), working)
    semantic = _semantic_token(weights, change)  # (n, heads or 1, patches)
    index = semantic.expand(-1, weights.shape[1], -1).unsqueeze(-1)  # (n, heads, patches, 1)
    chosen = _rows(value, change).gather(2, index.expand(-1, -1, -1, value.shape[-1]))
    correction = change.coefficient * weights.gather(3, index) * chosen.to(working)
    changed = (_rows(attended, change).to(working) - correction).to(attended.dtype)
    if change.rows is None:
        return changed, semantic
    attended = attended.clone() if attended.requires_grad else attended  # stock attention keeps it for its gradient
    attended[change.rows] = changed
    return attended, semantic


def _rows(batch: torch.Tensor, change: Perturbation) -> torch.Tensor:
    return batch if change.rows is None else batch[change.rows]


def _attention_weights(query: torch.Tensor, key: torch.Tensor, working: torch.dtype) -> torch.Tensor:
    """softmax(QKᵀ/√d) in at least float32: (n, heads, patches, tokens)."""
    scaled = query.to(working) * query.shape[-1] ** -0.5
    return (scaled @ key.to(working).transpose(-1, -2)).softmax(dim=-1)


def _semantic_token(weights: torch.Tensor, change: Perturbation) -> torch.Tensor:
    """Eq. 9: argmax over the allowed tokens of the head-mean weights, or of each head's: (n, heads or 1, patches)."""
    scores = weights.mean(dim=1, keepdim=True)
    if change.per_head is not None:
        scores = torch.where(change.per_head, weights, scores)
    return scores.masked_fill(change.barred, -1.0).argmax(dim=-1)


def _working(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _projected(attn: Attention, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values (B, heads, tokens, d)."""
    return _heads(attn.to_k(text), attn.heads), _heads(attn.to_v(text), attn.heads)


def _heads(projected: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, length, heads·d) to (B, heads, length, d)."""
    return projected.unflatten(2, (heads, -1)).transpose(1, 2)


def _check_module(name: str, module: torch.nn.Module) -> None:
    assert isinstance(module, Attention)
    unusual = {
        "spatial normalisation": module.spatial_norm,
        "group normalisation": module.group_norm,
        "text normalisation": module.norm_cross,
        "query normalisation": module.norm_q,
        "key normalisation": module.norm_k,
        "a residual connection": module.residual_connection,
    }
    for what, present in unusual.items():
        if present is not None and present is not False:
            raise AttentionError(f"{name} has {what}, which segmentation-free guidance does not handle")
