"""Add segmentation-free guidance to diffusers' own Stable Diffusion pipeline.

The parent's denoising loop runs unchanged. At the switch (Algorithm 1) three values that it reads in every iteration
are replaced: the text of the rows that are subtracted becomes the prompt, the cross-attention of those rows is
perturbed, and the guidance scale becomes 1 + w̄. Everything else that the parent offers still works: callbacks,
generators, latents or embeddings as arguments, output types, other schedulers.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import retrieve_timesteps

from evenhand.errors import InputError
from evenhand.generation.arguments import picture_size
from evenhand.generation.attention import Perturbation, RowChange, after_first, guide_attention, perturbation
from evenhand.generation.guidance import ClassifierFree, Heads, SegmentationFree, Tokens
from evenhand.generation.text import check_prompts, own_tokens, warn_of_cut_words
from evenhand.generation.vocabulary import warn_of_unknown_words


class SegmentationFreeStableDiffusionPipeline(StableDiffusionPipeline):
    """``StableDiffusionPipeline`` whose call also takes the settings of segmentation-free guidance.

    ``from_pretrained`` loads whatever the parent loads. Without ``segmentation_free_scale`` it is the parent.
    """

    _switch: _Switch | None = None

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether each picture has two rows: always under segmentation-free guidance, else as the parent decides."""
        return self._switch is not None or bool(super().do_classifier_free_guidance)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 50,
        *,
        segmentation_free_scale: float | None = None,
        segmentation_free_strength: float = 2.5,
        switch_after: int | None = None,
        heads: Heads = "mean",
        tokens: Tokens = "all",
        **parent_arguments: Any,
    ) -> Any:
        """Call the parent; its further arguments are passed by name.

        segmentation_free_scale: the paper's a (10); None leaves the guidance to the parent, exactly.
        segmentation_free_strength: the paper's w̄. Note that ``guidance_scale``, which the iterations before the switch
            use, is in diffusers' convention, 1 + w: the paper's w = 7.5 is ``guidance_scale=8.5``.
        switch_after: t_s, iterations before the switch; half of them by default.
        heads, tokens: as in ``generation.guidance.SegmentationFree``.
        Warns (PromptTruncated) of a prompt that is cut. Raises GuidanceError or ValueError, naming the value.
        """
        if segmentation_free_scale is not None:  # the parent ignores height or width where the other is missing
            height, width = picture_size(self, height, width)
        arguments = parent_arguments | {"height": height, "width": width, "num_inference_steps": num_inference_steps}
        if prompt is not None:
            prompts = [prompt] if isinstance(prompt, str) else prompt
            warn_of_cut_words(self, prompts)
            warn_of_unknown_words(self, prompts)
        if segmentation_free_scale is None:
            return super().__call__(prompt, **arguments)
        guidance = SegmentationFree(
            segmentation_free_scale,
            segmentation_free_strength,
            switch_after,
            ClassifierFree(arguments.get("guidance_scale", 7.5) - 1.0),
            heads=heads,
            tokens=tokens,
        )
        guide_attention(self.unet)
        self._switch = self._prepared(guidance, prompt, arguments)
        try:
            if self._switch.at == 0:
                prompt, arguments = None, self._switched_from_the_start(prompt, arguments)
            return super().__call__(prompt, **arguments | self._switch.callbacks())
        finally:
            self._switch = None

    def _prepared(
        self, guidance: SegmentationFree, prompt: str | list[str] | None, arguments: dict[str, Any]
    ) -> _Switch:
        """Prepare the switch of one call: its iteration, and the perturbation of the call's rows."""
        steps = self._iterations(arguments)
        allowed_tokens = self._allowed_tokens(guidance, prompt, arguments.get("prompt_embeds"))
        repeats = arguments.get("num_images_per_prompt") or 1
        row_changes = [
            RowChange(guidance.scale, each, per_head=guidance.heads == "per_head")
            for each in allowed_tokens
            for _ in range(repeats)
        ]
        batch_perturbation = perturbation(
            [*row_changes, *[None] * len(row_changes)], device=self._execution_device, dtype=self.unet.dtype
        )
        assert batch_perturbation is not None
        return _Switch(
            at=guidance.switch_iteration(steps),
            steps=steps,
            scale=guidance.diffusers_scale,
            perturbation=batch_perturbation,
            callback=arguments.get("callback_on_step_end"),
            inputs=tuple(arguments.get("callback_on_step_end_tensor_inputs", ("latents",))),
        )

    def _iterations(self, arguments: dict[str, Any]) -> int:
        """Count a call's iterations. Of ``sigmas`` only the scheduler knows: Euler's list ends in one that is no step.

        Raises ValueError for a scheduler that takes no sigmas.
        """
        timesteps, sigmas = arguments.get("timesteps"), arguments.get("sigmas")
        if timesteps is not None:
            return len(timesteps)
        if sigmas is None:
            steps: int = arguments["num_inference_steps"]
            return steps
        entries, _ = retrieve_timesteps(copy.deepcopy(self.scheduler), sigmas=sigmas)
        return math.ceil(len(entries) / self.scheduler.order)

    def _allowed_tokens(
        self, guidance: SegmentationFree, prompt: str | list[str] | None, embeds: torch.Tensor | None
    ) -> Sequence[torch.Tensor]:
        """Return for each prompt, bool (tokens,), which tokens may be the semantic one."""
        if prompt is not None:
            prompts = [prompt] if isinstance(prompt, str) else prompt
            check_prompts(self, prompts, warn=False)
            masks = [own_tokens(self, each) for each in prompts]
            return masks if guidance.tokens == "prompt" else [after_first(len(mask)) for mask in masks]
        if embeds is None:
            raise InputError("a prompt or prompt_embeds must be given, and both are None")
        if guidance.tokens == "prompt":
            raise InputError("tokens='prompt' needs the prompt as text, and only prompt_embeds were given")
        return [after_first(embeds.shape[1])] * len(embeds)

    def _switched_from_the_start(self, prompt: str | list[str] | None, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the parent's arguments for t_s = 0: the prompt on both rows, as embeddings."""
        assert self._switch is not None
        attention = arguments.get("cross_attention_kwargs") or {}
        embeds = arguments.get("prompt_embeds")
        if embeds is None:
            embeds, _ = self.encode_prompt(
                prompt,
                self._execution_device,
                1,
                False,
                lora_scale=attention.get("scale"),
                clip_skip=arguments.get("clip_skip"),
            )
        return arguments | {
            "prompt_embeds": embeds,
            "negative_prompt": None,
            "negative_prompt_embeds": embeds,
            "guidance_scale": self._switch.scale,
            "cross_attention_kwargs": attention | {"perturbation": self._switch.perturbation},
        }


@dataclass(frozen=True)
class _Switch:
    """The switch of one call. at: t_s; scale: 1 + w̄ after it; callback, inputs: the caller's own."""

    at: int
    steps: int
    scale: float
    perturbation: Perturbation
    callback: Any  # a function, diffusers' PipelineCallback or several of them, or None
    inputs: tuple[str, ...]

    def callbacks(self) -> dict[str, Any]:
        """Return the parent's callback arguments, which switch after the caller's callback; none without a switch."""
        if self.at in (0, self.steps):
            return {}
        inputs = self._inputs
        return {
            "callback_on_step_end": self._after_step,
            "callback_on_step_end_tensor_inputs": [*inputs, *{"prompt_embeds"}.difference(inputs)],
        }

    @property
    def _inputs(self) -> tuple[str, ...]:
        if isinstance(self.callback, PipelineCallback | MultiPipelineCallbacks):
            return tuple(self.callback.tensor_inputs)
        return self.inputs

    def _after_step(
        self,
        pipeline: SegmentationFreeStableDiffusionPipeline,
        entry: int,
        timestep: torch.Tensor,
        values: dict[str, torch.Tensor],
    ) -> dict[str, Any]:
        callback_inputs = {name: values[name] for name in self._inputs}
        outputs = self.callback(pipeline, entry, timestep, callback_inputs) if self.callback is not None else {}
        embeds = outputs.get("prompt_embeds", values["prompt_embeds"])
        if embeds.shape != values["prompt_embeds"].shape:
            raise InputError(
                f"callback_on_step_end changed prompt_embeds from {tuple(values['prompt_embeds'].shape)} to"
                f" {tuple(embeds.shape)}; segmentation-free guidance needs both halves of them"
            )
        if self._iteration(pipeline, entry) < self.at <= self._iteration(pipeline, entry + 1):
            positive = embeds.chunk(2)[1]
            outputs["prompt_embeds"] = torch.cat([positive, positive])
            pipeline._guidance_scale = self.scale
            attention = pipeline.cross_attention_kwargs or {}
            pipeline._cross_attention_kwargs = attention | {"perturbation": self.perturbation}
        return outputs

    def _iteration(self, pipeline: SegmentationFreeStableDiffusionPipeline, entry: int) -> int:
        """Return the iteration of a network call.

        PNDM's first iteration has two calls, and each iteration of a second-order scheduler has two.
        """
        order = pipeline.scheduler.order
        if order > 1:
            return entry // order
        return max(0, entry - (pipeline.num_timesteps - self.steps))
