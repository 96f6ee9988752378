from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenhand.studies.uploaded.matching import (
    KnownPrompt,
    MatchingError,
    arms_of,
    folded,
    match_names,
    match_table,
)
from evenhand.studies.uploaded.tables import TableError, read_table

PROMPTS = [
    KnownPrompt(0, "A red car", "coco-7"),
    KnownPrompt(1, "A blue dog, sitting", ""),
    KnownPrompt(2, "Two people on a bench in the park", ""),
    KnownPrompt(3, "Two people on a bench at the sea", ""),
]


def _table(folder: Path, text: str, name: str = "pairs.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_numbers_in_names_are_indices() -> None:
    names = ["x/a/0000.png", "x/a/img_1.png", "x/b/0.png", "x/b/1.jpg", "x/b/9.png", "x/b/1_2.png", "x/b/none.png"]
    matched = match_names(names, PROMPTS, rule="index")
    assert matched.arms == ("a", "b")
    assert [(row.index, row.files) for row in matched.rows] == [
        (0, {"a": "x/a/0000.png", "b": "x/b/0.png"}),
        (1, {"a": "x/a/img_1.png", "b": "x/b/1.jpg"}),
    ]
    assert matched.loose == {
        "x/b/9.png": "has a number that no prompt has",
        "x/b/1_2.png": "holds several numbers",
        "x/b/none.png": "holds no number",
    }


def test_numbers_may_begin_at_one() -> None:
    matched = match_names(["a/1.png", "b/1.png", "b/5.png"], PROMPTS, rule="index", first_number=1)
    assert [row.index for row in matched.rows] == [0]
    assert set(matched.loose) == {"b/5.png"}


def test_two_files_for_one_place_are_told() -> None:
    matched = match_names(["a/1.png", "a/01.png", "b/1.png"], PROMPTS, rule="index")
    assert matched.doubles == ["prompt 1, a: a/1.png and a/01.png"]


def test_names_are_ids_texts_or_their_beginnings() -> None:
    names = [
        "a/COCO_7.png", "b/a-red_car.webp", "a/A blue dog, sitting.png", "b/a_blue_dog_sitting.png",
        "a/two people on a bench in.png", "b/two people on a bench.png", "b/dog.png",
    ]  # fmt: skip
    matched = match_names(names, PROMPTS, rule="name")
    assert {row.index: set(row.files) for row in matched.rows} == {0: {"a", "b"}, 1: {"a", "b"}, 2: {"a"}}
    assert matched.loose == {"b/two people on a bench.png": "fits several prompts", "b/dog.png": "fits no prompt"}


def test_one_folder_is_no_two_arms() -> None:
    with pytest.raises(MatchingError, match="folder or an archive of its own"):
        match_names(["a/1.png", "a/2.png"], PROMPTS, rule="index")


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join), min_size=1, unique=True))
def test_an_arm_is_a_folder_of_the_file(names: list[str]) -> None:
    for name, arm in arms_of([f"{name}/x.png" for name in names]).items():
        assert arm == "" or arm in name.split("/")[:-1]


@given(st.text(max_size=40))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_of_pairs_brings_its_prompts(tmp_path: Path, separator: str) -> None:
    rows = [
        ["Prompt", "First", "Second", "Stratum", "Seed"],
        ["a red  car ", "one/1.png", "two/1.png", "easy", "7"],
        ["a red car", "2.png", "other.png", "", ""],
        ["lost", "one/1.png", "missing.png", "", ""],
    ]
    table = read_table(_table(tmp_path, "\n".join(separator.join(row) for row in rows)), "pairs.csv")
    matched = match_table(["one/1.png", "one/2.png", "two/1.png", "two/other.png", "two/x.png"], table, None)
    assert matched.arms == ("first", "second")
    assert [(row.text, row.stratum, row.seed, row.files) for row in matched.rows[:2]] == [
        ("a red car", "easy", 7, {"first": "one/1.png", "second": "two/1.png"}),
        ("a red car", "", None, {"first": "one/2.png", "second": "two/other.png"}),
    ]
    assert matched.lost == ["line 4: there is no file one/1.png, missing.png"]
    assert matched.loose == {"two/x.png": "is named by no line of the table"}


def test_a_table_names_prompts_of_a_set(tmp_path: Path) -> None:
    text = "index,arm,file\n0,a,x.png\n0,b,y.png\n7,a,x.png\n1,a,a/z.png\n"
    table = read_table(_table(tmp_path, text), "t.csv")
    matched = match_table(["a/x.png", "a/z.png", "b/y.png"], table, PROMPTS)
    assert [(row.text, row.files) for row in matched.rows] == [
        ("A red car", {"a": "a/x.png", "b": "b/y.png"}),
        ("A blue dog, sitting", {"a": "a/z.png"}),
    ]
    assert matched.lost == ["line 4: no prompt of the set is meant"]
    with pytest.raises(MatchingError, match="choose the prompt set"):
        match_table(["a/x.png"], table, None)


def test_a_second_pair_of_a_prompt_of_a_set_is_told(tmp_path: Path) -> None:
    text = "index,first,second\n0,a.png,b.png\n0,c.png,d.png\n"
    table = read_table(_table(tmp_path, text), "t.csv")
    assert match_table(["a.png", "b.png", "c.png", "d.png"], table, PROMPTS).doubles == [
        "line 3: a second pair of prompt 0"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the heading names nothing"),
        ("a,b\n1,2\n", "the heading names a, b"),
        ("prompt,first,second\n", "no rows"),
        ("prompt,first,second\nx,../a.png,b.png\n", "line 2: the name '../a.png' leads out"),
        ("prompt,first,second\n,a.png,b.png\n", "line 2: the prompt is empty"),
        ("prompt,first,second\nx,a.png\n", "line 2: has 2 cells"),
        ("prompt,first,second,seed\nx,a.png,b.png,-1\n", "line 2: the seed “-1”"),
        ("prompt,first,second,stratum\nx,a.png,b.png," + "s" * 21 + "\n", "line 2: the stratum has 21"),
        ("prompt,text,file\nx,y,a.png\n", "two columns could be “prompt”"),
        ('prompt,first,second\n"x,a.png,b.png\n', "t.csv"),
    ],
)
def test_a_table_that_cannot_be_used_names_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError) as caught:
        read_table(_table(tmp_path, text), "t.csv")
    assert message in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_mark_of_excel_and_of_encodings_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffsep=;\nprompt;first;second\nÄpfel;a.png;b.png\n".encode())
    assert read_table(path, "t.csv").entries[0].prompt == "Äpfel"
