"""Define how panels name their participants and take them back: presets, and what each end returns to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

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
SUBMISSION_WORDS = ("session", "assignment", "submission", "response")  # in the name of a submission's own id


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
        if self.end == "finished":
            return "the code and the address of “finished” are the study's own"
        if not self.code.isascii():
            return f"{self.end}: use plain letters and digits in the code"
        return f"{self.end}: {problem}" if (problem := url_problem(self.url)) else ""


@dataclass(frozen=True)
class PanelPreset:
    """A panel's own names, and what a study admin sets there.

    ``query``: what is appended to the study's link there; empty where the panel appends its parameters itself.
    """

    name: str
    parameters: tuple[str, ...]
    query: str
    completion_url: str
    advice: str


PRESETS = {
    "prolific": PanelPreset(
        "Prolific",
        ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"),
        "PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}",
        "https://app.prolific.com/submissions/complete?cc={code}",
        "On Prolific, record ids by URL parameters, let people return by redirect, and make one completion code for "
        "each end: finished with the action “Approve” or “Manually review”; screened out with the action of a paid "
        "screen-out where your account has it; full, too small, withdrawn and already with “Request a return”; partial "
        "and closed with “Manually review”. Without the study's own code Prolific cannot know who has finished.",
    ),
    "connect": PanelPreset(
        "CloudResearch Connect",
        ("participantId", "assignmentId", "projectId"),
        "",
        "",
        "On Connect, paste the link as the project's address; Connect appends its parameters itself. Take the Redirect "
        "URL at the end of its wizard as the return address, or its completion code as the code of “finished”, and use "
        "them for no other end. For people who are screened out or stop early, Connect has completions of its own "
        "(“partial completes” or “completion branches”): their addresses belong to the other ends.",
    ),
    "sona": PanelPreset(
        "SONA",
        ("id",),
        "id=%SURVEY_CODE%",
        "",
        "In SONA, give the link with ?id=%SURVEY_CODE% as the Study URL. Copy the client-side Completion URL from the "
        "study's information as the return address and put {id} where it says XXXX. SONA takes no code, and grants the "
        "credit when that address is opened: give it to no other end.",
    ),
    "generic": PanelPreset(
        "",
        ("participant",),
        "",
        "",
        "Name the parameters of your panel's link: first the one that tells people apart, then, where there is one, "
        "the one of the single submission, whose name contains session, assignment, submission or response.",
    ),
}


def preset_of(name: str, parameters: tuple[str, ...]) -> str:
    """Return the key of the preset that a study's panel follows; “generic” where it is another."""
    for key, preset in PRESETS.items():
        if (preset.name, preset.parameters) == (name, parameters):
            return key
    return "generic"


def submission_parameter(names: tuple[str, ...]) -> str | None:
    """Return the parameter that names one submission of a person, which others do not know; None where none does."""
    return next((name for name in names[1:] if any(word in name.casefold() for word in SUBMISSION_WORDS)), None)


def filled(url: str, *, code: str, person: str) -> str:
    """Return a return address with code and person's id in place; empty where it needs one that is not there."""
    if (CODE in url and not code) or (PERSON in url and not person):
        return ""
    return url.replace(CODE, quote(code, safe="")).replace(PERSON, quote(person, safe=""))


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
