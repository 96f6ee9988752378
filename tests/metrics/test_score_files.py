"""Scores come back as they were written, whatever the file's form, and what is wrong is named with its line."""

from __future__ import annotations

import csv
import io
import math
import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenhand.metrics import score_files
from evenhand.metrics.score_files import NAME_LIMIT, Lines, ScoreFileError, read_scores

DOG, CAT, HAT = (sha256(name.encode()).hexdigest() for name in ("dog", "cat", "hat"))
HEAD = "image,metric,value\n"
PICTURES = st.binary(max_size=2).map(lambda data: sha256(data).hexdigest())
NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=NAME_LIMIT)
VALUES = st.floats(allow_nan=False, allow_infinity=False)
FILES = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scores.csv"


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


# ------------------------------------------------------------------------------ what is read


@FILES
@given(
    st.dictionaries(st.tuples(PICTURES, NAMES), VALUES, min_size=1, max_size=12),
    st.permutations(["image", "metric", "value", "note, with a comma"]),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.booleans(),
)
def test_what_was_written_is_read(
    path: Path,
    given_scores: dict,
    columns: list[str],
    separator: str,
    end: str,
    encoding: str,
    quoting: int,
    in_capitals: bool,
) -> None:
    text = io.StringIO()
    out = csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    out.writerow([name.upper() if in_capitals else name for name in columns])
    for (image, metric), value in given_scores.items():
        cells = {"image": image.upper() if in_capitals else image, "metric": metric, "value": repr(value)}
        out.writerow([cells.get(name, "of\r\nno use") for name in columns])
    found = read_scores(written(path, text.getvalue(), encoding))
    assert {(i, m): v for m, values in found.by_metric.items() for i, v in values.items()} == given_scores
    assert found.rows == len(given_scores)
    assert found.notes == ()


@FILES
@given(
    st.lists(
        st.tuples(
            st.sampled_from([DOG, CAT, HAT]),
            st.sampled_from(["HPSv3", "VQAScore"]),
            st.sampled_from(["1.5", "nan", "-inf", ""]),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_every_row_is_counted_once(path: Path, rows: list[tuple[str, str, str]]) -> None:
    found = read_scores(written(path, HEAD + "".join(f"{','.join(row)}\n" for row in rows)), {DOG, CAT})
    of_hat = [i for i, row in enumerate(rows, 2) if row[0] == HAT]
    without = [i for i, row in enumerate(rows, 2) if row[0] != HAT and row[2] != "1.5"]
    kept = {row[:2] for row in rows if row[0] != HAT and row[2] == "1.5"}
    assert (found.unknown.count, found.unknown.first) == (len(of_hat), tuple(of_hat[:10]))
    assert (found.not_finite.count, found.not_finite.first) == (len(without), tuple(without[:10]))
    assert {(i, m) for m, values in found.by_metric.items() for i in values} == kept
    assert found.repeated.count == len(rows) - len(of_hat) - len(without) - len(kept)
    assert found.rows == len(rows)
    assert len(found.notes) == sum(bool(each.count) for each in (found.repeated, found.unknown, found.not_finite))


@FILES
@given(st.binary(max_size=300), st.sampled_from([b"", HEAD.encode(), HEAD.encode("utf-16")]))
def test_any_bytes_are_read_or_refused_in_words(path: Path, data: bytes, head: bytes) -> None:
    path.write_bytes(head + data)
    refused, rows = "", 0
    try:
        rows = read_scores(path).rows
    except ScoreFileError as error:
        refused = str(error)
    assert rows > 0 or refused.startswith(str(path))
    assert refused.isprintable()


@FILES
@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_a_value_is_a_plain_number_or_none(path: Path, cell: str) -> None:
    """Whatever is read as a number is one to Python, too."""
    text = io.StringIO()
    csv.writer(text).writerows([["image", "metric", "value"], [DOG, "HPSv3", cell]])
    try:
        found = read_scores(written(path, text.getvalue()))
    except ScoreFileError:
        return
    for value in found.by_metric.get("HPSv3", {}).values():
        assert value == float(cell)
    assert found.not_finite.count == 1 - len(found.by_metric.get("HPSv3", {}))


def test_scores_of_pictures_in_an_order(path: Path) -> None:
    found = read_scores(written(path, f"{HEAD}{DOG},HPSv3,9.5\n{CAT},HPSv3,-1e-3\n"))
    assert np.array_equal(found.values("HPSv3", [CAT, HAT, DOG]), [-0.001, math.nan, 9.5], equal_nan=True)
    with pytest.raises(ScoreFileError, match="no scores of “ImageReward”; there are some of HPSv3"):
        found.values("ImageReward", [DOG])


def test_notes_name_the_lines(path: Path) -> None:
    rows = f"{DOG},A,1\n{DOG},A,1.0\n\n{CAT},A,NaN\n{HAT},A,2\n" + f"{DOG},B,\n" * 11
    found = read_scores(written(path, HEAD + rows), {DOG, CAT})
    assert found.repeated == Lines(1, (3,))
    assert found.notes == (
        "1 of 15 rows repeat an earlier row and count once: line 3.",
        "1 of 15 rows are of pictures that are not known: line 6.",
        "12 of 15 rows have no finite value: line 5, 7, 8, 9, 10, 11, 12, 13, 14, 15 and others.",
    )


def test_a_value_beyond_the_range_of_floats_is_not_finite(path: Path) -> None:
    assert read_scores(written(path, f"{HEAD}{DOG},A,1e999\n{CAT},A,1\n")).not_finite == Lines(1, (2,))


# ------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; its first row names the columns image, metric, value"),
        ("\n\n", "is empty"),
        (HEAD, "holds no scores"),
        ("image,value\n", "the header has no column metric; it has “image”, “value”"),
        ("image,metric,value,Value\n", "the header names the column value twice"),
        (f"{HEAD}{DOG},A\n", "line 2: has 2 fields, the header 3"),
        (f"{HEAD}{DOG},A,1\n\n{DOG},A,1,2\n", "line 4: has 4 fields"),
        (f"{HEAD}{DOG[:-1]},A,1\n", "line 2: image “.*…” is no SHA-256 of 64"),
        (f"{HEAD}dog.png,A,1\n", "line 2: image “dog.png” is no SHA-256"),
        (f"{HEAD}{DOG},,1\n", "line 2: metric “” is no name"),
        (f"{HEAD}{DOG},{'A' * 101},1\n", "line 2: metric “A+…” has more than 100 characters"),
        (f"{HEAD}{DOG},A\x07,1\n", "line 2: metric “A\ufffd” is no name"),
        (f"{HEAD}{DOG},A,good\n", "line 2: value “good” is no number$"),
        (f'{HEAD}{DOG},A,"0,5"\n', "line 2: value “0,5” is no number; write decimals with a point"),
        (f"{HEAD}{DOG},A,1_000\n", "value “1_000” is no number"),
        (f"{HEAD}{DOG},A,0.5\n{CAT},A,1\n{DOG.upper()},A,0.6\n", "line 4: A of .* two values, 0.5 on line 2 and 0.6"),
        (f'{HEAD}"{DOG},A,1\n', "line 2: unexpected end of data"),
        (f'{HEAD}{DOG},"a\nb",1\n{CAT},A,x\n', "line 2: metric “a\ufffdb” is no name"),
        (f'image,metric,value,"a\nb"\n{DOG},A,1,\n{CAT},A,x,\n', "line 4: value “x” is no number"),
        (f"{HEAD}{DOG},A,1\0\n", "line 2: holds binary data"),
        (f"{HEAD}{'A' * 20_000}", "line 2: a row has more than 10,000 characters"),
        (HEAD + '"' + "A\n" * 6000, "line 5001: a row has more than 10,000 characters; is a quotation mark left open"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_with_their_line(path: Path, text: str, message: str) -> None:
    with pytest.raises(ScoreFileError, match=message):
        read_scores(written(path, text))


@pytest.mark.parametrize("before", [1, 3000])
def test_another_encoding_is_refused_with_its_line(path: Path, before: int) -> None:
    rows = "".join(f"{sha256(str(i).encode()).hexdigest()},A,1\n" for i in range(before))
    with pytest.raises(ScoreFileError, match=f"line {before + 2}: is not UTF-8; save it as UTF-8"):
        read_scores(written(path, f"{HEAD}{rows}{DOG},Schärfe,1\n", "latin-1"))
    with pytest.raises(ScoreFileError, match="line 1: holds binary data"):
        read_scores(written(path, HEAD, "utf-16-le"))
    path.write_bytes(HEAD.encode("utf-16") + b"\0")
    with pytest.raises(ScoreFileError, match="line 2: is not UTF-16"):
        read_scores(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScoreFileError, match="cannot be read"):
        read_scores(tmp_path / "nothing.csv")
    with pytest.raises(ScoreFileError, match="is no file"):
        read_scores(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ScoreFileError, match="is no file"):
        read_scores(tmp_path / "pipe")


def test_size_rows_and_metrics_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(path, HEAD + "".join(f"{DOG},{name},1\n" for name in "ABC"))
    assert len(read_scores(path).by_metric) == 3
    monkeypatch.setattr(score_files, "METRIC_LIMIT", 2)
    with pytest.raises(ScoreFileError, match="line 4: metric “C” is one more than the 2"):
        read_scores(path)
    monkeypatch.setattr(score_files, "ROW_LIMIT", 1)
    with pytest.raises(ScoreFileError, match="line 3: is beyond the 1 rows"):
        read_scores(path)
    monkeypatch.setattr(score_files, "FILE_LIMIT", 100)
    with pytest.raises(ScoreFileError, match="bytes, at most 100 are read"):
        read_scores(path)
