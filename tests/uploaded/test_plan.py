from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evenhand.studies.uploaded.collection import CollectionError, Matching
from evenhand.studies.uploaded.matching import MatchingError
from evenhand.studies.uploaded.plan import Choices, Plan
from tests.helpers.factories import make_prompt_set
from tests.helpers.pictures import pairs_table, picture, two_arms
from tests.helpers.ready_made import planned


def told(plan: Plan) -> str:
    """All findings with their names, one a line."""
    return "\n".join(f"{'BLOCKS ' if each.blocks else ''}{each.text}: {each.names}" for each in plan.findings)


def test_everything_is_told_before_anything_is_stored(tmp_path: Path) -> None:
    files = two_arms(6) | {"pairs.csv": pairs_table(6) + b"\nlost,apple/0001.png,berry/9.png"}
    files["apple/0001.png"] = files["apple/0001.png"][:60]
    files["berry/0002.png"] = files["apple/0002.png"]
    files["berry/extra.png"] = picture(77)
    files["notes.docx"] = b"x"
    plan, _ = planned(tmp_path, files)
    text = told(plan)
    assert plan.takable, text
    assert len(plan.pairs) == 5
    assert "1 file that is not taken: ('apple/0001.png: is no readable" in text
    assert "('notes.docx: is no PNG, JPEG, WebP or CSV file by its name',)" in text
    assert "('berry/extra.png: is named by no line of the table',)" in text
    assert "1 line of the table without its file or prompt" in text
    assert "2 prompts without a picture of “first”: ('a thing of kind 1', 'lost')" in text
    assert "1 pair of one and the same file" in text
    assert "No practice and no attention checks" in text


def test_pairs_of_unequal_size_are_refused_left_out_or_fitted(tmp_path: Path) -> None:
    files = two_arms(4) | {"pairs.csv": pairs_table(4)}
    files["berry/0003.png"] = picture(9, (64, 32))
    plan, _ = planned(tmp_path, files)
    assert not plan.takable
    assert "BLOCKS 1 pair of unequal size" in told(plan)
    assert "a thing of kind 3: 48×48 and 64×32" in told(plan)
    plan, _ = planned(tmp_path, files, choices=Choices("leave out"))
    assert (plan.takable, len(plan.pairs), plan.sizes) == (True, 3, {"48×48": 3})
    plan, _ = planned(tmp_path, files, choices=Choices("fit"))
    assert (plan.takable, plan.sizes) == (True, {"48×48": 3, "48×32": 1})


@pytest.mark.parametrize("hold_out", [False, True])
def test_checks_need_prompts_that_are_in_no_pair(tmp_path: Path, hold_out: bool) -> None:
    files = two_arms(9) | {"pairs.csv": pairs_table(9)}
    plan, _ = planned(tmp_path, files, choices=Choices(hold_out=hold_out), practice_trials=1, attention_checks=1)
    assert plan.takable == hold_out
    if hold_out:
        assert len(plan.pairs) == 4
        assert {pair.row for pair in plan.pairs}.isdisjoint(plan.check_rows)
        assert "5 prompts are held out" in told(plan)
    else:
        assert "Practice and checks need 5 prompts" in told(plan)


@pytest.mark.django_db
def test_spare_pictures_serve_for_checks(tmp_path: Path) -> None:
    files = two_arms(9)
    for number in range(4, 9):
        del files[f"berry/{number:04d}.png"]
    plan, _ = planned(tmp_path, files, make_prompt_set(), practice_trials=1, attention_checks=1)
    assert plan.takable, told(plan)
    assert (len(plan.pairs), len(plan.check_rows)) == (4, 5)


@pytest.mark.django_db
def test_three_arms_have_one_baseline(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, two_arms(3, ("a", "b", "c")), make_prompt_set(), choices=Choices(baseline="b"))
    assert plan.arms == ("b", "a", "c")
    assert plan.pairs_by_arm == {"a": 3, "c": 3}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("files", "matching", "error", "message"),
    [
        ({"notes.txt": b""}, None, CollectionError, "there is no picture"),
        (two_arms(2), Matching(None), CollectionError, "choose the prompt set"),
        (two_arms(2) | {"a.csv": b"x", "b.csv": b"x"}, None, CollectionError, "several tables"),
        ({"a/1.png": picture(1)}, "set", MatchingError, "folder or an archive of its own"),
    ],
)
def test_what_cannot_be_planned_is_an_error(
    tmp_path: Path, files: dict[str, bytes], matching: Any, error: type[Exception], message: str
) -> None:
    given = Matching(make_prompt_set()) if matching == "set" else matching
    with pytest.raises(error, match=message):
        planned(tmp_path, files, matching=given)
