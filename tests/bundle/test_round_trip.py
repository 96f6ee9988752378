"""The whole way: prepare, rate, export, verify, make pictures again, replicate, rate, report."""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django.live_server_helper import LiveServer

from evenhand.generation.guidance import ClassifierFree, SegmentationFree
from evenhand.generation.images import decode_png, encode_png
from evenhand.studies.bundle import remaking
from evenhand.studies.lifecycle import close_study, open_study
from evenhand.studies.models import Image, Study
from evenhand.studies.pipeline import stages
from evenhand.studies.results.report import study_report
from tests.helpers.bundles import sum_again
from tests.helpers.factories import make_admin, make_draft

SMALL: dict[str, Any] = {
    "steps": 2,
    "subset_size": 16,
    "per_stratum": 2,
    "curve_sizes": (8, 16),
    "curve_draws": 2,
    "candidates": (SegmentationFree(10.0, switch_after=1, opening=ClassifierFree(2.0)),),
    "trials_per_evaluator": 3,
    "quota": 4,
    "practice_trials": 1,
    "attention_checks": 1,
}


def run(command: str, *arguments: object, **options: Any) -> str:
    output = io.StringIO()
    call_command(command, *map(str, arguments), stdout=output, **options)
    return output.getvalue()


def simulate(study: Study, live_server: LiveServer, strength: float) -> None:
    open_study(study)
    run(
        "simulate_evaluators", study.name, url=live_server.url, verbosity=0, evaluators=4, threads=2,
        preference=[strength], no_pictures=True,
    )  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_a_study_goes_out_and_comes_back(live_server: LiveServer, tmp_path: Path) -> None:
    study = make_draft(name="Original", **SMALL)
    stages.prepare(study)
    stages.work_through()
    study.refresh_from_db()
    simulate(study, live_server, 3.0)
    close_study(study)
    path = tmp_path / "original.zip"
    root = run("export_bundle", study.name, to=path, verbosity=0).split()[-1]

    said = run("verify_bundle", path, root=root, remake="20%", seed=7)
    generated = Image.objects.filter(kind="generated").count()
    assert "choice of pictures  seed 7" in said
    found = re.search(r"(\d+) of (\d+) generated pictures were made again: (\d+) with equal bytes", said)
    assert found is not None
    assert found[1] == found[3]
    assert 0 < int(found[1]) < int(found[2]) < generated  # the first subset's other pictures are not in the bundle

    anonymous = tmp_path / "anonymous"
    run("export_bundle", study.name, to=anonymous, anonymous=True, verbosity=0)
    assert "1 of 18 generated pictures were made again: 1 with equal" in run(
        "verify_bundle", anonymous, remake="1", checkpoint="demo"
    )
    with pytest.raises(CommandError, match="1 problem"):
        run("verify_bundle", anonymous, remake="1", checkpoint=str(tmp_path), stderr=io.StringIO())

    make_admin("bella")
    run("replicate", path, name="Replication", owner="bella", verbosity=0)
    new = Study.objects.get(name="Replication")
    simulate(new, live_server, -3.0)
    report = study_report(new)
    assert report["population"] == "simulated"
    assert report["replication"]["original"]["bundle_root"] == root
    [row] = report["replication"]["comparisons"]
    assert (row["original"]["n"], row["replication"]["n"], row["pooled"]["n"]) == (12, 12, 24)
    assert row["replication"]["net_share"]["estimate"] < row["pooled"]["net_share"]["estimate"]
    assert row["pooled"]["net_share"]["estimate"] < row["original"]["net_share"]["estimate"]

    close_study(new)
    again = tmp_path / "replication"
    run("export_bundle", new.name, to=again, verbosity=0)
    assert "every chain holds" in run("verify_bundle", again)
    about = json.loads((again / "bundle.json").read_text(encoding="utf-8"))
    assert about["replicates"] == {"study": "Original", "bundle_root": root}

    # A picture that somebody has touched up, with every checksum made to fit, is found when it is made again.
    told = forge(again)
    assert "Every checksum is right" in run("verify_bundle", again)
    errors = io.StringIO()
    with pytest.raises(CommandError, match="1 problem"):
        run("verify_bundle", again, remake="100%", stderr=errors)
    assert told in errors.getvalue()
    assert "is another picture when it is made again" in errors.getvalue()
    assert "of the pixels differ, by at most 8 grey levels" in errors.getvalue()


def forge(bundle: Path) -> str:
    """Brighten one generated picture and change its hash everywhere; return its new file name."""
    rows = [json.loads(line) for line in (bundle / "images.jsonl").read_text(encoding="utf-8").splitlines()]
    victim = next(row for row in rows if row["kind"] == "generated" and row["arm"] is not None)
    old = bundle / victim["file"]
    pixels = decode_png(old.read_bytes())
    pixels[:4] ^= 8
    data = encode_png(pixels)
    sha256 = hashlib.sha256(data).hexdigest()
    old.unlink()
    (bundle / "pictures" / f"{sha256}.png").write_bytes(data)
    for path in (*bundle.glob("*.jsonl"), bundle / "ratings.csv"):
        path.write_text(path.read_text(encoding="utf-8").replace(victim["sha256"], sha256), encoding="utf-8")
    sum_again(bundle)
    return f"pictures/{sha256}.png"


@pytest.mark.parametrize(
    ("text", "total", "count"),
    [("5%", 900, 45), ("5%", 10, 1), ("100%", 10, 10), ("3", 10, 3), ("30", 10, 10), ("0.1%", 900, 1), ("5%", 0, 0)],
)
def test_a_share_is_so_many_pictures(text: str, total: int, count: int) -> None:
    assert remaking.share_of(text).of(total) == count


@pytest.mark.parametrize("text", ["0", "0%", "101%", "-5%", "five", "nan%", "5 %x", "1.5", "²"])
def test_what_is_no_share_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--remake takes a share such as 5% or a number of pictures, not"):
        run("verify_bundle", tmp_path, remake=text)
