"""The files and the terminal's histogram."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenhand.metrics.frechet import FrechetReference
from evenhand.sampling.subset import frechet_curve
from evenhand.studies.models import Study
from evenhand.studies.results import artefacts
from evenhand.studies.results.artefacts import BAR, bar
from evenhand.studies.results.export import csv_lines
from evenhand.studies.results.report import study_report
from tests.helpers.ratings import always, invite, rate_booklet


def with_curve(study: Study) -> Study:
    assert study.subset is not None
    reference = FrechetReference(np.random.default_rng(0).normal(size=(60, 4)))
    study.subset.frechet_curve = frechet_curve(reference, (8, 24, 48), 3, seed=0).to_dict()
    study.subset.save()
    return study


def test_the_folder_holds_the_csv_and_both_figures(study: Study, tmp_path: Path) -> None:
    rate_booklet(invite(study, "", simulated=True), always(1))
    written = artefacts.write(with_curve(study), tmp_path / "results")
    names = {"frechet.svg", "histogram.svg", "preferences.csv"}
    assert {path.name for path in written} == {path.name for path in (tmp_path / "results").iterdir()} == names
    assert (tmp_path / "results" / "preferences.csv").read_text() == "".join(csv_lines(study))
    assert "simulated ratings" in (tmp_path / "results" / "histogram.svg").read_text()
    assert "chosen: 24" in (tmp_path / "results" / "frechet.svg").read_text()


def test_written_again_the_files_are_the_same(study: Study, tmp_path: Path) -> None:
    rate_booklet(invite(study, "ada"), always(1))
    contents = []
    for _ in range(2):
        artefacts.write(with_curve(study), tmp_path)
        contents.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    assert contents[0] == contents[1]


def test_without_a_curve_there_is_no_figure_of_it(study: Study, tmp_path: Path) -> None:
    assert {path.name for path in artefacts.write(study, tmp_path)} == {"histogram.svg", "preferences.csv"}


def test_the_terminal_shows_shares_intervals_and_numbers(study: Study) -> None:
    for name in ("ada", "grace"):
        rate_booklet(invite(study, name), lambda trial: 1 if trial.position % 4 else -2)
    shown = artefacts.terminal(study)
    for comparison in study_report(study)["comparisons"]:
        assert comparison["finding"] in shown
        share, interval = comparison["candidate_share"], comparison["intervals"]["candidate"]
        label = f"  {comparison['candidate_name']} in all"
        line = next(each for each in shown.splitlines() if each.startswith(label))
        assert f"{100 * share:.0f} %  ({100 * interval['low']:.0f}–{100 * interval['high']:.0f})" in line
        assert line.count("█") == pytest.approx(BAR * share, abs=1)
    assert "n = 12, 12 pairs" in shown
    assert "SIMULATED" not in shown


def test_the_terminal_says_simulated_beside_every_comparison(study: Study) -> None:
    rate_booklet(invite(study, "", simulated=True), always(1))
    shown = artefacts.terminal(study)
    assert len(re.findall(r"\[SIMULATED\]", shown)) == 3
    assert shown.splitlines()[0] == "Shapes: 12 ratings by 1 evaluator  [SIMULATED]"


def test_the_terminal_says_that_nothing_was_rated(study: Study) -> None:
    assert "a = 5 has no ratings yet" in artefacts.terminal(study)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_longer_bar_is_a_larger_share_and_all_have_one_width(one: float, other: float) -> None:
    def eighths(text: str) -> int:
        return sum(8 if cell == "█" else " ▏▎▍▌▋▊▉".index(cell) for cell in text)

    assert len(bar(one)) == len(bar(other)) == BAR
    assert eighths(bar(one)) == pytest.approx(8 * BAR * one, abs=0.5)
    assert one > other or eighths(bar(one)) <= eighths(bar(other))
