"""The verifier: what is damaged is found and named, what is dangerous is refused, and it needs nothing but Python."""

from __future__ import annotations

import io
import json
import os
import random
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenhand.studies.bundle import verify_bundle
from evenhand.studies.bundle.verify_bundle import verify_path
from evenhand.studies.bundle.writing import export
from tests.helpers.bundles import rated_study, sum_again

Copy = Callable[[Path], Path]


@pytest.fixture(scope="module")
def kept(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One study's bundle as folder, zip file and anonymous folder, for tests that read files alone."""
    from django.conf import settings as django_settings
    from django.db import transaction

    folder = tmp_path_factory.mktemp("kept")
    targets = {"folder": folder / "bundle", "zip": folder / "bundle.zip", "anonymous": folder / "anonymous"}
    before = django_settings.MEDIA_ROOT
    with django_db_blocker.unblock(), transaction.atomic():
        django_settings.MEDIA_ROOT = folder / "images"
        study = rated_study(trials_per_evaluator=4, per_stratum=2)
        for name, target in targets.items():
            export(study, target, anonymous=name == "anonymous")
        django_settings.MEDIA_ROOT = before
        transaction.set_rollback(True)
    return targets


def problems(path: Path) -> list[str]:
    return verify_path(path).problems


def change(bundle: Path, name: str, how: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the records of a file, and make the checksums fit."""
    path = bundle / name
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n")]
    how(rows)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    sum_again(bundle)


# ------------------------------------------------------------------------------ by itself


@pytest.mark.parametrize("form", ["folder", "zip", "anonymous"])
def test_the_carried_program_needs_python_alone(kept: dict[str, Path], form: str, tmp_path: Path) -> None:
    program = kept["folder"] / "verify_bundle.py"

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", program, *arguments]
        return subprocess.run([*map(str, command)], cwd=tmp_path, capture_output=True, text=True, env={})

    done = run(kept[form])
    assert (done.returncode, done.stderr) == (0, "")
    root = verify_path(kept[form]).root
    assert f"root of the bundle   {root}" in done.stdout
    assert ("cannot verify the chains" in done.stdout) == (form == "anonymous")
    assert run(kept[form], "--root", root).returncode == 0
    other = run(kept[form], "--root", "0" * 64)
    assert other.returncode == 1
    assert f"the root of the bundle is {root}, not {'0' * 64}" in other.stderr
    assert run(tmp_path / "nowhere").returncode == 1


def test_the_command_says_the_same(kept: dict[str, Path], copy_of: Copy) -> None:
    output, errors = io.StringIO(), io.StringIO()
    call_command("verify_bundle", str(kept["zip"]), stdout=output)
    assert "every chain holds" in output.getvalue()
    damaged = copy_of(kept["folder"])
    (damaged / "README.md").write_text("other")
    with pytest.raises(CommandError, match=r"1 problem: .* is not what it says"):
        call_command("verify_bundle", str(damaged), stderr=errors)
    assert errors.getvalue().startswith("README.md has the wrong checksum: listed is ")


# ------------------------------------------------------------------------------ damage


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), within=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_of_any_file_is_found(kept: dict[str, Path], place: float, within: float, bit: int) -> None:
    files = sorted(path for path in kept["folder"].rglob("*") if path.is_file())
    path = files[int(place * len(files))]
    original = path.read_bytes()
    damaged = bytearray(original)
    damaged[int(within * len(original))] ^= 1 << bit
    try:
        path.write_bytes(damaged)
        found = problems(kept["folder"])
    finally:
        path.write_bytes(original)
    name = path.relative_to(kept["folder"]).as_posix()
    assert found
    assert name == "SHA256SUMS" or found[0].startswith(f"{name} has the wrong checksum")


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(within=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_zip_file_is_refused_or_holds_the_same(
    kept: dict[str, Path], tmp_path: Path, within: float, bit: int, cut: bool
) -> None:
    """A bit of the archive's own frame, such as a time, may change nothing that is read from it."""
    data = bytearray(kept["zip"].read_bytes())
    place = int(within * len(data))
    if cut:
        del data[place:]
    else:
        data[place] ^= 1 << bit
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(data)
    result = verify_path(damaged)
    assert result.problems or result.root == verify_path(kept["zip"]).root


def test_missing_and_extra_files_are_named(kept: dict[str, Path], copy_of: Copy) -> None:
    bundle = copy_of(kept["folder"])
    (bundle / "pairs.jsonl").unlink()
    (bundle / "texts" / "more.txt").write_text("more")
    assert problems(bundle) == ["pairs.jsonl is missing", "texts/more.txt is not listed in SHA256SUMS"]
    sums = bundle / "SHA256SUMS"
    sums.write_text(sums.read_text().replace("  pairs.jsonl\n", "  pears.jsonl\n"))
    assert "SHA256SUMS does not list pairs.jsonl, which every bundle has" in problems(bundle)
    sums.unlink()
    assert problems(bundle) == ["SHA256SUMS is missing: this is no bundle"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense\n", "is not a checksum"),
        (f"{'0' * 64}  ../../etc/passwd\n", "is not a checksum"),
        (f"{'0' * 64}  /etc/passwd\n", "is not a checksum"),
        (f"{'A' * 64}  README.md\n", "is not a checksum"),
        (f"{'0' * 64}  README.md\n", "lists README.md for the second time"),
        (f"{'0' * 64}  README.md", "is not a checksum"),
    ],
)
def test_lines_that_are_no_checksums_are_named(kept: dict[str, Path], copy_of: Copy, line: str, message: str) -> None:
    bundle = copy_of(kept["folder"])
    with (bundle / "SHA256SUMS").open("a") as file:
        file.write(line)
    [problem] = problems(bundle)
    assert problem.startswith("SHA256SUMS, line ")
    assert message in problem


# ------------------------------------------------------------------------------ deceit, with checksums that fit


def flip_choice(rows: list[dict[str, Any]]) -> None:
    row = next(row for row in rows if row["text"])
    row["text"] = row["text"].replace('"choice":-2', '"choice":2')


def drop_rating(rows: list[dict[str, Any]]) -> None:
    del rows[next(i for i, row in enumerate(rows) if row["text"] and row["sequence"] == 2)]


def drop_last_rating(rows: list[dict[str, Any]]) -> None:
    del rows[-1]


def swap_pictures(rows: list[dict[str, Any]]) -> None:
    row = next(row for row in rows if row["kind"] == "main")
    for name in ("image", "sha256"):
        row[f"left_{name}"], row[f"right_{name}"] = row[f"right_{name}"], row[f"left_{name}"]
    row["candidate_side"] = {"left": "right", "right": "left"}[row["candidate_side"]]
    row["left_sha256"] = "0" * 64


def swap_side(rows: list[dict[str, Any]]) -> None:
    row = next(row for row in rows if row["kind"] == "main")
    row["candidate_side"] = {"left": "right", "right": "left"}[row["candidate_side"]]


def another_pair(rows: list[dict[str, Any]]) -> None:
    one, other = [row for row in rows if row["kind"] == "main"][:2]
    one["pair"] = other["pair"]


def give_away(rows: list[dict[str, Any]]) -> None:
    taken = [row for row in rows if row["evaluator"]]
    taken[0]["evaluator"], taken[1]["evaluator"] = taken[1]["evaluator"], taken[0]["evaluator"]


def forget_first(rows: list[dict[str, Any]]) -> None:
    del rows[0]


def forget_practice(rows: list[dict[str, Any]]) -> None:
    rows[:] = [row for row in rows if row["kind"] != "practice"]


def lose_field(rows: list[dict[str, Any]]) -> None:
    del rows[0]["prompt_index"]


def wrong_type(rows: list[dict[str, Any]]) -> None:
    rows[0]["baseline_image"] = [1]


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("chain.jsonl", flip_choice, "its text is not what was written"),
        ("chain.jsonl", drop_rating, "rating 2 of"),
        ("chain.jsonl", drop_last_rating, "the root of the ratings is"),
        ("trials.jsonl", swap_pictures, "has another hash"),
        ("trials.jsonl", swap_side, "does not show pair"),
        ("trials.jsonl", another_pair, "does not show pair"),
        ("trials.jsonl", forget_first, "is not there"),
        ("booklets.jsonl", give_away, "is another evaluator's"),
        ("evaluators.jsonl", forget_first, "is not there"),
        ("prompts.jsonl", forget_first, "prompt 0 is not there"),
        ("images.jsonl", forget_first, "is no image's picture"),
        ("pairs.jsonl", forget_first, "does not show pair"),
        ("pairs.jsonl", lose_field, "is no such record: KeyError 'prompt_index'"),
        ("pairs.jsonl", wrong_type, "is no such record: TypeError"),
    ],
)
def test_records_that_do_not_fit_are_named(
    kept: dict[str, Path], copy_of: Copy, name: str, how: Callable[[list[dict[str, Any]]], None], message: str
) -> None:
    bundle = copy_of(kept["folder"])
    change(bundle, name, how)
    found = problems(bundle)
    assert any(message in problem for problem in found), found


def rewrite(name: str, old: str, new: str) -> Callable[[Path], None]:
    def how(bundle: Path) -> None:
        text = (bundle / name).read_text(encoding="utf-8")
        assert old in text
        (bundle / name).write_text(text.replace(old, new, 1), encoding="utf-8")
        sum_again(bundle)

    return how


def other_configuration(bundle: Path) -> None:
    rewrite("configuration/version-1.json", '"seed":0', '"seed":1')(bundle)


def other_csv(bundle: Path) -> None:
    path = bundle / "ratings.csv"
    lines = list(io.StringIO(path.read_text(encoding="utf-8")))
    path.write_text("".join([*lines[:3], lines[2], *lines[3:]]), encoding="utf-8")
    sum_again(bundle)


def other_size(bundle: Path) -> None:
    rewrite("images.jsonl", '"width": 64', '"width": 640')(bundle)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (other_configuration, "configuration/version-1.json has not the hash of version 1"),
        (other_csv, "ratings.csv: its ratings are not those of chain.jsonl"),
        (other_size, "not 640 by 64 pixels"),
        (rewrite("bundle.json", '"pairs": 12', '"pairs": 13'), "bundle.json: counts 13 pairs, there are 12"),
        (rewrite("bundle.json", '"current_version": 1', '"current_version": 2'), "the current version 2 is not there"),
        (rewrite("bundle.json", '"format_version": 1', '"format_version": 2'), "reads evenhand-bundle 1, not"),
        (rewrite("pairs.jsonl", '{"pair"', '["pair"'), "pairs.jsonl, line 1: is no JSON"),
        (rewrite("bundle.json", '"counts"', '"count"'), "a record is not of the known form: KeyError"),
        (rewrite("trials.jsonl", '{"trial"', "[" * 100_000 + '{"trial"'), "trials.jsonl, line 1: is no JSON"),
    ],
)
def test_documents_that_do_not_fit_are_named(
    kept: dict[str, Path], copy_of: Copy, how: Callable[[Path], None], message: str
) -> None:
    bundle = copy_of(kept["folder"])
    how(bundle)
    found = problems(bundle)
    assert any(message in problem for problem in found), found


def test_an_anonymous_csv_names_trials_that_are_there(kept: dict[str, Path], copy_of: Copy) -> None:
    bundle = copy_of(kept["anonymous"])
    change(bundle, "trials.jsonl", forget_practice)  # which everybody answered: booklets are in random order
    assert any("its trial is not there" in problem for problem in problems(bundle))


# ------------------------------------------------------------------------------ danger


def zipped(path: Path, *entries: tuple[str, bytes], **values: Any) -> Path:
    with zipfile.ZipFile(path, "w", values.pop("compression", zipfile.ZIP_STORED)) as archive:
        for name, data in entries:
            information = zipfile.ZipInfo("x")
            information.filename = name  # not through the constructor, which would mend it
            information.compress_type = archive.compression
            for key, value in values.items():
                setattr(information, key, value)
            archive.writestr(information, data)
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../outside", "leads outside the bundle"),
        ("bundle/../../outside", "leads outside the bundle"),
        ("/etc/passwd", "is an absolute path"),
        ("C:/outside", "is an absolute path"),
        ("bundle\\..\\outside", "leads outside the bundle"),
        ("bundle/.hidden", "is no name of a bundle's file"),
        ("bundle/a b", "is no name of a bundle's file"),
        ("bundle/ä", "is no name of a bundle's file"),
        ("bundle/sha256sums", "is there 2 times"),
        ("bundle//x", "is no name of a bundle's file"),
        ("elsewhere/x", "do not lie in one folder"),
    ],
)
def test_names_that_are_not_safe_are_refused(tmp_path: Path, name: str, message: str) -> None:
    path = zipped(tmp_path / "x.zip", ("bundle/SHA256SUMS", b""), (name, b"x"))
    found = problems(path)
    assert any(message in problem for problem in found), found


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.sampled_from(["..", ".", "a", "b.png", "", "~", "\\", "C:", "\u202e", "\x01", " "]), min_size=1)
)
def test_no_made_up_path_is_ever_opened_outside(tmp_path: Path, parts: list[str]) -> None:
    name = "bundle/" + "/".join(parts)
    try:
        path = zipped(tmp_path / "x.zip", ("bundle/SHA256SUMS", b""), (name, b"x"))
    except (UnicodeEncodeError, ValueError):
        return
    try:
        bundle = verify_bundle.open_bundle(path)
    except verify_bundle.BundleError:
        return
    for inner in bundle.sizes:
        assert verify_bundle.NAME.fullmatch(inner)
        assert (tmp_path / inner).resolve().is_relative_to(tmp_path)
    bundle.close()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_doubled_names_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ("b/SHA256SUMS", b""), ("b/a.txt", b"1"), ("b/a.txt", b"2"))
    assert problems(path) == ["'a.txt' is there 2 times"]


def test_links_in_zip_files_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ("b/SHA256SUMS", b"../x"), external_attr=(stat.S_IFLNK | 0o777) << 16)
    assert problems(path) == ["'b/SHA256SUMS' is a symbolic link, which may lead outside the bundle"]


def test_links_and_pipes_in_folders_are_refused(kept: dict[str, Path], copy_of: Copy, tmp_path: Path) -> None:
    bundle = copy_of(kept["folder"])
    (tmp_path / "README.md").write_bytes((bundle / "README.md").read_bytes())
    (bundle / "README.md").unlink()
    (bundle / "README.md").symlink_to(tmp_path / "README.md")
    (bundle / "more").symlink_to(tmp_path)
    os.mkfifo(bundle / "pipe")
    found = problems(bundle)
    assert "'README.md' is a symbolic link, which may lead outside the bundle" in found
    assert "'more' is a symbolic link, which may lead outside the bundle" in found
    assert "'pipe' is neither a file nor a folder" in found


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = (("b/SHA256SUMS", b""), ("b/zeros.png", bytes(4 * 2**20)))
    path = zipped(tmp_path / "bomb.zip", *entries, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    [problem] = problems(path)
    assert problem.endswith("to 4194304 bytes: a zip bomb")
    monkeypatch.setattr(verify_bundle, "MOST_BYTES", 2**20)
    stored = zipped(tmp_path / "large.zip", *entries)
    assert problems(stored) == ["its files would unpack to 4194304 bytes, and 1048576 are the most"]


def test_a_bomb_that_lies_about_its_size_is_not_unpacked(tmp_path: Path) -> None:
    path = zipped(tmp_path / "lie.zip", ("b/SHA256SUMS", bytes(2**24)), compression=zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 2**24), struct.pack("<I", 10)))
    assert problems(path)  # no more than the 10 bytes are read


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip file at all", random.Random(3).randbytes(5000)])
def test_what_is_no_zip_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    [problem] = problems(path)
    assert f"{path} is no zip file that can be read" in problem


def test_encrypted_files_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ("b/SHA256SUMS", b"x"))
    data = bytearray(path.read_bytes())
    data[data.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert problems(path) == ["'b/SHA256SUMS' is encrypted"]
