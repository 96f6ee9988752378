from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenhand.studies.uploaded.names import UnsafeNameError, is_hidden, safe_name


@pytest.mark.parametrize(
    "name",
    [
        "../a.png", "a/../../b.png", "a/..", "/etc/passwd", "\\\\server\\share\\a.png", "C:\\a.png", "c:a.png",
        "a/D:/b.png", "..\\a.png", "a\0.png", "a\n.png", "", ".", "./", "\ud800.png", "x" * 1001,
    ],
)  # fmt: skip
def test_a_name_that_leads_out_or_is_none_is_refused(name: str) -> None:
    with pytest.raises(UnsafeNameError):
        safe_name(name)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a/b.png", "a/b.png"),
        ("./a//b.png", "a/b.png"),
        ("a\\b.png", "a/b.png"),
        ("..a/b..png", "..a/b..png"),
        ("cafe\u0301.png", "café.png"),
        ("CON.png", "CON.png"),
    ],
)
def test_other_names_have_one_form(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text(max_size=60) | st.lists(st.sampled_from(["..", ".", "a", "C:", "/", "\\", "\0", "é"])).map("/".join))
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    try:
        safe = safe_name(name)
    except UnsafeNameError:
        return
    assert (Path("/root/folder") / safe).resolve().is_relative_to("/root/folder")
    assert ".." not in PurePosixPath(safe).parts
    assert safe_name(safe) == safe
    safe.encode()


def test_what_systems_add_is_hidden() -> None:
    assert all(map(is_hidden, ("__MACOSX/a/._b.png", ".DS_Store", "a/.b.png", "a/Thumbs.db")))
    assert not is_hidden("a/b.png")
