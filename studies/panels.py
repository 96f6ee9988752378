"""Define how panels name their participants and take them back: presets, and what each end returns to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from evenhand.errors import InputError

CODE = "{code}"  # stands for the code in a return address
PERSON = "{id}"  # stands for the panel's id of the person

ENDS = (
    "finished",
    "partial",  # some of the trials went to others meanwhile
    "screened_out",
    "full",
    "withdrawn",
    "paused",
    "closed",
    "too_small",  # the window or the device is not what the study needs
    "already",  # took part before
)


@dataclass(frozen=True)
class EndReturn:
    """What a panel's participant gets at one end: a code, and an address where it is not the study's usual one."""

    end: str
    code: str = ""
    url: str = ""

    def problem(self) -> str:
        """Say what is wrong; empty if nothing is."""
        if self.end not in ENDS:
            return f"{self.end!r} is none of {', '.join(ENDS)}"
        if not self.code.isascii():
            return f"{self.end}: use plain letters and digits in the code"
        return f"{self.end}: {problem}" if (problem := url_problem(self.url)) else ""


@dataclass(frozen=True)
class PanelPreset:
    """A panel's own names, and what a study admin sets there."""

    name: str
    parameters: tuple[str, ...]
    completion_url: str
    advice: str


PRESETS = {
    "prolific": PanelPreset(
        "Prolific",
        ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"),
        "https://app.prolific.com/submissions/complete?cc={code}",
        "Make one completion code for each end under “Completion codes”: finished as “Completed”, screened out as "
        "“Screen-out”, the other ends as “Request a return” or “Manual review”.",
    ),
    "connect": PanelPreset(
        "CloudResearch Connect",
        ("participantId", "assignmentId", "projectId"),
        "",
        "Choose “Custom completion code”, paste the code of “finished”, and give the redirect address of your "
        "project as the return address.",
    ),
    "sona": PanelPreset(
        "SONA",
        ("id",),
        "",
        "Copy the completion address of the study (“client-side”) and put {id} where it says XXXX; SONA takes no code.",
    ),
    "generic": PanelPreset(
        "", ("participant",), "", "Name the parameter of your panel’s link that tells participants apart."
    ),
}


def end_return_from(data: dict[str, Any]) -> EndReturn:
    """Return an end's return from plain JSON."""
    try:
        return EndReturn(**data)
    except TypeError as error:
        raise InputError(f"this is no return of an end: {data!r}") from error


def parameters_problem(names: tuple[str, ...]) -> str:
    """Say what is wrong with the names of a panel's parameters; empty if nothing is."""
    if not names or len(set(names)) < len(names) or not all(name.isidentifier() for name in names):
        return "give different names of letters, digits and underscores; the first names the person"
    return ""


def url_problem(url: str) -> str:
    """Say what is wrong with a return address; empty if nothing is, or if there is none."""
    if not url:
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:  # an unfinished IPv6 address
        return f"“{url}” is not a web address"
    if parts.scheme not in ("https", "http") or not parts.netloc:
        return f"“{url}” is not a web address; begin it with https://"
    return ""
