"""The code of docs/analysis.md, run on a study's CSV: its numbers are the report's."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenhand.analysis.preference import CATEGORIES
from evenhand.studies.lifecycle import open_study
from evenhand.studies.results.export import csv_lines
from evenhand.studies.results.export.columns import LABELS
from evenhand.studies.results.report import study_report
from tests.helpers.factories import make_ready_study
from tests.helpers.ratings import invite, rate_booklet

pytestmark = pytest.mark.django_db
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "analysis.md").read_text(encoding="utf-8")


def blocks(language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S))


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The report's first comparison of a study that seven people have rated; its CSV lies in the current folder."""
    study = make_ready_study(quota=8)
    open_study(study)
    rng = np.random.default_rng(7)
    for name in ("grace", "alan", "joan", "mary", "heidi", "ivan", "judy"):
        lean = rng.normal()
        rate_booklet(invite(study, name), lambda _, lean=lean: int(np.clip(round(lean + rng.normal()), -2, 2)))  # type: ignore[misc]
    (tmp_path / "preferences.csv").write_text("".join(csv_lines(study)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = study_report(study)["comparisons"][0]
    return found


def test_python_gets_the_report_s_shares_net_share_and_error(first: dict[str, Any]) -> None:
    names: dict[str, Any] = {}
    exec(compile(blocks("python"), "docs/analysis.md", "exec"), names)
    for category, label in zip(CATEGORIES, LABELS.values(), strict=True):
        assert names["shares"].get(label, 0.0) == pytest.approx(first["shares"][category])
    assert names["net_share"] == pytest.approx(first["net_share"]["estimate"])
    assert names["standard_error"] == pytest.approx(first["net_share"]["standard_error"])
    assert max(names["variances"]) ** 0.5 == pytest.approx(names["standard_error"], rel=0.15)


def test_r_gets_the_report_s_net_share(first: dict[str, Any]) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    done = subprocess.run(["Rscript", "-e", blocks("r")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    net, variance = map(float, done.stdout.split()[:2])
    assert net == pytest.approx(first["net_share"]["estimate"], abs=1e-6)
    assert variance**0.5 <= first["net_share"]["standard_error"] + 1e-6  # the report's has a floor
