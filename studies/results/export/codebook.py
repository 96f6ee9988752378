"""Write the codebook: every column of every export."""

from __future__ import annotations

from collections.abc import Sequence

from evenhand.generation.methods.registry import SHIPPED
from evenhand.generation.methods.settings import settings_of
from evenhand.studies.results.export.columns import COLUMNS, Column
from evenhand.studies.results.export.people import PEOPLE_COLUMNS
from evenhand.studies.results.export.prompts import PROMPT_COLUMNS
from evenhand.studies.results.export.summaries import EVALUATOR_COLUMNS, PAIR_COLUMNS


def codebook() -> str:
    """Return ``docs/codebook.md``: the columns of every file, in order."""
    parts = [CODEBOOK, _table(COLUMNS), "", FLAGS, ARMS, _letters()]
    for title, text, columns in OTHERS:
        parts += [f"\n## {title}\n", text, "", _table(columns)]
    return "\n".join(parts) + "\n"


def _letters() -> str:
    """The table of what stands for settings in arms' labels."""
    rows = [
        f"| {kind.short} | `{setting.symbol}` | `{name}` | {setting.help} |"
        for kind in SHIPPED
        for name, setting in settings_of(kind).items()
        if setting.symbol
    ]
    return "\n".join(["| method | in the label | setting | meaning |", "|---|---|---|---|", *rows])


def _table(columns: Sequence[Column]) -> str:
    rows = [f"| `{c.name}` | {c.kind} | {c.description} | {c.values} |" for c in columns]
    return "\n".join(["| column | type, unit | meaning | values |", "|---|---|---|---|", *rows])


CODEBOOK = """\
# Codebook of the preference export

`manage.py export_preferences STUDY` and the console's CSV download write one row a rating, in the order in which the
answers arrived: UTF-8, comma-separated, quoted as RFC 4180 says, lines ending in a line feed. This page is written by
`manage.py export_preferences --codebook`, from the same definition as the CSV itself.

Every rating is there that was not deleted on request: of every kind of trial, corrected and uncounted ones too. Reports
are made of the rows with `trial_kind` main, `counted` TRUE, `superseded` FALSE and `excluded` FALSE, either of people
(`simulated` FALSE) or of simulations (`simulated` TRUE), never of both unless they say so.

Booleans are TRUE and FALSE, which R, pandas and spreadsheets read as such. The same file with a byte-order mark, which
Excel on Windows needs for letters such as w̄, comes by `--excel` and as `preferences-excel.csv`; where Excel expects
semicolons, import it by *Data, From Text/CSV*.

A missing value is an empty cell. Free text (study, arms, prompt, exclusion reason, reasons, remark) that a spreadsheet
could take for a formula carries one apostrophe in front: any text that begins with `=`, `+`, `-`, `@`, a tab or a line
break, behind any number of apostrophes. To get the text back, remove one apostrophe from such a cell. Numbers are never
touched.
"""

FLAGS = """\
## Flags

A flag excludes nobody and changes no result. Practice has none. The console counts the same flags for each evaluator.

- `no_time`: the page sent no time, as without JavaScript.
- `fast`: under 300 ms from both pictures being visible.
- `small`: the pictures were displayed with less than half of the file's pixels along a side and were not zoomed, or at
  less than the study's smallest width (`smallest_picture`).
- `straight_line`: on every current main answer of an evaluator who pressed the same key 10 times in a row
  (“no preference”: 20 times), or for 80 % of 20 answers or more (but for “no preference”). By simulation of 30 answers
  at random sides it marks 1 in 10 000 careful people who press “no preference” for up to 60 % of pairs, 4 % of those
  who do for 80 %, and 2 % of those who never do and know only one strength: look, before you leave somebody out.
"""

ARMS = """\
## Arms

The label of an arm names its guidance method and the settings that are not the method's default. “not” is followed by
the negative prompt, “after” by the number of iterations under the opening (T/2: half of them). Where the method is
diffusers, the guider's class follows with its own settings by diffusers' names. `manage.py methods --schema` lists all
settings with their ranges and defaults; a bundle's `provenance.json` has each arm's as they were.
"""

OTHERS = (
    (
        "Pairs",
        "`manage.py export_preferences STUDY --table pairs`: a row a pair and criterion, of the answers that results "
        "count;\nanswers of people and of simulations have rows of their own.",
        PAIR_COLUMNS,
    ),
    (
        "Evaluators",
        "`manage.py export_preferences STUDY --table evaluators`: a row an evaluator, invited ones too.",
        EVALUATOR_COLUMNS,
    ),
    (
        "Prompts",
        "`manage.py export_preferences STUDY --table prompts`: a row a prompt of the final subset, with the seed of "
        "its pictures.\nWhoever makes the pictures of an arm elsewhere reads here which are wanted.",
        PROMPT_COLUMNS,
    ),
    (
        "People",
        "`people.csv`, which the console gives to the study's owner and superusers and writes into the audit log: who "
        "evaluators are.\nIt is no part of a bundle. The panel's parameters follow as columns, under their own names.",
        PEOPLE_COLUMNS,
    ),
)
