"""Prompt files: what they give, and what their errors name."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenhand.sampling.prompts import (
    PromptFileError,
    Reading,
    SourcePrompt,
    clean,
    prompts_sha256,
    read_prompts,
    stream_prompts,
)


def write(folder: Path, content: str | bytes, name: str = "prompts.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_table_with_ids_seeds_quotes_and_stray_space(tmp_path: Path) -> None:
    content = 'image_id,prompt,evaluation_seed\n007,a dog,5\n8,"a  cat,\nasleep ",\n 9 ,a dog,9223372036854775807\n'
    file = read_prompts(write(tmp_path, content))
    assert file.prompts == [
        SourcePrompt("a dog", "007", 5),
        SourcePrompt("a cat, asleep", "8", None),
        SourcePrompt("a dog", "9", 2**63 - 1),
    ]
    assert (file.trimmed, file.duplicates) == (1, 1)


def test_without_an_id_column_the_id_is_the_line_a_row_begins_on(tmp_path: Path) -> None:
    file = read_prompts(write(tmp_path, 'caption\n"two\nlines"\n\nplain\n'))
    assert [(p.text, p.source_id) for p in file.prompts] == [("two lines", "2"), ("plain", "5")]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_plain_text_is_one_prompt_a_line(tmp_path: Path, ending: str) -> None:
    file = read_prompts(write(tmp_path, ending.join(["a dog, asleep", "", "  a cat"]), "prompts.txt"))
    assert file.prompts == [SourcePrompt("a dog, asleep", "1"), SourcePrompt("a cat", "3")]
    assert file.trimmed == 1


def test_tabs_separate_a_tsv(tmp_path: Path) -> None:
    file = read_prompts(write(tmp_path, "id\ttext\n1\ta dog, a cat\n", "prompts.TSV"))
    assert file.prompts == [SourcePrompt("a dog, a cat", "1")]


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    assert read_prompts(write(tmp_path, b"\xef\xbb\xbfprompt\na dog\n")).texts == ["a dog"]


@pytest.mark.parametrize(
    ("header", "column", "expected"),
    [
        ("a,prompt,text", None, "2"),
        ("caption,a,b", None, "1"),
        ("a,b,text", None, "3"),
        ("a,b,prompt", "a", "1"),
        (" a , b ,c", "b", "2"),
    ],
)
def test_the_prompts_column(tmp_path: Path, header: str, column: str | None, expected: str) -> None:
    assert read_prompts(write(tmp_path, f"{header}\n1,2,3\n"), column).texts == [expected]


def test_the_only_column_needs_no_name(tmp_path: Path) -> None:
    assert read_prompts(write(tmp_path, "prompt_en\na dog\n")).texts == ["a dog"]
    named = Reading(header=True)
    assert read_prompts(write(tmp_path, "anything\na dog\n"), reading=named).texts == ["a dog"]


TABLE = "image_id,prompt,seed\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", "", "holds no prompts"),
        ("p.csv", "\n", "holds no prompts"),
        ("p.csv", "prompt\n", "holds no prompts"),
        ("p.txt", " \n\n", "holds no prompts"),
        ("p.csv", "a,b\n1,2\n", "which column holds the prompts.* a, b"),
        ("p.csv", "prompt,prompt\n1,2\n", "'prompt' occurs 2 times"),
        ("p.csv", "id,id,prompt\n1,2,3\n", "'id' occurs 2 times"),
        ("p.csv", TABLE + "1,a dog,5\n2,a cat\n", "line 3: 2 fields, the header has 3"),
        ("p.csv", TABLE + '1,"a\ndog",5\n2,a,b,c\n', "line 4: 4 fields, the header has 3"),
        ("p.csv", TABLE + '1,"a\ndog",5\n2,  ,6\n', "line 4: the prompt is empty"),
        ("p.csv", TABLE + "1,a dog,5\n2,a\0cat,6\n", "line 3: the prompt holds a NUL"),
        ("p.csv", TABLE + "1\0,a dog,5\n", "line 2: the id holds a NUL"),
        ("p.csv", TABLE + f"{'7' * 101},a dog,5\n", "line 2: the id has 101 characters, at most 100"),
        ("p.txt", "a dog\na\0cat\n", "line 2: the prompt holds a NUL"),
        ("p.csv", TABLE + "1,a dog,-5\n", "line 2: the seed '-5'"),
        ("p.csv", TABLE + "1,a dog,1.5\n", r"line 2: the seed '1\.5'"),
        ("p.csv", TABLE + f"1,a dog,{2**63}\n", "line 2: the seed '9223372036854775808'"),
        ("p.csv", TABLE + f"1,a dog,{'9' * 5000}\n", "line 2: the seed"),
        ("p.csv", TABLE + '1,a dog,5\n2,"a cat,6\n3,a cow,7\n', "line 3: unexpected end of data"),
        ("p.csv", TABLE + '1,a dog,5\n2,"a" cat,6\n', "line 3: ',' expected after '\"'"),
        ("p.csv", TABLE + f"1,{'x' * 140_000},5\n", "line 2: field larger than field limit"),
    ],
)
def test_an_error_names_the_file_and_the_line_or_column(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = write(tmp_path, content, name)
    with pytest.raises(PromptFileError, match=message) as caught:
        read_prompts(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_other_encodings_are_named_with_their_line(tmp_path: Path, mark: bytes) -> None:
    path = write(tmp_path, mark + b"prompt\n" + b"a dog\n" * 5000 + "a café\n".encode("latin-1"))
    with pytest.raises(PromptFileError, match=r"prompts\.csv: line 5002: is not UTF-8"):
        read_prompts(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(PromptFileError, match=r"none\.csv: cannot be read \(No such file"):
        read_prompts(tmp_path / "none.csv")
    with pytest.raises(PromptFileError, match=r"holds no file that ends in \.txt"):
        read_prompts(tmp_path)


def test_a_missing_column_lists_those_there_are(tmp_path: Path) -> None:
    path = write(tmp_path, "id,prompt\n1,a dog\n")
    with pytest.raises(PromptFileError, match="no column 'captions'; the columns are id, prompt"):
        read_prompts(path, "captions")


def test_plain_text_has_no_columns(tmp_path: Path) -> None:
    with pytest.raises(PromptFileError, match="plain text has no column 'prompt'"):
        read_prompts(write(tmp_path, "a dog\n", "prompts.txt"), "prompt")


# ------------------------------------------------------------------------------ JSON

COCO = {  # the shape of COCO's captions_val2014.json: ids ascend by image, annotations do not
    "info": {"year": 2014},
    "images": [{"id": 203564, "file_name": "COCO_val2014_000000203564.jpg"}],
    "annotations": [
        {"image_id": 203564, "id": 37, "caption": "A bicycle replica with a clock as the front wheel."},
        {"image_id": 179765, "id": 38, "caption": "A black Honda motorcycle parked in front of a garage.\n"},
        {"image_id": 203564, "id": 31, "caption": "A room with blue walls "},
    ],
}


def test_cocos_annotations_keep_the_files_order_and_their_images(tmp_path: Path) -> None:
    file = read_prompts(write(tmp_path, json.dumps(COCO), "captions_val2014.json"))
    assert file.prompts == [
        SourcePrompt("A bicycle replica with a clock as the front wheel.", "203564"),
        SourcePrompt("A black Honda motorcycle parked in front of a garage.", "179765"),
        SourcePrompt("A room with blue walls", "203564"),
    ]
    assert file.trimmed == 2


def test_json_may_be_a_plain_list(tmp_path: Path) -> None:
    assert read_prompts(write(tmp_path, '["a dog", "a cat"]', "p.json")).texts == ["a dog", "a cat"]
    file = read_prompts(write(tmp_path, '[{"text": "a dog", "seed": 7}, {"text": "a cat"}]', "p.json"))
    assert file.prompts == [SourcePrompt("a dog", "0", 7), SourcePrompt("a cat", "1")]


def test_json_lines_are_prompts_or_objects_that_hold_one(tmp_path: Path) -> None:
    content = '{"id": "x", "prompt": "a  dog", "seed": "5"}\n\n{"id": "y", "prompt": "a cat"}\n'
    file = read_prompts(write(tmp_path, content, "p.jsonl"))
    assert file.prompts == [SourcePrompt("a dog", "x", 5), SourcePrompt("a cat", "y")]
    assert read_prompts(write(tmp_path, '"a dog"\n"a cat"\n', "p.jsonl")).texts == ["a dog", "a cat"]
    named = read_prompts(write(tmp_path, '{"left": "a dog", "right": "a cat"}\n', "p.jsonl"), "right")
    assert named.texts == ["a cat"]


def test_a_stream_reads_no_further_than_it_is_asked(tmp_path: Path) -> None:
    path = write(tmp_path, '"a dog"\n' * 3 + "not JSON\n", "p.jsonl")
    stream = stream_prompts(path)
    assert [next(stream).text for _ in range(3)] == ["a dog"] * 3
    with pytest.raises(PromptFileError, match="line 4: is not JSON"):
        next(stream)
    assert len(list(stream_prompts(path, limit=3))) == 3


@pytest.mark.parametrize("name", ["p.csv", "p.txt", "p.jsonl", "p.json"])
def test_a_limit_takes_the_first_and_says_if_there_are_fewer(tmp_path: Path, name: str) -> None:
    texts = ["a dog", "a cat", "a cow"]
    contents = {
        "p.csv": "prompt\n" + "\n".join(texts),
        "p.txt": "\n".join(texts),
        "p.jsonl": "\n".join(map(json.dumps, texts)),
        "p.json": json.dumps(texts),
    }
    path = write(tmp_path, contents[name], name)
    assert read_prompts(path, limit=2).texts == texts[:2]
    assert read_prompts(path, limit=3).texts == texts
    with pytest.raises(PromptFileError, match="holds 3 prompts, the first 4 were asked for"):
        read_prompts(path, limit=4)
    with pytest.raises(PromptFileError, match="at least 1, not 0"):
        read_prompts(path, limit=0)


@given(st.lists(st.text(min_size=1).filter(lambda text: text.split()), min_size=1), st.booleans())
def test_json_is_read_as_the_standard_library_reads_it(tmp_path_factory: Any, texts: list[str], escaped: bool) -> None:
    path = tmp_path_factory.mktemp("json") / "p.json"
    content = json.dumps({"info": {"annotations": ["no"]}, "annotations": [{"caption": text} for text in texts]})
    content = content if escaped else json.dumps(json.loads(content), ensure_ascii=False)
    try:
        path.write_text(content, encoding="utf-8")
        expected = [clean(text) for text in texts]
    except ValueError:  # no Unicode text
        return
    assert read_prompts(path).texts == expected


@pytest.mark.parametrize("wrapped", [False, True])
def test_json_is_a_stream(tmp_path: Path, wrapped: bool) -> None:
    """The first prompts are there before the parser comes to what is wrong behind them."""
    listed = "[" + ", ".join(f'"prompt {i}"' for i in range(20_000)) + ", oops]"
    path = write(tmp_path, f'{{"images": [1, 2], "annotations": {listed}}}' if wrapped else listed, "p.json")
    assert read_prompts(path, limit=3).texts == ["prompt 0", "prompt 1", "prompt 2"]
    with pytest.raises(PromptFileError, match="is not JSON"):
        read_prompts(path)


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(b"\xef\xbb\xbf" + '["a dög"]'.encode())
    assert read_prompts(path).texts == ["a dög"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", "{", "is not JSON"),
        ("p.json", '{"images": []}', "neither a list of prompts nor .* “annotations”"),
        ("p.json", '{"annotations": []}', "holds no prompts"),
        ("p.json", '{"annotations": [{"image_id": 1, "caption": "a dog"}, {"image_id": 2}]}', r"s\[1\]: .*'cap"),
        ("p.json", '{"annotations": [{"image_id": 1, "caption": " "}]}', r"annotations\[0\]: the prompt is empty"),
        ("p.json", '[{"a": "x", "b": "y"}]', "which column holds the prompts.* a, b"),
        ("p.json", '["a dog", 3]', r"prompts\[1\]: is no object with a prompt, but 3"),
        ("p.json", "", "is not JSON"),
        ("p.json", '"a dog"', "neither a list of prompts"),
        ("p.json", '["a dog"] ["a cat"]', "is not JSON"),
        ("p.json", '["a dog", "a c', "is not JSON"),
        ("p.json", '["a \\ud800"]', r"prompts\[0\]: .* no Unicode text"),
        ("p.jsonl", '{"prompt": "a dog"}\n{"prompt": 3}\n', "line 2: there is no text under 'prompt'"),
        ("p.jsonl", '{"prompt": "a dog"}\n{"prompt": "a', "line 2: is not JSON"),
        ("p.jsonl", '{"prompt": "a dog", "seed": 1.5}\n', r"line 1: the seed '1\.5'"),
        ("p.jsonl", '{"prompt": "a \\ud800"}\n', "line 1: .* no Unicode text"),
        ("p.jsonl", "", "holds no prompts"),
    ],
)
def test_bad_json_is_named_with_its_place(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = write(tmp_path, content, name)
    with pytest.raises(PromptFileError, match=message) as caught:
        read_prompts(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_half_a_surrogate_pair_is_no_prompt() -> None:
    with pytest.raises(ValueError, match="character 2 is no Unicode text"):
        clean("a \ud800")


def test_the_hash_is_over_json_lines() -> None:
    # printf '"a dog"\n"caf\xc3\xa9 \\"x\\""\n' | sha256sum
    expected = hashlib.sha256(b'"a dog"\n"caf\xc3\xa9 \\"x\\""\n').hexdigest()
    assert prompts_sha256(["a dog", 'café "x"']) == expected


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_two_lists_have_one_hash_only_if_they_are_equal(first: list[str], second: list[str]) -> None:
    assert (prompts_sha256(first) == prompts_sha256(second)) == (first == second)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=8))
def test_what_the_csv_writer_writes_is_read_back_trimmed(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    texts = [f"{text}." for text in texts]
    path = tmp_path_factory.mktemp("round") / "prompts.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "prompt"])
        writer.writerows(enumerate(texts))
    file = read_prompts(path)
    assert file.texts == [" ".join(text.split()) for text in texts]
    assert [prompt.source_id for prompt in file.prompts] == [str(i) for i in range(len(texts))]
    assert file.trimmed == sum(kept != text for kept, text in zip(file.texts, texts, strict=True))
    assert file.duplicates == len(texts) - len(set(file.texts))
