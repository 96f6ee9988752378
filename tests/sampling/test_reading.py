"""Tables as people write them: separators, quoting, headers, encodings, and what is no table."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenhand.sampling import containers
from evenhand.sampling.inspection import inspect
from evenhand.sampling.prompts import PromptFileError, Reading, clean, open_rows, read_prompts
from evenhand.sampling.reading import LINE_LIMIT, SEPARATORS
from tests.helpers.archives import without_name


def write(folder: Path, content: str | bytes, name: str = "prompts.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# ------------------------------------------------------------------------------ separators, quoting, header


@pytest.mark.parametrize(
    ("name", "content", "texts", "separator"),
    [
        (
            "p.csv",
            "Prompt;Kind\na green van;vehicle\na wolf, asleep;animal\n",
            ["a green van", "a wolf, asleep"],
            "semicolon",
        ),
        ("p.csv", "sep=;\r\nprompt;kind\r\na green van;vehicle\r\n", ["a green van"], "semicolon"),
        ("p.csv", "sep=|\nprompt|kind\na green van|vehicle\n", ["a green van"], "|"),
        ("p.csv", "id\tprompt\n1\ta green van, parked\n", ["a green van, parked"], "tab"),
        ("p.tsv", "id,caption\n1,a green van\n", ["a green van"], "comma"),
        ("p.csv", 'prompt\n"a wolf, asleep"\na van\n', ["a wolf, asleep", "a van"], "comma"),
        ("p.csv", "prompt\na wolf, asleep\na van\n", ["a wolf, asleep", "a van"], "none"),
        ("p.csv", "a wolf\na van\n", ["a wolf", "a van"], "comma"),
        ("p.csv", "a wolf, asleep, at night\na van\n", ["a wolf, asleep, at night", "a van"], "none"),
    ],
)
def test_the_separator_is_found_out_and_told(
    tmp_path: Path, name: str, content: str, texts: list[str], separator: str
) -> None:
    path = write(tmp_path, content, name)
    assert read_prompts(path).texts == texts
    assert open_rows(path).found.separator == separator


@pytest.mark.parametrize(
    ("content", "texts", "quoting"),
    [
        ('Prompt\tKind\n"O N E" on a gate\tsigns\na mug\tthings\n', ['"O N E" on a gate', "a mug"], False),
        ('Prompt\tKind\n"gate"\tsigns\na mug\tthings\n', ['"gate"', "a mug"], False),
        ('prompt\n"open\na gate\nshut" on a sign\n', ['"open', "a gate", 'shut" on a sign'], False),
        ('id\tprompt\n1\t"a ""gate"", open"\n2\ta mug\n', ['a "gate", open', "a mug"], True),
        ('id\tprompt\n1\t"a gate\nby night"\n2\ta mug\n', ["a gate by night", "a mug"], True),
        ('"id"\t"prompt"\n"1"\t"a gate"\n', ["a gate"], True),
    ],
)
def test_whether_tabs_come_with_quoting_is_seen_in_the_whole_file(
    tmp_path: Path, content: str, texts: list[str], quoting: bool
) -> None:
    path = write(tmp_path, content, "p.tsv")
    assert read_prompts(path).texts == texts
    assert open_rows(path).found.quoting is quoting


def test_a_first_row_without_a_name_is_a_prompt_and_said_to_be_one(tmp_path: Path) -> None:
    path = write(tmp_path, "a red gate\na mug\n")
    assert read_prompts(path).texts == ["a red gate", "a mug"]
    assert "counts as a prompt" in " ".join(open_rows(path).found.notes)
    assert read_prompts(path, reading=Reading(header=True)).texts == ["a mug"]
    two = write(tmp_path, "a red gate,signs\na mug,things\n", "two.csv")
    with pytest.raises(PromptFileError, match="which column holds the prompts"):
        read_prompts(two)
    assert read_prompts(two, reading=Reading(header=False, column="column 1")).texts == ["a red gate", "a mug"]


@pytest.mark.parametrize("name", ["Prompts", "CAPTION", "Texts", "description", "Descriptions", " prompt "])
def test_columns_are_found_in_capitals_and_in_the_plural(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, f"{name},Kind,Seeds,ID\na gate,signs,7,x1\n")
    [prompt] = read_prompts(path).prompts
    assert (prompt.text, prompt.seed, prompt.source_id) == ("a gate", 7, "x1")


# ------------------------------------------------------------------------------ encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["p.txt", "p.csv", "p.jsonl", "p.json"])
def test_unicode_is_read_with_and_without_its_mark(tmp_path: Path, encoding: str, name: str) -> None:
    texts = ["un café ouvert la nuit", "a mug"]
    content = {
        "p.txt": "\n".join(texts),
        "p.csv": "prompt\n" + "\n".join(texts),
        "p.jsonl": "\n".join(json.dumps(text, ensure_ascii=False) for text in texts),
        "p.json": json.dumps(texts, ensure_ascii=False),
    }[name]
    assert read_prompts(write(tmp_path, content.encode(encoding), name)).texts == texts


@pytest.mark.parametrize("name", ["p.txt", "p.csv", "p.json"])
def test_another_encoding_is_read_where_it_is_named(tmp_path: Path, name: str) -> None:
    text = "un café, “ouvert”"
    content = {"p.txt": text, "p.csv": f'prompt\n"{text}"\n', "p.json": json.dumps([text], ensure_ascii=False)}[name]
    path = write(tmp_path, content.encode("cp1252"), name)
    with pytest.raises(PromptFileError, match=r"line [12]: is not UTF-8 .*; name its encoding"):
        read_prompts(path)
    assert read_prompts(path, reading=Reading(encoding="windows-1252")).texts == [text]
    with pytest.raises(PromptFileError, match="no encoding “latin”"):
        read_prompts(path, reading=Reading(encoding="latin"))


# ------------------------------------------------------------------------------ rows that cannot be used


def test_empty_rows_are_counted_and_left_out_on_request(tmp_path: Path) -> None:
    path = write(tmp_path, "prompt,kind\na gate,x\n,\na mug,y\n  ,z\n")
    trouble = inspect(path).troubles["empty"]
    assert (trouble.count, trouble.first[0]) == (2, "line 3: the prompt is empty")
    assert not inspect(path).usable
    left_out = inspect(path, Reading(skip_empty=True))
    assert left_out.usable
    assert (left_out.count, left_out.troubles["empty"].count) == (2, 2)
    assert read_prompts(path, reading=Reading(skip_empty=True)).texts == ["a gate", "a mug"]


@pytest.mark.parametrize(("raw", "seed"), [("3.0", 3), ("3.", 3), ("", None), ("nan", None), ("007", 7), ("0.0", 0)])
def test_seeds_are_read_as_pandas_writes_them(tmp_path: Path, raw: str, seed: int | None) -> None:
    assert read_prompts(write(tmp_path, f"prompt,seed\na gate,{raw}\n")).prompts[0].seed == seed


def test_columns_of_seeds_and_ids_may_be_ignored(tmp_path: Path) -> None:
    path = write(tmp_path, f"prompt,seed,id\na gate,-4,{'9' * 120}\n")
    with pytest.raises(PromptFileError, match="line 2: the id has 120"):
        read_prompts(path)
    with pytest.raises(PromptFileError, match="line 2: the seed '-4'"):
        read_prompts(path, reading=Reading(ignore_ids=True))
    [prompt] = read_prompts(path, reading=Reading(ignore_ids=True, ignore_seeds=True)).prompts
    assert (prompt.text, prompt.source_id, prompt.seed) == ("a gate", "2", None)


def test_too_long_a_prompt_is_named_or_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, f"{'word ' * 2001}\na mug\n", "p.txt")
    with pytest.raises(PromptFileError, match=r"line 1: the prompt has 10,004 characters, at most 10,000"):
        read_prompts(path)
    assert read_prompts(path, reading=Reading(skip_long=True)).texts == ["a mug"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.docx", b"a gate", "ending “.docx” is none that is read"),
        ("p.csv.gz", b"a gate", "ending “.gz” is none"),
        ("p.txt", b"PK\x03\x04abc", "is a ZIP archive or an Office document"),
        ("p.csv", b"\x89PNG\r\n\x1a\n", "is a PNG picture"),
        ("p.txt", bytes(range(256)) * 4 + bytes(400), "binary data"),
        ("p.parquet", b"PAR1 nothing\nPAR1\n", "is not a Parquet file that can be read"),
        ("p.parquet", b"a gate", "is no Parquet file"),
        ("p.xlsx", b"a gate", "is not an Excel workbook"),
        ("p.zip", b"PK\x03\x04abc", "is not a ZIP archive"),
        ("p.jsonl", b'{"\\ud800":"a","b":"c"}', "is no Unicode text"),
        ("p.jsonl", b'{"prompt": "a", "x":' + b"[" * 900 + b"]" * 900 + b"}", "more than 32 deep"),
        ("p.json", b"[" * 50_000, "more than 32 deep"),
        ("p.json", b'["' + b"a" * 1_100_000 + b'"]', "longer than 1,000,000 bytes"),
        ("p.json", b"[" + b"1" * 1_100_000 + b"]", "longer than 1,000,000 bytes"),
        ("p.json", b'[{"a": 1' + b', "b": 2' * 200_000 + b"}]", "longer than 1,000,000 bytes"),
        ("p.txt", b"a" * (LINE_LIMIT + 1), "line 1: has more than 1,000,000 characters"),
        ("p.csv", b'prompt,b\n1,"' + b'\n","' * 400_000, "a row has more than 1,000,000"),
        ("p.csv", b",".join(b"c%d" % i for i in range(1001)) + b"\n", "1,001 columns, at most 1,000"),
    ],
)
def test_what_cannot_be_used_is_refused_by_kind(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(PromptFileError, match=message) as caught:
        read_prompts(write(tmp_path, content, name))
    assert len(str(caught.value)) <= 600
    str(caught.value).encode()


def test_many_columns_with_long_names_make_a_short_error(tmp_path: Path) -> None:
    path = write(tmp_path, ",".join(f"{i}{'n' * 900}" for i in range(900)) + "\n" + "1," * 899 + "1\n")
    with pytest.raises(PromptFileError, match="which column") as caught:
        read_prompts(path)
    assert "and 890 more" in str(caught.value)


BOUNDED = """
import resource, sys
from evenhand.sampling import containers
from evenhand.sampling.inspection import inspect
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = inspect(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, bool(result.error))
"""


@pytest.mark.parametrize("kind", ["deep.json", "deep.jsonl", "string.json", "quotes.csv", "columns.csv", "line.txt"])
def test_memory_is_bounded_whatever_a_file_holds(tmp_path: Path, kind: str) -> None:
    content = {
        "deep.json": b"[" * 20_000_000,
        "deep.jsonl": b'{"prompt": ' + b"[" * 900_000,
        "string.json": b'["' + b"a" * 20_000_000,
        "quotes.csv": b'prompt,b\n"' + b'\n","' * 5_000_000,
        "columns.csv": b"," * 20_000_000,
        "line.txt": b"a" * 40_000_000,
    }[kind]
    path = write(tmp_path, content, kind)
    run = subprocess.run([sys.executable, "-c", BOUNDED, str(path)], capture_output=True, text=True, env=os.environ)
    assert run.returncode == 0, run.stderr
    grown, refused = run.stdout.split()
    assert refused == "True"
    assert int(grown) < 100_000  # KiB


# ------------------------------------------------------------------------------ properties

words = st.text(
    st.characters(codec="utf-8", exclude_characters='\0\t\r\n\x85\u2028\u2029"', exclude_categories=["C", "Z"]),
    min_size=1,
    max_size=6,
)
prompts = st.lists(
    st.lists(st.one_of(words, st.sampled_from([",", ";", '"', "a,b"])), min_size=2, max_size=5).map(" ".join),
    min_size=1,
    max_size=6,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompts, st.sampled_from(list(SEPARATORS)), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_what_a_program_writes_is_read_back(tmp_path: Path, texts: list[str], separator: str, encoding: str) -> None:
    """Without a word about separator, quoting or encoding."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=SEPARATORS[separator])
    writer.writerow(["id", "Prompts", "kind"])
    writer.writerows([i, text, "x"] for i, text in enumerate(texts))
    path = write(tmp_path, out.getvalue().encode(encoding))
    assert read_prompts(path).texts == texts
    assert open_rows(path).found.separator == separator


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompts)
def test_tabs_without_quoting_are_read_back(tmp_path: Path, texts: list[str]) -> None:
    content = "Prompt\tKind\n" + "".join(f"{text}\tx\n" for text in texts)
    found = read_prompts(write(tmp_path, content, "p.tsv"), reading=Reading(quoting=False))
    assert found.texts == texts
    if not any(text.startswith('"') for text in texts):
        assert read_prompts(tmp_path / "p.tsv").texts == texts


NAMES = ["p.csv", "p.tsv", "p.txt", "p.json", "p.jsonl", "p.xlsx", "p.parquet", "p.zip"]
MAGIC = [
    b"",
    b"PK\x03\x04",
    b"PAR1",
    b"[",
    b'{"annotations": [',
    b"sep=;\n",
    b'"',
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"prompt,id\n",
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from(MAGIC), st.sampled_from(NAMES))
def test_random_bytes_give_prompts_or_an_error_that_names_the_file(
    tmp_path: Path, content: bytes, magic: bytes, name: str
) -> None:
    path = write(tmp_path, magic + content, name)
    result = inspect(path)
    if result.error is not None:
        assert str(path) in str(result.error)
    try:
        assert len(read_prompts(path).prompts) == result.count
    except PromptFileError:
        assert not result.usable


# ------------------------------------------------------------------------------ workbooks, Parquet, folders, archives


def test_a_workbooks_first_sheet_is_read(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["Nr", None], [], ["ID", "Prompt", "Seed"], [7, "a gate", 4], [8.0, "a  mug", None], [9, None, 2]):
        sheet.append(row)
    sheet.delete_rows(1)
    book.create_sheet("Notes").append(["nothing"])
    path = tmp_path / "p.xlsx"
    book.save(path)
    result = inspect(path, Reading(skip_empty=True))
    assert [(p.source_id, p.text, p.seed) for p in result.first] == [("7", "a gate", 4), ("8", "a mug", None)]
    assert result.troubles["empty"].first == ["row 5: the prompt is empty"]
    assert result.found is not None
    assert "the first of 2" in " ".join(result.found.notes)


def test_a_parquet_files_columns_are_read(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"Caption": ["a gate", "a mug", None], "seed": [1.0, None, 3.0], "size": [1, 2, 3]})
    path = tmp_path / "p.parquet"
    pyarrow.parquet.write_table(table, path)
    found = read_prompts(path, reading=Reading(skip_empty=True))
    assert [(p.text, p.seed, p.source_id) for p in found.prompts] == [("a gate", 1, "1"), ("a mug", None, "2")]
    with pytest.raises(PromptFileError, match="'size' holds no text, but int64"):
        read_prompts(path, "size")


def test_one_long_text_in_every_row_of_a_parquet_file_is_refused(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"prompt": ["a" * 2_000_000] * 20}), tmp_path / "p.parquet")
    with pytest.raises(PromptFileError, match="a value of 2,000,000 bytes"):
        read_prompts(tmp_path / "p.parquet")


def zipped(path: Path, members: dict[str, Any]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_a_folder_and_an_archive_give_one_prompt_a_file_in_the_order_of_numbers(tmp_path: Path) -> None:
    members = {"10.txt": "a mug", "2.txt": "a gate\nby night\n", "1.caption": "\ufeffa van"}
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, content in members.items():
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "1.png").write_bytes(b"\x89PNG")  # pictures lie beside their captions
    path = zipped(tmp_path / "p.zip", {f"set/{name}": content for name, content in members.items()})
    for source in (folder, path):
        found = [(prompt.source_id, prompt.text) for prompt in read_prompts(source).prompts]
        assert found == [("1", "a van"), ("2", "a gate by night"), ("10", "a mug")]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../a.txt": "a gate"}, "leads out of the archive"),
        ({"/a.txt": "a gate"}, "leads out of the archive"),
        ({"C:\\a.txt": "a gate"}, "leads out of the archive"),
        ({"a.csv": "prompt\na gate\n"}, "holds “a.csv”; an archive may hold texts alone"),
        ({"a.txt": "a" * 50_000}, "a.txt: is longer than a prompt"),
        ({"a.txt": b"caf\xe9"}, "a.txt: is not UTF-8"),
        ({".hidden.txt": "a gate"}, "holds no file"),
        ({f"{i}.txt": bytes(500_000) for i in range(4)}, "unpacks to 2,000,000 bytes"),
        ({f"{'n' * 100}{i}.txt": "" for i in range(600)}, "holds more files than are read"),
    ],
)
def test_an_archive_that_is_a_trap_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(containers, "FILE_LIMIT", 1_000_000)
    monkeypatch.setattr(containers, "DIRECTORY_LIMIT", 60_000)
    with pytest.raises(PromptFileError, match=message):
        read_prompts(zipped(tmp_path / "p.zip", members))


def test_an_archive_s_file_without_a_name_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "p.zip", {".": "a gate"})
    with pytest.raises(PromptFileError, match="holds a file without a name"):
        read_prompts(path)
    path.write_bytes(without_name(zipped(tmp_path / "q.zip", {"a": "a gate"}).read_bytes()))
    with pytest.raises(PromptFileError, match="holds a file without a name"):
        read_prompts(path)


def test_more_prompts_than_are_taken_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "a gate\n" * 7, "p.txt")
    for most in (6, 7):
        result = inspect(path, Reading(most=most))
        assert (result.error is None) == (most == 7)
    with pytest.raises(PromptFileError, match="holds more than 6 prompts"):
        read_prompts(path, reading=Reading(most=6))
    assert len(read_prompts(path, reading=Reading(most=6, limit=6)).texts) == 6


def test_a_path_that_no_file_can_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(PromptFileError, match=r"cannot be read \(File name too long"):
        read_prompts(tmp_path / f"{'n' * 300}.csv")


def test_a_huge_text_is_refused_before_its_words_are_taken_apart() -> None:
    """A workbook holds a text once, however many cells show it."""
    with pytest.raises(ValueError, match=r"has 1,500,000 characters, at most 10,000"):
        clean("word " * 300_000)
