"""The figures: drawn to scale, marked where simulated, the same bytes for the same numbers."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from evenhand.analysis.preference import CATEGORIES, preference_estimates, preference_shares
from evenhand.errors import InputError
from evenhand.metrics.frechet import FrechetReference
from evenhand.sampling.subset import FrechetCurve, frechet_curve
from evenhand.studies.results import figures
from evenhand.studies.results.figures.style import DARK, LIGHT, PALETTE

COUNTS = (2, 17, 21, 42, 18)  # the paper's Fig. 11, of a hundred ratings
SVG = "{http://www.w3.org/2000/svg}"


def comparison(counts: tuple[int, ...] = COUNTS, candidate: str = "a = 10", both_bad: int = 0) -> dict[str, Any]:
    """As much of a report's comparison as the figure shows."""
    preference = np.repeat([-2, -1, 0, 1, 2], counts)
    shares = preference_shares(preference)
    people, prompts = np.arange(len(preference)) % 17, np.arange(len(preference)) % 50
    intervals = preference_estimates(preference, people, prompts)
    return {
        "baseline_name": "CFG w = 7.5",
        "candidate_name": candidate,
        "criterion": "overall",
        "n": shares.n,
        "both_bad": {"n": both_bad, "share": both_bad / max(shares.n, 1)},
        "pairs": 50,
        "evaluators": 17,
        "shares": dict(zip(CATEGORIES, [None if np.isnan(s) else s for s in shares.shares.tolist()], strict=True)),
        "candidate_share": shares.candidate,
        "baseline_share": shares.baseline,
        "intervals": {
            name: {key: None if np.isnan(value) else value for key, value in vars(each).items() if key != "reason"}
            for name, each in intervals.items()
        },
        "finding": f"{candidate} preferred in 60 % of 100 ratings, 95 % interval 54–66",
    }


def report(*comparisons: dict[str, Any], mark: str = "") -> dict[str, Any]:
    return {
        "study": "Shapes",
        "mark": mark,
        "comparisons": list(comparisons),
        "finding": "a = 10 preferred",
        "free_comparisons": False,
    }


def drawn(shown: dict[str, Any], **options: Any) -> str:
    return figures.histogram(shown, **options).decode()


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()).strip() for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def box(svg: str, colour: str) -> tuple[float, float]:
    """Width and height of the shape that is filled with a colour."""
    for path in ElementTree.fromstring(svg).iter(f"{SVG}path"):
        if f"fill: {colour.lower()}" in path.get("style", ""):
            numbers = np.array(re.findall(r"-?[\d.]+", path.get("d", "")), float).reshape(-1, 2)
            return tuple(np.ptp(numbers, axis=0))
    raise AssertionError(f"nothing is filled with {colour}")


def curve(draws: int = 5, sizes: tuple[int, ...] = (10, 30, 100)) -> FrechetCurve:
    features = np.random.default_rng(1).normal(size=(200, 6))
    return frechet_curve(FrechetReference(features), sizes, draws, seed=2)


def test_bars_are_as_high_as_their_shares() -> None:
    svg = drawn(report(comparison()))
    heights = np.array([box(svg, colour)[1] for colour in PALETTE])
    assert heights / heights.sum() == pytest.approx(np.array(COUNTS) / 100, abs=1e-3)


def test_bars_carry_their_percentages_and_axes_their_units() -> None:
    written = texts(drawn(report(comparison())))
    assert [text for text in written if re.fullmatch(r"\d+ %", text)] == ["2 %", "17 %", "21 %", "42 %", "18 %"]
    assert {"60 % in all", "19 % in all"} <= set(written)
    assert "share of ratings (%)" in written
    assert "n = 100 ratings of 50 pairs by 17 evaluators" in written
    assert {"CFG w = 7.5", "a = 10"} <= set(written)


def test_the_title_states_the_finding() -> None:
    written = texts(drawn(report(comparison())))
    assert "a = 10 preferred in 60 % of 100 ratings, 95 % interval 54–66" in " ".join(written)


def test_simulated_ratings_are_said_in_the_figure_and_real_ones_are_not_called_so() -> None:
    marked = texts(drawn(report(comparison(), mark="simulated")))
    assert "share of simulated ratings (%)" in marked
    assert "n = 100 simulated ratings of 50 pairs by 17 evaluators" in marked
    assert "SIMULATED" in marked
    assert "simulated" not in drawn(report(comparison())).lower()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_comparison_has_its_panel(count: int) -> None:
    panels = [comparison(candidate=f"a = {i}") for i in range(count)]
    written = texts(drawn(report(*panels)))
    assert written.count("n = 100 ratings of 50 pairs by 17 evaluators") == count
    assert "0.0" not in written  # no axes of an empty panel


def test_no_ratings_and_one_sided_ratings_can_be_drawn() -> None:
    written = texts(drawn(report(comparison((0, 0, 0, 0, 0)), comparison((0, 0, 0, 0, 9)))))
    assert "100 %" in written
    assert not any(text.startswith("nan") for text in written)
    assert "120" not in written  # no tick above all ratings


def test_a_study_without_comparisons_has_no_histogram() -> None:
    with pytest.raises(ValueError, match="“Shapes” has no comparisons yet"):
        drawn(report())


def test_the_same_numbers_give_the_same_bytes_from_any_thread() -> None:
    shown, drawn_curve = report(comparison(), comparison(candidate="a = 5"), mark="simulated"), curve().to_dict()
    first = drawn(shown), figures.frechet_curve(drawn_curve, 30)
    with ThreadPoolExecutor(4) as pool:
        again = pool.map(lambda _: (drawn(shown), figures.frechet_curve(drawn_curve, 30)), range(6))
        assert all(each == first for each in again)


def test_the_frechet_curve_marks_the_chosen_size_and_says_what_it_draws() -> None:
    written = texts(figures.frechet_curve(curve().to_dict(), 30))
    assert "chosen: 30" in written
    assert {"mean of 5 draws", "range of 5 draws", "10", "30", "100"} <= set(written)
    assert "subset size n (prompts)" in written
    assert " ".join(written).count(f"Random subsets of 30 prompts lie {curve().mean[1]:.3g} from all 200") == 1


def test_log_axes_put_equal_ratios_at_equal_distances() -> None:
    """On log–log axes the expected mean term of small subsets, ∝ 1/n, falls by the same step for each factor of ten."""
    exact = FrechetCurve(10**9, (10, 100, 1000), ((8.0,), (4.0,), (2.0,)), (0.1, 0.01, 0.001))
    drawn = figures.frechet_curve(exact.to_dict(), 100)
    paths = [p for p in ElementTree.fromstring(drawn).iter(f"{SVG}path") if "dasharray" in p.get("style", "")]
    points = np.array(re.findall(r"-?[\d.]+", paths[0].get("d", "")), float).reshape(-1, 2)
    steps = np.diff(points, axis=0)
    assert steps[0] == pytest.approx(steps[1], abs=1e-3)
    assert (steps > 0).all()  # right and down


def test_one_draw_has_no_band() -> None:
    written = texts(figures.frechet_curve(curve(draws=1).to_dict(), 30))
    assert "one draw" in written
    assert not any(text.startswith("range of") for text in written)


def test_the_whole_set_and_a_size_between_can_be_chosen() -> None:
    """The whole set's distance is 0, which no logarithmic axis shows."""
    whole = texts(figures.frechet_curve(curve(sizes=(10, 100, 200)).to_dict(), 200))
    assert "chosen: 200, the whole set" in whole
    assert "its distance is 0" in " ".join(whole)
    assert "chosen: 50" in texts(figures.frechet_curve(curve().to_dict(), 50))


def both_draws() -> FrechetCurve:
    features = np.random.default_rng(1).normal(size=(200, 6))
    reference = FrechetReference(features)
    return frechet_curve(reference, (10, 30, 100), 5, seed=2, representative_draws=2, gaussian_draws=2)


def test_both_ways_of_drawing_are_named_and_the_chosen_one_has_the_mark() -> None:
    drawn = both_draws()
    written = texts(figures.frechet_curve(drawn.to_dict(), 30, draw="representative", threshold=0.25))
    assert {"mean of 5 draws", "mean of 2 representative draws", "range of 2 representative draws"} <= set(written)
    assert {"a normal set of the same mean and covariance", "threshold 0.25", "chosen: 30"} <= set(written)
    found = f"Representative subsets of 30 prompts lie {np.mean(drawn.representative[1]):.3g} from all 200"
    assert found in " ".join(written)


def test_a_draw_that_the_curve_does_not_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="no representative draws"):
        figures.frechet_curve(curve().to_dict(), 30, draw="representative")


def test_the_png_is_a_picture_of_1440_pixels() -> None:
    with Image.open(io.BytesIO(figures.frechet_curve_png(both_draws().to_dict(), 30))) as picture:
        assert (picture.format, picture.size) == ("PNG", (1440, 1040))
        assert len(set(picture.convert("RGB").resize((144, 96)).getdata())) > 20  # lines and letters, not a blank


@pytest.mark.parametrize("distance", [0.0, -1e-13])
def test_a_curve_of_the_whole_set_alone_says_so(distance: float) -> None:
    alone = FrechetCurve(10, (10,), ((distance,),), (0.0,)).to_dict()
    written = " ".join(texts(figures.frechet_curve(alone, 10)))
    assert "The subset of 10 prompts is the whole set: its distance is 0" in written
    assert figures.frechet_curve_png(alone, 10).startswith(b"\x89PNG")


def test_drawing_loads_neither_the_models_nor_pyplot(tmp_path: Path) -> None:
    code = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'evenhand.config.settings'\n"
        "import django; django.setup()\n"
        "import evenhand.studies.results.artefacts\n"
        "heavy = ('torch', 'open_clip', 'evenhand.sampling.encode', 'matplotlib.pyplot')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    environment = {"EVENHAND_VAR": str(tmp_path), "PATH": ""}
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert (result.stdout.strip(), result.returncode) == ("[]", 0), result.stderr


def test_the_part_that_finds_both_bad_is_hatched_and_named() -> None:
    plain, hatched = (drawn(report(comparison(both_bad=n))) for n in (0, 12))
    assert {"both bad", "12 %"} <= set(texts(hatched))
    assert "<pattern" in hatched
    assert "<pattern" not in plain
    assert not any("both bad" in text for text in texts(plain))


def test_a_dark_figure_is_drawn_on_a_dark_ground() -> None:
    light, dark = drawn(report(comparison())), drawn(report(comparison()), dark=True)
    assert DARK.ground.lower() in dark.lower()
    assert DARK.ground.lower() not in light.lower()
    assert LIGHT.ink.lower() in light.lower()
    assert all(colour.lower() in dark.lower() for colour in PALETTE)


def test_panels_stand_below_each_other_on_request() -> None:
    shown = report(*[comparison(candidate=f"a = {i}") for i in range(3)])

    def size(svg: str) -> tuple[float, float]:
        root = ElementTree.fromstring(svg)
        return float(root.get("width", "0").removesuffix("pt")), float(root.get("height", "0").removesuffix("pt"))

    wide, tall = size(drawn(shown)), size(drawn(shown, columns=1))
    assert wide[0] > 1.5 * tall[0]
    assert tall[1] == pytest.approx(1.5 * wide[1])


@pytest.mark.parametrize(("kind", "beginning"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF-")])
def test_figures_are_files_of_three_kinds_with_the_same_bytes_each_time(kind: str, beginning: bytes) -> None:
    shown = report(comparison(), comparison(candidate="a = 5"))
    for draw in (figures.histogram, figures.diverging):
        first = draw(shown, kind=kind)
        assert first.startswith(beginning)
        assert draw(shown, kind=kind) == first
    with pytest.raises(InputError, match="a figure is svg, png, pdf, not 'gif'"):
        figures.histogram(shown, kind="gif")


def test_diverging_bars_put_half_of_no_preference_on_either_side() -> None:
    svg = figures.diverging(report(comparison(), comparison((0, 0, 0, 0, 0)), comparison((18, 42, 21, 17, 2)))).decode()
    written = texts(svg)
    assert sum("n = 100" in text for text in written) == 2  # the one without ratings has no bar
    widths = np.array([box(svg, colour)[0] for colour in PALETTE])
    assert widths / widths.sum() == pytest.approx(np.array(COUNTS) / 100, abs=2e-3)
    with pytest.raises(InputError, match="has no ratings yet"):
        figures.diverging(report(comparison((0, 0, 0, 0, 0))))
