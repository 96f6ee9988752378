"""``manage.py case_studies``: sheets whose cells are the engine's own pictures."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from evenhand.demo import scenes
from evenhand.generation.checkpoint import load_pipeline
from evenhand.generation.guidance import from_dict
from evenhand.generation.images import decode_png
from evenhand.generation.trajectory import generate
from evenhand.studies.management.commands import case_studies
from evenhand.studies.management.commands.case_studies import SCENE_NEGATIVES, SCENE_PROMPTS, chosen_cases
from tests.helpers.tiny_models import tiny_pipeline


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny model: pictures of 16×16 pixels, shown sixteen times as large."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    tiny_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for every switch of Fig. 4 and 8."""
    monkeypatch.setattr(case_studies, "STEPS", 10)


def run(checkpoint: str, output: Path, *arguments: object) -> str:
    said = StringIO()
    call_command("case_studies", "--checkpoint", checkpoint, "--output", str(output), *map(str, arguments), stdout=said)
    return said.getvalue()


def contains(sheet: np.ndarray, picture: np.ndarray) -> int:
    """How often the picture lies in the sheet, to the pixel; looked for by its pixel least like the white paper."""
    height, width = picture.shape[:2]
    y, x = np.unravel_index(picture.sum(axis=-1).argmin(), (height, width))
    corners = np.argwhere((sheet == picture[y, x]).all(axis=-1)) - (y, x)
    return sum(
        np.array_equal(sheet[top : top + height, left : left + width], picture)
        for top, left in corners
        if top >= 0 and left >= 0
    )


def test_a_sheet_holds_the_pictures_of_its_configuration(checkpoint: str, tmp_path: Path) -> None:
    said = run(checkpoint, tmp_path, "--figure", 8, "--figure", 6)
    assert "0 of 2 sheets" in said
    assert "Fig. 6: " in said
    assert "(20 evaluations)" in said  # 2T for Fig. 8, whose t_s = 5 splits nothing: one arm alone
    pipeline = load_pipeline(checkpoint, device="cpu")
    for figure, after, pictures in ((6, (), 3), (8, (5,), 1)):
        record = json.loads((tmp_path / f"figure_{figure}.json").read_text())
        sheet = decode_png((tmp_path / f"figure_{figure}.png").read_bytes())
        arms = {name: from_dict(guidance) for name, guidance in record["arms"].items()}
        assert (len(record["seeds"]), tuple(record["after"])) == (pictures, after)
        made = generate(
            pipeline,
            [record["prompt"]] * pictures,
            record["seeds"],
            arms,
            steps=record["scheduler"]["steps"],
            batch_size=record["rows"]["vae"],
            intermediates=after,
        )
        for name in arms:
            expected = [*made.images[name], *(made.intermediates[name][k][0] for k in after)]
            for picture in expected:
                assert contains(sheet, picture.repeat(16, axis=0).repeat(16, axis=1)) == 1
    assert json.loads((tmp_path / "figure_8.json").read_text())["maps"] == {"w = 12.5, t_s = 5": "figure_8_map_1.png"}
    assert sorted(file.name for file in tmp_path.glob("*_map_*")) == ["figure_8_map_1.png"]


def test_sheets_that_are_there_are_left_alone(checkpoint: str, tmp_path: Path) -> None:
    (tmp_path / "figure_6.png").write_bytes(b"kept")
    assert "1 of 1 sheets are in" in run(checkpoint, tmp_path, "--figure", 6)
    assert (tmp_path / "figure_6.png").read_bytes() == b"kept"
    run(checkpoint, tmp_path, "--figure", 6, "--again", "--strength", 3)
    assert decode_png((tmp_path / "figure_6.png").read_bytes()).shape[0] > 3 * 256
    assert json.loads((tmp_path / "figure_6.json").read_text())["arms"]["CFG"]["strength"] == 3.0


def test_the_demo_model_is_shown_scenes_that_it_can_read() -> None:
    for case in chosen_cases("demo", None):
        assert case.prompt == SCENE_PROMPTS[case.figure]
        scenes.parse(case.prompt)  # raises for what the grammar does not know
    for negative in filter(None, SCENE_NEGATIVES):
        scenes.parse(negative)
    assert [case.prompt for case in chosen_cases("owner/name", [2])] == ["a cute Maltese white dog next to a cat"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--figure", 10), "--figure must be one of 1, 2, .* not 10"),
        (("--strength", "nan"), "strength must be a finite number, not nan"),
        (("--dtype", "float8"), "dtype must be one of .* not 'float8'"),
    ],
)
def test_bad_input_is_named(checkpoint: str, tmp_path: Path, arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(checkpoint, tmp_path / "sheets", *arguments)
    assert not (tmp_path / "sheets").exists()


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nowhere does not exist"):
        run(str(tmp_path / "nowhere"), tmp_path)
