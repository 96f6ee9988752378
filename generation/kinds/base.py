"""Define what differs between kinds of pipelines: parts, encoded texts, added conditions, decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

JSONObject = dict[str, Any]


@dataclass(frozen=True)
class Conditions:
    """What a network call gets beside its latents, one entry a row.

    states: of the texts, (n, tokens, width). added: further tensors (n, …) under the network's names for them.
    """

    states: torch.Tensor
    added: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.states)

    def rows(self, part: slice) -> Conditions:
        """Return some of the rows."""
        return Conditions(self.states[part], {name: tensor[part] for name, tensor in self.added.items()})

    def row(self, index: int) -> Conditions:
        """Return one row, as conditions of one row."""
        return self.rows(slice(index, index + 1))


def joined(parts: Sequence[Conditions]) -> Conditions:
    """Return the rows of all parts, in order."""
    return Conditions(
        torch.cat([part.states for part in parts]),
        {name: torch.cat([part.added[name] for part in parts]) for name in parts[0].added},
    )


@dataclass(frozen=True)
class Kind:
    """A pipeline as the kind that it is; a subclass for each kind.

    family: the family of its network, as ``Guidance.families`` names it. pipeline_class: diffusers' class.
    class_names: what a checkpoint's index may call it. parts: folders that a checkpoint must have.
    encoders: those of them that encode texts; tokenizers: those that divide them. omitted: parts that are not loaded.
    options: further arguments of ``from_pretrained``. added_embedding: the network's ``addition_embed_type``.
    """

    family: ClassVar[str] = "unet"
    pipeline_class: ClassVar[Any]
    class_names: ClassVar[tuple[str, ...]]
    parts: ClassVar[tuple[str, ...]]
    encoders: ClassVar[tuple[str, ...]]
    tokenizers: ClassVar[tuple[str, ...]]
    omitted: ClassVar[Mapping[str, None]]
    options: ClassVar[Mapping[str, object]]
    added_embedding: ClassVar[str | None] = None

    pipeline: Any

    def encode(self, texts: Sequence[str], size: tuple[int, int], /) -> Conditions:
        """Encode texts in one call, for pictures of ``size``, height and width in pixels. "" is the empty prompt ∅."""
        raise NotImplementedError

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode latents (n, C, h, w) in one call: (n, 3, H, W), values from −1 to 1."""
        raise NotImplementedError

    @property
    def decoder_dtype(self) -> torch.dtype:
        """The dtype in which the VAE decodes."""
        dtype: torch.dtype = self.pipeline.vae.dtype
        return dtype

    def provenance(self, size: tuple[int, int], /) -> JSONObject:
        """Return what a picture's bits depend on in this kind alone."""
        raise NotImplementedError

    def misfit(self) -> str | None:
        """Say what does not fit together among the checkpoint's parts; None where all does."""
        width, widths = self._text_width(), self.pipeline.unet.config.cross_attention_dim
        read_widths = set(widths if isinstance(widths, list | tuple) else [widths])
        if self.pipeline.unet.config.encoder_hid_dim is None and {width} != read_widths:
            return f"its network reads texts of width {widths}, its text encoder gives {width}"
        return None

    def _text_width(self) -> int:
        return sum(int(getattr(self.pipeline, part).config.hidden_size) for part in self.encoders)
