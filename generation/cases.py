"""Define the configurations of the paper's Fig. 1 to 9 (method §2.1) as data, in plain Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree


@dataclass(frozen=True)
class Case:
    """One figure: every prompt and seed under every arm.

    shows: what the paper shows with it. after: iteration numbers after which the noisy latent is decoded too (Fig. 8).
    """

    figure: int
    shows: str
    prompt: str
    arms: Mapping[str, Guidance]
    seeds: tuple[int, ...] = (1,)
    after: tuple[int, ...] = field(default=())


PAPER_PROMPTS: Mapping[int, str] = {
    1: "A dog on a couch in an office",
    2: "a cute Maltese white dog next to a cat",
    3: "portrait of a dog and a kid",
    4: "a girl hugging a Corgi on a pedestal",
    5: (
        "architectural drawing of a new town square for Cambridge England, big traditional museum with columns,"
        " fountain in middle, classical design, traditional design, trees"
    ),
    6: "A man in yellow shirt next to a woman in blue dress",
    7: "A man in yellow shirt next to a woman in blue dress",
    8: "A man in yellow shirt next to a woman in blue dress",
    9: "hybrid of a bat and a cat",
}
PAPER_NEGATIVES = ("", "A couch in an office", "A dog in an office", "A dog on a couch")


def paper_cases(
    prompts: Mapping[int, str] | None = None,
    negatives: tuple[str, ...] | None = None,
    *,
    strength: float = 7.5,
    guided_strength: float = 2.5,
) -> dict[int, Case]:
    """Return the figures by number, with the paper's prompts and strengths where no others are passed.

    prompts: by figure. negatives: Fig. 1's negative prompts. strength: w, and five thirds of it (12.5) where Fig. 7
    and 8 have a larger one. guided_strength: w̄. The paper gives seeds for Fig. 6 alone (1 to 3).
    """
    texts = {**PAPER_PROMPTS, **(prompts or {})}
    large_strength = strength * 5 / 3
    cfg = ClassifierFree(strength)

    def segmentation_free(a: float = 10, *, t_s: int | None = None, w: float = strength) -> SegmentationFree:
        return SegmentationFree(a, guided_strength, t_s, ClassifierFree(w))

    def arms_by_switch(*iterations: int, w: float = strength) -> dict[str, Guidance]:
        return {f"t_s = {t_s}": segmentation_free(t_s=t_s, w=w) for t_s in iterations}

    cases = (
        Case(
            1,
            "a negative prompt takes the place of the empty one, and what it names is suppressed everywhere",
            texts[1],
            {
                f"negative “{text}”" if text else "no negative prompt": ClassifierFree(strength, text)
                for text in negatives or PAPER_NEGATIVES
            },
        ),
        Case(2, "segmentation-free guidance beside classifier-free", texts[2], {"CFG": cfg} | arms_by_switch(5)),
        Case(
            3,
            "the scale a: 0 is ineffective, beyond 20 there are artifacts",
            texts[3],
            {"CFG": cfg} | {f"a = {a}": segmentation_free(a) for a in (0, 10, 20, 50)},
        ),
        Case(4, "switching too early spoils the composition", texts[4], {"CFG": cfg} | arms_by_switch(10, 1)),
        Case(5, "switching early skips aspects of the prompt", texts[5], {"CFG": cfg} | arms_by_switch(10, 5)),
        Case(6, "classifier-free guidance alone", texts[6], {"CFG": cfg}, seeds=(1, 2, 3)),
        Case(
            7,
            "a larger strength w needs an earlier switch",
            texts[7],
            {f"CFG w = {strength:g}": cfg, f"CFG w = {large_strength:.3g}": ClassifierFree(large_strength)}
            | {
                f"w = {large_strength:.3g}, {name}": arm
                for name, arm in arms_by_switch(10, 5, w=large_strength).items()
            },
        ),
        Case(
            8,
            "the noisy latent after 5 iterations, decoded, and the picture",
            texts[8],
            {f"w = {large_strength:.3g}, t_s = 5": segmentation_free(t_s=5, w=large_strength)},
            after=(5,),
        ),
        Case(9, "a limitation", texts[9], {"CFG": cfg} | arms_by_switch(10, 5)),
    )
    return {case.figure: case for case in cases}
