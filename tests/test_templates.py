"""Templates and styles stay readable: one element a line, nothing twice, colours by their names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = {path.relative_to(ROOT / "templates").as_posix(): path for path in (ROOT / "templates").rglob("*.html")}
STYLES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "static").rglob("*.css")}
CONTAINERS = "form|section|fieldset|table|thead|tbody|tr|ul|ol|dl|figure|details|nav|header|footer"

each_template = pytest.mark.parametrize("name", sorted(TEMPLATES))


def lines_of(name: str) -> list[tuple[int, str]]:
    return list(enumerate(TEMPLATES[name].read_text(encoding="utf-8").splitlines(), 1))


@each_template
def test_lines_are_short_where_they_can_be_broken(name: str) -> None:
    """A message stands on one line, because its text is its name in the catalogues."""
    long = [number for number, line in lines_of(name) if len(line) > 120 and "translate" not in line]
    unbreakable = [
        number for number in long if re.fullmatch(r'\s*(\S+|alt="[^"]*">|{%.*%})', lines_of(name)[number - 1][1])
    ]
    assert [number for number in long if number not in unbreakable] == []


@each_template
def test_an_element_that_holds_others_has_its_own_lines(name: str) -> None:
    """A list, table, form or section opens and closes alone; its items stand below it."""
    crowded = [
        number
        for number, line in lines_of(name)
        if (tags := re.findall(rf"</?(?:{CONTAINERS})\b", line))
        and (len(tags) > 1 or not re.match(rf"\s*</?(?:{CONTAINERS})\b", line))
    ]
    assert crowded == []


@each_template
def test_items_stand_one_a_line(name: str) -> None:
    items = re.compile(r"<(?:li|td|th|dt|dd|p|h[1-6]|option|div)\b")
    assert [number for number, line in lines_of(name) if len(items.findall(line)) > 1] == []


def test_what_is_included_is_there_and_every_part_is_included() -> None:
    included = {
        target for path in TEMPLATES.values() for target in re.findall(r'{% include "([^"]+)"', path.read_text())
    }
    views = "".join(path.read_text() for path in (ROOT / "studies").rglob("*.py"))
    parts = {name for name in TEMPLATES if name.rpartition("/")[2].startswith("_")}
    assert included <= set(TEMPLATES)
    assert {part for part in parts - included if part not in views} == set()


def test_tags_are_written_in_one_way() -> None:
    djade = Path(sys.executable).parent / "djade"
    command = [djade, "--check", "--target-version", "5.2", *TEMPLATES.values()]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(STYLES))
def test_colours_have_names(name: str) -> None:
    """A colour's value stands in the definition of a custom property only."""
    colour = re.compile(r"#[0-9a-fA-F]{3,8}\b|\b(?:rgb|hsl|oklch|lab)a?\(|:\s*(?:white|black|gr[ae]y|red|green|blue)\b")
    rules = re.sub(r"/\*.*?\*/", "", STYLES[name], flags=re.DOTALL)
    undefined = re.sub(r"--[\w-]+\s*:[^;}]*", "", rules)
    assert colour.findall(undefined) == []


def test_every_custom_property_is_defined_and_used() -> None:
    text = "".join(STYLES.values()) + "".join(
        path.read_text() for path in [*TEMPLATES.values(), *(ROOT / "static").rglob("*.js")]
    )
    defined = set(re.findall(r"(--[\w-]+)\s*:", "".join(STYLES.values())))
    assert set(re.findall(r"var\((--[\w-]+)", text)) == defined


@each_template
def test_no_colour_stands_in_a_template(name: str) -> None:
    text = TEMPLATES[name].read_text(encoding="utf-8")
    assert re.findall(r'(?:style|fill|stroke)="[^"]*(?:#[0-9a-fA-F]{3,8}|rgb)[^"]*"', text) == []
