"""Templates and styles stay readable: one element a line, nothing twice, colours by their names."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from PIL.ImageColor import colormap

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = {path.relative_to(ROOT / "templates").as_posix(): path for path in (ROOT / "templates").rglob("*.html")}
MARKUP = {name: path.read_text(encoding="utf-8") for name, path in TEMPLATES.items()}
STYLES = {
    path.name: re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for path in (ROOT / "static").rglob("*.css")
}
BLOCK = (
    r"<(?:p|li|tr|td|th|dt|dd|div|section|header|footer|nav|main|form|h[1-6]|ul|ol|dl|table|thead|tbody|details|summary"
    r"|fieldset|legend|figure|figcaption|button|label|input|textarea|select|option|progress)\b"
)
# a short item, which may hold one more element
ITEM = re.compile(r"\s*<(li|td|th|dt|dd)\b(?P<content>((?!</\1>).)*)</\1>")
COLOUR = re.compile(r"#[0-9a-f]{3,8}\b|\b(?:rgb|hsl|hwb|lab|lch|oklab|oklch|color|color-mix)a?\(", re.IGNORECASE)


def lines_where(is_bad: Callable[[str], object]) -> list[str]:
    return [
        f"{name}:{number}"
        for name, markup in MARKUP.items()
        for number, line in enumerate(markup.splitlines(), 1)
        if is_bad(line)
    ]


def blocks_of(line: str) -> list[str]:
    item = ITEM.fullmatch(line)
    return re.findall(BLOCK, item["content"] if item else line)


def colours_of(style: str) -> list[str]:
    """The colours among the values of a style's declarations, but for those of custom properties."""
    values = re.findall(r"(?<![\w-])(?!--)[\w-]+\s*:([^;{}]*)(?=[;}])", style)
    words = (word for value in values for word in re.findall(r"(?<![\w-])[a-z]+(?![\w-])", value.lower()))
    return [*(colour for value in values for colour in COLOUR.findall(value)), *(w for w in words if w in colormap)]


def test_lines_are_short() -> None:
    """A message may be longer: it stands on one line, because its text is its name in the catalogues."""
    assert lines_where(lambda line: len(line) > 120 and "translate" not in line) == []


def test_elements_stand_one_a_line() -> None:
    assert lines_where(lambda line: len(blocks_of(line)) > 1) == []


def test_tags_are_written_in_one_way() -> None:
    djade = Path(sys.executable).parent / "djade"
    command = [djade, "--check", "--target-version", "5.2", *TEMPLATES.values()]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_included_is_there_and_every_part_is_used() -> None:
    included = {target for markup in MARKUP.values() for target in re.findall(r'{% include "([^"]+)"', markup)}
    named_by_python = {
        target
        for path in (ROOT / "studies").rglob("*.py")
        for target in re.findall(r'"([\w/]+\.html)"', path.read_text())
    }
    parts = {name for name in TEMPLATES if name.rpartition("/")[2].startswith("_")}
    assert included - set(TEMPLATES) == set()
    assert parts - included - named_by_python == set()


def test_colours_have_names() -> None:
    """A colour's value stands in the definition of a custom property only."""
    assert {name: colours for name, style in STYLES.items() if (colours := colours_of(style))} == {}
    assert lines_where(re.compile(r'\s(?:style|fill|stroke|color|bgcolor)="').search) == []


def test_every_custom_property_is_defined_and_used() -> None:
    styles = "".join(STYLES.values())
    scripts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "static").rglob("*.js"))
    used = set(re.findall(r"var\((--[\w-]+)", "".join([styles, scripts, *MARKUP.values()])))
    assert used == set(re.findall(r"(--[\w-]+)\s*:", styles))
