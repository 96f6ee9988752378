"""``manage.py case_studies``: make the paper's figures as contact sheets, for any checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.errors import InputError
from evenhand.generation.cases import Case, paper_cases
from evenhand.studies.pipeline import model_cache

if TYPE_CHECKING:
    from evenhand.generation.kinds.registry import Pipeline
    from evenhand.generation.trajectory import Generated

STEPS = 20  # the paper's T, for which its switches are stated
SIDE = 256  # pixels near which an enlarged image's longer side comes on the sheets

# The demo model knows only shapes, so scenes with the same relations replace the paper's prompts.
SCENE_PROMPTS: Mapping[int, str] = {
    1: "a red circle above a blue square on a beige background",
    2: "a plain red circle next to a striped blue star on a white background",
    3: "a yellow star next to a purple circle on a grey background",
    4: "a green triangle above a pink square on a brown floor",
    5: "a striped red square left of a dotted blue circle, with a plain yellow star above them on a white wall",
    6: "a yellow square next to a blue triangle on a white background",
    7: "a yellow square next to a blue triangle on a white background",
    8: "a yellow square next to a blue triangle on a white background",
    9: "a dotted orange star right of a dotted orange cross on a black background",
}
SCENE_NEGATIVES = (
    "",
    "a blue square on a beige background",
    "a red circle on a beige background",
    "a red circle above a blue square on a white background",
)


class Command(BaseCommand):
    """Makes one sheet and one JSON file a figure; a figure that has a sheet already is skipped."""

    help = "Make the paper's Fig. 1 to 9 as contact sheets, with semantic maps, for any checkpoint."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--checkpoint", default=model_cache.DEMO, help="demo, a diffusers folder or a hub id")
        parser.add_argument("--figure", type=int, action="append", metavar="N", help="1 to 9; may be repeated")
        parser.add_argument("--output", type=Path, help="folder of the sheets (default: case_studies in EVENHAND_VAR)")
        parser.add_argument("--dtype", help="float32, float16 or bfloat16 (default: float16 on a GPU, else float32)")
        parser.add_argument("--strength", type=float, default=7.5, help="w (default: the paper's 7.5)")
        parser.add_argument("--guided-strength", type=float, default=2.5, help="w̄ (default: the paper's 2.5)")
        parser.add_argument("--again", action="store_true", help="make sheets that are there again")

    def handle(self, *args: Any, **options: Any) -> None:
        from evenhand.generation.checkpoint import load_pipeline

        folder = options["output"] or settings.VAR / "case_studies"
        try:
            strengths = {name: options[name] for name in ("strength", "guided_strength")}
            cases = chosen_cases(options["checkpoint"], options["figure"], **strengths)
            remaining_cases = [case for case in cases if options["again"] or not sheet_path(folder, case).exists()]
            self.stdout.write(f"{len(cases) - len(remaining_cases)} of {len(cases)} sheets are in {folder} already")
            if not remaining_cases:
                return
            pipeline = load_pipeline(
                model_cache.checkpoint_location(options["checkpoint"]),
                device=model_cache.device(),
                dtype=options["dtype"],
            )
            folder.mkdir(parents=True, exist_ok=True)
            for case in remaining_cases:
                evaluations = make_sheet(pipeline, case, folder, options["checkpoint"])
                self.stdout.write(f"Fig. {case.figure}: {sheet_path(folder, case)} ({evaluations} evaluations)")
        except (InputError, OSError) as error:
            raise CommandError(str(error)) from error


def chosen_cases(
    checkpoint: str, figures: Sequence[int] | None, *, strength: float = 7.5, guided_strength: float = 2.5
) -> list[Case]:
    """Return the cases of these figures (all by default), with scene prompts for the demo model."""
    scenes = checkpoint == model_cache.DEMO
    cases = paper_cases(
        SCENE_PROMPTS if scenes else None,
        SCENE_NEGATIVES if scenes else None,
        strength=strength,
        guided_strength=guided_strength,
    )
    unknown = sorted(set(figures or ()) - set(cases))
    if unknown:
        raise InputError(f"--figure must be one of {', '.join(map(str, cases))}, not {unknown[0]}")
    return [cases[figure] for figure in sorted(set(figures or cases))]


def sheet_path(folder: Path, case: Case) -> Path:
    """Return the path of a figure's sheet; its settings and provenance lie beside it as JSON."""
    return folder / f"figure_{case.figure}.png"


def make_sheet(pipeline: Pipeline, case: Case, folder: Path, checkpoint: str) -> int:
    """Write one figure's sheet, maps and JSON; return the network evaluations that they took."""
    from evenhand.generation.images import encode_png, png_versions
    from evenhand.generation.trajectory import generate

    result = generate(
        pipeline,
        [case.prompt] * len(case.seeds),
        case.seeds,
        case.arms,
        steps=STEPS,
        batch_size=len(case.seeds),
        intermediates=case.after,
        semantic_maps=True,
        return_latents=True,
    )
    path = sheet_path(folder, case)
    maps = {name: path.with_name(f"{path.stem}_map_{number}.png") for number, name in enumerate(guided_arms(case), 1)}
    for name, file in maps.items():
        file.write_bytes(encode_png(semantic_map(pipeline, case, result, name)))
    record = {
        "figure": case.figure,
        "prompt": case.prompt,
        "seeds": case.seeds,
        "arms": {name: guidance.to_dict() for name, guidance in case.arms.items()},
        "after": case.after,
        "maps": {name: file.name for name, file in maps.items()},
        "checkpoint": checkpoint,
        **result.provenance,
        "versions": result.provenance["versions"] | png_versions(),
    }
    path.with_suffix(".json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    path.write_bytes(encode_png(sheet_of(case, result)))  # last, so that a figure with a sheet is complete
    return result.evaluations


def sheet_of(case: Case, result: Generated) -> Any:
    """Lay out a figure's contact sheet: a row a seed, with the images and intermediates of each arm."""
    from evenhand.generation.sheets import contact_sheet, enlarged

    columns = columns_of(case, result)
    return contact_sheet(
        [[enlarged(images[row], SIDE) for images in columns.values()] for row in range(len(case.seeds))],
        columns=list(columns),
        rows=[f"seed {seed}" for seed in case.seeds],
        title=f"Fig. {case.figure}: {case.shows}. “{case.prompt}”",
    )


def columns_of(case: Case, result: Generated) -> dict[str, Any]:
    """Return the sheet's columns: each arm's intermediates, then its images, uint8 (seeds, H, W, 3)."""
    columns = {}
    for name in case.arms:
        for k in case.after:
            columns[f"{name}, after {k} iterations"] = result.intermediates[name][k]
        columns[name] = result.images[name]
    return columns


def guided_arms(case: Case) -> list[str]:
    """Return the arms that have semantic maps."""
    from evenhand.generation.guidance import SegmentationFree

    return [name for name, guidance in case.arms.items() if isinstance(guidance, SegmentationFree)]


def semantic_map(pipeline: Pipeline, case: Case, result: Generated, arm: str) -> Any:
    """Draw two maps over the first seed's image: how the plain network reads it, and the tokens that guidance used.

    Each shows at each patch the token that most of the iterations' finest maps name.
    """
    from evenhand.generation.reading import semantic_maps_of
    from evenhand.generation.semantics import finest_modules, maps_of, most_frequent, overlay, token_names
    from evenhand.generation.sheets import contact_sheet, padded

    assert result.latents is not None
    reading = semantic_maps_of(pipeline, result.latents[arm][:1], [case.prompt], case.seeds[:1], steps=STEPS)
    names = token_names(pipeline.tokenizer, case.prompt)
    panels = [
        overlay(result.images[arm][0], most_frequent(maps_of(maps, 0, modules=finest_modules(maps))), names)
        for maps in (reading, result.semantic_maps[arm])
    ]
    return contact_sheet(
        [padded(panels)],
        columns=["the picture as the plain network reads it", "the tokens that guidance weighted by -a"],
        title=f"Fig. {case.figure}, {arm}: the token that each patch follows. “{case.prompt}”",
    )
