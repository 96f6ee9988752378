"""Multiply the attention weight of each patch's semantic token by −a (paper eq. 9 and 10).

Every attention module of the UNet gets one processor that computes what diffusers' ``AttnProcessor2_0`` computes. Rows
of a batch that a ``Perturbation`` names are then corrected: out' = out − (1+a)·A[p,s]·V[s]. The other rows keep the
result of stock attention, bit for bit. The perturbation is passed as a cross-attention keyword argument, which all
processors accept (self-attention's ignores it), so that all arms run the same code with different tensors.
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
from evenhand.generation.self_attention import SelfChange, SelfChanges, blurred_queries

SemanticMaps = dict[str, torch.Tensor]  # module name -> token index (n, heads or 1, patches)
TextProjections = dict[str, tuple[torch.Tensor, torch.Tensor]]  # module name -> keys, values (B, heads, tokens, d)


class AttentionError(InputError):
    """A UNet whose attention cannot be guided; the message names the module."""


class Perturbation(NamedTuple):
    """Which n rows of a batch are perturbed, and how."""

    rows: slice | torch.Tensor | None  # a run of the batch, or positions (n,) int64; None: every row, n = B
    coefficient: torch.Tensor  # (n, 1, 1, 1), 1 + a
    barred_tokens: torch.Tensor  # (n, 1, 1, tokens) bool, tokens that may not be the semantic one
    per_head: torch.Tensor | None  # (n, 1, 1, 1) bool; None where every row takes the mean over heads


@dataclass(frozen=True)
class RowChange:
    """The change to one row. scale: eq. 10's a; allowed_tokens: bool (tokens,); per_head: one token for each head."""

    scale: float
    allowed_tokens: torch.Tensor
    per_head: bool = False


def perturbation(
    changes: Sequence[RowChange | None], *, device: torch.device, dtype: torch.dtype
) -> Perturbation | None:
    """Return the perturbation of a batch, one entry a row (None: a plain row); None where all rows are plain.

    dtype: the network's; coefficients are kept in the dtype in which attention weights are computed.
    """
    rows = [row for row, change in enumerate(changes) if change is not None]
    row_changes = [change for change in changes if change is not None]
    if not row_changes:
        return None
    span = slice(rows[0], rows[-1] + 1)  # a slice needs no copies
    positions = span if span.stop - span.start == len(rows) else torch.tensor(rows).to(device)
    tensors = _as_tensors(row_changes, device, dtype)._replace(rows=positions)
    return tensors if any(change.per_head for change in row_changes) else tensors._replace(per_head=None)


def dense_perturbation(
    changes: Sequence[RowChange | None], *, tokens: int, device: torch.device, dtype: torch.dtype
) -> Perturbation:
    """Return the perturbation with a coefficient for every row, so that one compiled graph serves all arms.

    Shapes depend on the batch alone. Plain rows have the coefficient 0 (a = −1) and keep stock attention's result.
    """
    plain = RowChange(-1.0, after_first(tokens))
    return _as_tensors([change or plain for change in changes], device, dtype)


def _as_tensors(changes: Sequence[RowChange], device: torch.device, dtype: torch.dtype) -> Perturbation:
    scales = torch.tensor([1.0 + change.scale for change in changes], dtype=_working_dtype(dtype))
    return Perturbation(
        rows=None,
        coefficient=scales.view(-1, 1, 1, 1).to(device),
        barred_tokens=~torch.stack([change.allowed_tokens for change in changes])[:, None, None, :].to(device),
        per_head=torch.tensor([change.per_head for change in changes]).view(-1, 1, 1, 1).to(device),
    )


def after_first(tokens: int) -> torch.Tensor:
    """Bool (tokens,): every token but the begin-of-sentence one may be the semantic token (eq. 9, i > 0)."""
    return torch.arange(tokens) > 0


class GuidedAttention:
    """Stock scaled-dot-product attention, plus the correction on perturbed rows of cross-attention modules.

    name: the module's name, under which semantic maps are recorded and changes of self-attention are found. Without
    either, this is ``AttnProcessor2_0`` itself.
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
        self_changes: SelfChanges | None = None,
    ) -> torch.Tensor:
        """Attention output (B, patches, channels) for hidden states of that shape and text (B, tokens, width).

        text_projections: the result of ``project_text`` for the same text, which is then not read.
        """
        if encoder_hidden_states is None and self_changes and self.name in self_changes:
            return self._self_attention(attn, hidden_states, attention_mask, self_changes[self.name])
        if encoder_hidden_states is None or (perturbation is None and text_projections is None):
            return self._stock(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        if attention_mask is not None:
            raise AttentionError(f"{self.name}: segmentation-free guidance takes no cross-attention mask")
        query = _heads(attn.to_q(hidden_states), attn.heads)
        key, value = text_projections[self.name] if text_projections else _projected(attn, encoder_hidden_states)
        head_outputs = F.scaled_dot_product_attention(query, key, value)
        if perturbation is not None:
            head_outputs, token_index = corrected(head_outputs, query, key, value, perturbation)
            if semantic_maps is not None:
                semantic_maps[self.name] = token_index
        return _merged(attn, head_outputs, query.dtype)

    def _self_attention(
        self, attn: Attention, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, change: SelfChange
    ) -> torch.Tensor:
        if attention_mask is not None:
            raise AttentionError(f"{self.name}: changed self-attention takes no mask")
        _check_module(self.name, attn)
        query, key, value = (_heads(each(hidden_states), attn.heads) for each in (attn.to_q, attn.to_k, attn.to_v))
        head_outputs = F.scaled_dot_product_attention(blurred_queries(query, change), key, value)
        if change.identity is not None:
            head_outputs = torch.where(change.identity, value, head_outputs)
        return _merged(attn, head_outputs, query.dtype)


def guide_attention(unet: UNet2DConditionModel) -> None:
    """Set the guided processor on every attention module of the UNet; a second call does nothing.

    The network's output changes only in calls with a perturbation.

    Raises AttentionError where the UNet has no cross-attention, where a module has another processor than diffusers'
    default (fused projections, IP-Adapter, xFormers), or a cross-attention module is of a kind not handled.
    """
    unet = getattr(unet, "_orig_mod", unet)  # torch.compile's wrapper prefixes its modules' names
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
    """Compute the keys and values of text states (B, tokens, width) for every cross-attention module.

    They are the same at every iteration, and for the same rows equal the module's own, bit for bit.
    """
    unet = getattr(unet, "_orig_mod", unet)
    states = unet.process_encoder_hidden_states(encoder_hidden_states=text, added_cond_kwargs=None)
    return {name: _projected(unet.get_submodule(name), states) for name in cross_attention_modules(unet)}


def cross_attention_modules(unet: UNet2DConditionModel) -> list[str]:
    """List the names of the UNet's cross-attention modules, in order. Raises AttentionError where it has none."""
    names = [
        name for name, module in unet.named_modules() if isinstance(module, Attention) and module.is_cross_attention
    ]
    if not names:
        raise AttentionError(f"{type(unet).__name__} has no cross-attention to guide")
    return names


def corrected(
    head_outputs: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, change: Perturbation
) -> tuple[torch.Tensor, torch.Tensor]:
    """out (B, heads, patches, d) with out − (1+a)·A[p,s]·V[s] on the perturbed rows; s (n, heads or 1, patches)."""
    working_dtype = _working_dtype(query.dtype)
    weights = _attention_weights(_rows(query, change), _rows(key, change), working_dtype)
    token_index = _semantic_token(weights, change)  # (n, heads or 1, patches)
    index = token_index.expand(-1, weights.shape[1], -1).unsqueeze(-1)  # (n, heads, patches, 1)
    token_values = _rows(value, change).gather(2, index.expand(-1, -1, -1, value.shape[-1]))
    correction = change.coefficient * weights.gather(3, index) * token_values.to(working_dtype)
    new_rows = (_rows(head_outputs, change).to(working_dtype) - correction).to(head_outputs.dtype)
    if change.rows is None:
        return new_rows, token_index
    if head_outputs.requires_grad:  # autograd still needs stock attention's result
        head_outputs = head_outputs.clone()
    head_outputs[change.rows] = new_rows
    return head_outputs, token_index


def _rows(batch: torch.Tensor, change: Perturbation) -> torch.Tensor:
    return batch if change.rows is None else batch[change.rows]


def _attention_weights(query: torch.Tensor, key: torch.Tensor, working_dtype: torch.dtype) -> torch.Tensor:
    """softmax(QKᵀ/√d) in at least float32: (n, heads, patches, tokens)."""
    scaled = query.to(working_dtype) * query.shape[-1] ** -0.5
    return (scaled @ key.to(working_dtype).transpose(-1, -2)).softmax(dim=-1)


def _semantic_token(weights: torch.Tensor, change: Perturbation) -> torch.Tensor:
    """Eq. 9: argmax over the allowed tokens of the head-mean weights, or of each head's: (n, heads or 1, patches)."""
    scores = weights.mean(dim=1, keepdim=True)
    if change.per_head is not None:
        scores = torch.where(change.per_head, weights, scores)
    return scores.masked_fill(change.barred_tokens, -1.0).argmax(dim=-1)


def _working_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _projected(attn: Attention, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values (B, heads, tokens, d)."""
    return _heads(attn.to_k(text), attn.heads), _heads(attn.to_v(text), attn.heads)


def _heads(projected: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, length, heads·d) to (B, heads, length, d)."""
    return projected.unflatten(2, (heads, -1)).transpose(1, 2)


def _merged(attn: Attention, head_outputs: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(B, heads, patches, d) to the module's output (B, patches, channels)."""
    output: torch.Tensor = attn.to_out[1](attn.to_out[0](head_outputs.transpose(1, 2).flatten(2).to(dtype)))
    return output if attn.rescale_output_factor == 1 else output / attn.rescale_output_factor


def _check_module(name: str, module: torch.nn.Module) -> None:
    assert isinstance(module, Attention)
    unsupported_parts = {
        "spatial normalisation": module.spatial_norm,
        "group normalisation": module.group_norm,
        "text normalisation": module.norm_cross,
        "query normalisation": module.norm_q,
        "key normalisation": module.norm_k,
        "a residual connection": module.residual_connection,
    }
    for part, value in unsupported_parts.items():
        if value is not None and value is not False:
            raise AttentionError(f"{name} has {part}, which guidance does not handle")
