"""Write the tables of ``docs/methods.md`` from the guidance methods' own settings; ``--check`` only compares."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

from evenhand.generation.methods.base import Guidance
from evenhand.generation.methods.diffusers_guiders import GUIDERS
from evenhand.generation.methods.registry import SHIPPED
from evenhand.generation.methods.settings import Setting, settings_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "methods.md"
BEGIN, END = "<!-- begin: scripts/list_methods.py -->", "<!-- end -->"
STEPS = 20


def cost_table() -> str:
    """Build the table of what each method asks of the network, with its defaults, for T = 20."""
    rows = ["| method | name | evaluations an iteration | schedulers | at strength 0 |", "|---|---|---|---|---|"]
    for kind in SHIPPED:
        evaluations = 1 + len(kind().demand(STEPS - 1, STEPS).rows)
        schedulers = ", ".join(kind.schedulers) or "all"
        zero = f"plain picture of the {kind.at_zero}"
        rows.append(f"| {kind.short} | `{kind.method}` | {evaluations} | {schedulers} | {zero} |")
    return "\n".join(rows)


def settings_table(kind: type[Guidance]) -> str:
    """Build a method's heading and the table of its settings."""
    first_line = (kind.__doc__ or "").partition("\n")[0]
    rows = [f"### `{kind.method}`", "", first_line, "", "| setting | values | default | |", "|---|---|---|---|"]
    default = kind().to_dict() | {field.name: getattr(kind(), field.name) for field in fields(kind)}
    for name, setting in settings_of(kind).items():
        shown = f"`{default[name]!r}`"
        if setting.kind == "guidance":
            shown = default[name].label()
        elif setting.kind == "opening" and default[name] is not None:
            shown = "CFG, w=7.5"
        rows.append(f"| `{name}` | {values(setting)} | {shown} | {setting.help} |")
    return "\n".join(rows)


def guiders_table() -> str:
    """Build the table of diffusers' guiders with their settings and defaults."""
    rows = ["| guider | settings and diffusers' defaults |", "|---|---|"]
    for name, settings in GUIDERS.items():
        given = ", ".join(f"`{key}` {default!r}" for key, (_, default) in settings.items())
        rows.append(f"| `{name}` | {given} |")
    return "\n".join(rows)


def values(setting: Setting) -> str:
    """Say which values a setting takes."""
    text = {
        "number": "number",
        "numbers": "numbers",
        "whole": "whole number",
        "dimensions": "whole numbers",
        "flag": "true or false",
        "text": "text",
        "choice": " or ".join(f"`{name}`" for name in setting.choices),
        "layers": "names",
        "options": "settings by name",
        "opening": "classifier-free",
        "guidance": "any method's object",
    }[setting.kind]
    if setting.low is not None and setting.high is not None:
        text += f" in {setting.low:g}…{setting.high:g}"
    elif setting.low is not None:
        text += f" of at least {setting.low:g}"
    return f"{text}, or none" if setting.optional else text


def page() -> str:
    """Return the page with the tables of today."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    tables = "\n\n".join([cost_table(), *map(settings_table, SHIPPED), guiders_table()])
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/methods.md is not current: run python -m scripts.list_methods")
