"""In a real Chromium: from the page of a collecting study to its files, whose numbers are the page's."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Study, Trial
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.ratings import invite, rate_booklet

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def collecting(page: Page, live_server: LiveServer) -> Study:
    """A study that six people have rated, whose admin has logged in."""
    ada = make_admin("ada")
    study = make_ready_study(owner=ada, quota=8)
    open_study(study)

    def answer(trial: Trial, lean: int) -> int:
        return max(-2, min(2, (trial.pk * 7 + lean) % 5 - 2 + (trial.pk + lean) % 2))

    for lean, name in enumerate(("grace", "alan", "joan", "mary", "heidi", "ivan")):
        rate_booklet(invite(study, name), partial(answer, lean=lean))
    page.goto(f"{live_server.url}/console/login/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill("a long password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Shapes")).to_be_visible()
    return study


def saved(page: Page, name: str, folder: Path) -> bytes:
    """What a click on a link or a button with this name downloads."""
    with page.expect_download() as caught:
        page.get_by_role("link", name=name, exact=True).or_(page.get_by_role("button", name=name, exact=True)).click()
    path = folder / "downloaded"
    caught.value.save_as(path)
    return path.read_bytes()


def test_the_downloaded_numbers_are_the_page_s(
    page: Page, live_server: LiveServer, collecting: Study, tmp_path: Path
) -> None:
    page.get_by_role("link", name="Shapes").click()
    page.get_by_role("link", name="All results").click()
    expect(page.get_by_role("heading", name="Results of Shapes")).to_be_visible()
    told = " ".join(page.locator("#answer + p").inner_text().split())

    rows = list(csv.DictReader(io.StringIO(saved(page, "preferences.csv", tmp_path).decode(), newline="")))
    counted = [
        int(row["preference"])
        for row in rows
        if (row["trial_kind"], row["counted"], row["superseded"], row["excluded"], row["comparison"])
        == ("main", "TRUE", "FALSE", "FALSE", "1")
    ]
    n = len(counted)
    candidate, baseline = (100 * sum(test(p) for p in counted) / n for test in (lambda p: p > 0, lambda p: p < 0))
    assert f"is preferred in {candidate:.0f} % of {n} ratings" in told
    assert f"(baseline) in {baseline:.0f} %" in told
    assert f"{'+' if candidate > baseline else '−'}{abs(candidate - baseline):.0f} points" in told

    page.goto(f"{live_server.url}/console/studies/{collecting.pk}/report.json")
    report = json.loads(page.locator("body").inner_text())
    assert report["interim"] is True
    first = report["comparisons"][0]
    assert (first["n"], first["candidate_share"]) == (n, pytest.approx(candidate / 100))
    assert first["net_share"]["p"] is None
    page.go_back()

    assert saved(page, "histogram.pdf", tmp_path).startswith(b"%PDF")
    assert saved(page, "scores.png", tmp_path).startswith(b"\x89PNG")
    pairs = list(csv.DictReader(io.StringIO(saved(page, "pairs.csv", tmp_path).decode(), newline="")))
    assert sum(int(row["n"]) for row in pairs if row["comparison"] == "1") == n

    page.get_by_role("link", name="The study").click()
    page.get_by_role("heading", name="Bundle").click()  # which is folded
    bundle = tmp_path / "bundle"
    with zipfile.ZipFile(io.BytesIO(saved(page, "Download the bundle", tmp_path))) as archive:
        archive.extractall(bundle)
    (verifier,) = bundle.rglob("verify_bundle.py")
    done = subprocess.run([sys.executable, "-I", "-S", verifier, verifier.parent], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    carried = json.loads(next(bundle.rglob("report.json")).read_text())
    assert carried["comparisons"][0]["shares"] == first["shares"]
