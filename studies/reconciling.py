"""Compare a study's people with a panel's table of submissions: who is complete on which side."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from evenhand.errors import InputError

MOST_BYTES, MOST_ROWS = 5_000_000, 50_000
ID_COLUMNS = ("participantid", "prolificpid", "prolificid", "workerid", "surveycode", "userid")
STATUS_COLUMNS = ("status", "submissionstatus", "approvalstatus", "assignmentstatus", "completionstatus")
CODE_COLUMNS = ("completioncode", "entercode", "enteredcode", "codeentered", "actualcompletioncode", "code")
APPROVED = {"approved", "paid", "creditgranted"}
SUBMITTED = APPROVED | {"awaitingreview", "submitted", "completed", "complete", "pending", "pendingreview"}


@dataclass(frozen=True)
class Submission:
    """One row of the panel's table. ``code`` is None where the table has no such column."""

    person: str
    status: str
    code: str | None

    @property
    def approved(self) -> bool:
        """Whether the panel has approved it."""
        return _plain(self.status) in APPROVED

    @property
    def submitted(self) -> bool:
        """Whether the panel takes it for complete."""
        return _plain(self.status) in SUBMITTED


@dataclass(frozen=True)
class Here:
    """Somebody of the study who came from the panel.

    code         what they are shown at their end; empty where nothing is
    older_codes  what they may have been shown before the server's secret was renewed
    """

    pk: int
    pseudonym: str
    person: str
    state: str
    complete: bool
    code: str
    older_codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Match:
    """One line of a list: somebody here, a row there, or both."""

    here: Here | None
    there: Submission | None


@dataclass
class Reconciliation:
    """Everybody of both sides, each in one list.

    both          complete here and there, with the right code where the table has codes
    only_here     complete here, and not there or not in the table
    only_there    approved there, and not complete here
    wrong_code    submitted there without a code or with another than was shown here
    unknown       in the table, and nobody here
    neither       complete on neither side
    """

    both: list[Match] = field(default_factory=list)
    only_here: list[Match] = field(default_factory=list)
    only_there: list[Match] = field(default_factory=list)
    wrong_code: list[Match] = field(default_factory=list)
    unknown: list[Match] = field(default_factory=list)
    neither: list[Match] = field(default_factory=list)

    @property
    def to_approve(self) -> list[Here]:
        """Return whom to approve: complete on both sides, and not approved yet."""
        return [m.here for m in self.both if m.here is not None and m.there is not None and not m.there.approved]


def read_submissions(content: bytes, parameter: str = "") -> list[Submission]:
    """Read a panel's CSV; columns are found by their names without regard to case, blanks and signs.

    parameter: the study's name of the panel's id, which counts as a name of that column too. Where a person has
    several rows, the approved one counts, else the last submitted one, else the last. Raises ``InputError``.
    """
    if len(content) > MOST_BYTES:
        raise InputError(f"the table has {len(content):,} bytes; {MOST_BYTES:,} are the most")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("the table is not text in UTF-8; export it from the panel as CSV") from error
    head = text.split("\n", 1)[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    columns = {_plain(name): name for name in reversed(rows.fieldnames or []) if name}
    person = _column(columns, ((_plain(parameter),) if parameter else ()) + ID_COLUMNS, rows.fieldnames, "person's id")
    status = _column(columns, STATUS_COLUMNS, rows.fieldnames, "status")
    code = next((columns[name] for name in CODE_COLUMNS if name in columns), None)
    found: dict[str, Submission] = {}
    try:
        for number, row in enumerate(rows):
            if number >= MOST_ROWS:
                raise InputError(f"the table has more than {MOST_ROWS:,} rows")
            given = Submission(_cell(row, person), _cell(row, status), _cell(row, code) if code else None)
            known = found.get(given.person)
            if given.person and (known is None or _weight(given) >= _weight(known)):
                found[given.person] = given
    except csv.Error as error:
        raise InputError(f"line {rows.line_num} of the table cannot be read: {error}") from error
    if not found:
        raise InputError("the table has no row with a person's id")
    return list(found.values())


def reconcile(people: Iterable[Here], submissions: Iterable[Submission]) -> Reconciliation:
    """Put everybody of both sides into one list each."""
    found = Reconciliation()
    left = {each.person: each for each in people}
    for there in submissions:
        here = left.pop(there.person, None)
        _list_of(found, here, there).append(Match(here, there))
    for here in left.values():
        (found.only_here if here.complete else found.neither).append(Match(here, None))
    return found


def _list_of(found: Reconciliation, here: Here | None, there: Submission) -> list[Match]:
    if here is None:
        return found.unknown
    if not here.complete:
        return found.only_there if there.approved else found.neither
    if not there.submitted:
        return found.only_here
    shown = {code.casefold() for code in (here.code, *here.older_codes)}
    wrong = there.code is not None and here.code and there.code.casefold() not in shown
    return found.wrong_code if wrong else found.both


def _weight(submission: Submission) -> int:
    return submission.approved + submission.submitted


def _plain(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum())


def _cell(row: Mapping[str, str | None], column: str) -> str:
    return (row.get(column) or "").strip()


def _column(columns: Mapping[str, str], names: Iterable[str], given: Iterable[str] | None, what: str) -> str:
    for name in names:
        if name in columns:
            return columns[name]
    raise InputError(f"no column of the table is a {what}; it has: {', '.join(given or []) or 'none'}")
