"""Walk the README's way to a first study, from an empty folder to invitation links, and tell a person's own time.

    python -m benchmarks.newcomer [--environment FOLDER] [--every-step] [--json FILE] [--screenshots FOLDER]

The repository is cloned into an empty folder, and the commands of the README's “Your own study” are run as they stand
there. Then a browser goes from the log-in by the plan's review, or by every step of it, to an open study with links.
The machine is timed; a person's own time is estimated: keys, clicks and decisions by the keystroke-level model (Card,
Moran & Newell 1980, Communications of the ACM 23(7): K 0.28 s, P 1.1 s, B 0.2 s, H 0.4 s, M 1.35 s), and reading at 238
words a minute (Brysbaert 2019, Journal of Memory and Language 109). Every line of the README up to the end of that
chapter is read once. Of pages two figures are told: every line read once, and 28 % of their words, the most that people
read on an average visit (Nielsen 2008, How Little Do Users Read?, from data of Weinreich et al. 2008, ACM TWEB 2(1)).
Port 8000 must be free. With --environment that virtual environment is taken, and nothing is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.machine import machine

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = "http://127.0.0.1:8000"
KEY, POINT, BUTTON, HOME, THINK = 0.28, 1.1, 0.2, 0.4, 1.35  # seconds
WORDS_PER_MINUTE = 238
SHARE_READ = 0.28  # of a page's words, at most, on an average visit
ACCOUNT = {"username": "ada", "email": "ada@example.org", "password": "a long password"}
PROMPTS = 200
CHANGED = {  # of the plan's defaults, by its steps: a small study
    "Sampling": {"First subset, prompts": "60", "Prompts per stratum": "5"},
    "People": {"Pairs per evaluator": "10", "Evaluators wanted": "12"},
}
BACKGROUND = ("runserver", "celery")  # commands that stay
LONGEST = 1200  # seconds of a wait for the machine


@dataclass
class Person:
    """Somebody who reads each line once, and types and clicks; seconds of each kind."""

    reading: float = 0
    acting: float = 0
    read_lines: set[str] = field(default_factory=set)

    def read(self, text: str) -> None:
        """Read the lines that were not on an earlier page."""
        new = {line.strip() for line in text.splitlines()} - self.read_lines
        self.read_lines |= new
        self.reading += 60 * sum(len(line.split()) for line in new) / WORDS_PER_MINUTE

    def type(self, text: str) -> None:
        """Decide what to type, and type it with a key to end it."""
        self.acting += THINK + KEY * (len(text) + 1)

    def click(self) -> None:
        """Decide where to click, move the hand to the mouse, point, press and release."""
        self.acting += THINK + HOME + POINT + BUTTON


class Walk:
    """A person at a browser's page."""

    def __init__(self, page: Page, person: Person, screenshots: Path | None) -> None:
        self.page, self.person, self.screenshots, self.shots = page, person, screenshots, 0

    def look(self) -> None:
        """Read what the page shows."""
        self.page.wait_for_load_state("load")
        self.person.read(self.page.locator("body").inner_text())
        if self.screenshots:
            self.shots += 1
            self.page.screenshot(path=self.screenshots / f"{self.shots:02d}.png", full_page=True)

    def fill(self, label: str, text: str) -> None:
        """Click a field and type into it, in place of what it holds."""
        found = self.page.get_by_label(label, exact=True)
        self.person.click()
        self.person.type(text)
        found.fill(text)

    def press(self, name: str, role: Any = "button") -> None:
        """Press a button or follow a link, and read the page that comes."""
        self.person.click()
        self.page.get_by_role(role, name=name, exact=True).first.click()
        self.look()

    def wait_for(self, found: Locator) -> float:
        """Wait for the machine; return the seconds."""
        start = time.perf_counter()
        found.wait_for(timeout=1000 * LONGEST)
        return time.perf_counter() - start


def readme_commands() -> tuple[str, list[str]]:
    """Return what is read up to the end of the chapter on one's own study, and that chapter's commands."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, chapter = text.split("## Your own study", 1)
    [block] = re.findall(r"```\n(.*?)```", chapter.split("\n**", 1)[0], re.DOTALL)
    return before + chapter.split("\n**", 1)[0], [line.split("  #")[0].strip() for line in block.splitlines() if line]


@contextlib.contextmanager
def commands_run(folder: Path, person: Person, installed: Path | None) -> Iterator[dict[str, float]]:
    """Run the README's commands in a clone; yield the seconds of each; end the background ones afterwards."""
    text, commands = readme_commands()
    person.read(text)
    taken: dict[str, float] = {}
    background: list[subprocess.Popen[bytes]] = []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EVENHAND_")}
    environment |= {f"DJANGO_SUPERUSER_{name.upper()}": value for name, value in ACCOUNT.items()}
    environment.pop("DATABASE_URL", None)
    environment.pop("CELERY_BROKER_URL", None)
    try:
        for command in commands:
            person.type(command)
            if "createsuperuser" in command:  # it asks, and the answers are typed here; the password twice
                for value in (*ACCOUNT.values(), ACCOUNT["password"]):
                    person.type(value)
                command += " --noinput"
            start = time.perf_counter()
            if any(word in command for word in BACKGROUND):
                log = (folder / "background.log").open("ab")
                background.append(
                    subprocess.Popen(command.split(), cwd=folder, env=environment, stdout=log, stderr=log)
                )
            elif not (installed and command == "make install"):
                subprocess.run(command, shell=True, cwd=folder, env=environment, check=True, capture_output=True)
                taken[command] = round(time.perf_counter() - start, 1)
        yield taken
    finally:
        for process in background:
            process.terminate()
        for process in background:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=60)
            process.kill()


def plan_by_every_step(walk: Walk) -> None:
    """Read each step of the plan, and change some."""
    seen = set()
    for _ in range(20):
        walk.press("Save and go on")
        heading = walk.page.get_by_role("heading", level=1).inner_text()
        if heading == "Review":
            break
        for label, value in CHANGED.get(heading, {}).items():
            walk.fill(label, value)
        seen.add(heading)
    assert seen > CHANGED.keys(), f"the plan's steps did not come: {seen}"


def plan_and_open(walk: Walk, every_step: bool) -> dict[str, float]:
    """Plan a study, let a worker prepare it, open it, and make links; return the waits."""
    page, waits = walk.page, {}
    page.goto(f"{ADDRESS}/console/")
    walk.person.type("127.0.0.1:8000/console/")
    walk.look()
    walk.fill("Username", ACCOUNT["username"])
    walk.fill("Password", ACCOUNT["password"])
    walk.press("Log in")
    walk.press("New study", "link")
    walk.fill("Name", "My first study")
    if every_step:
        plan_by_every_step(walk)
    else:
        walk.press("Save and review")
        for step, values in CHANGED.items():
            walk.press(step, "link")
            for label, value in values.items():
                walk.fill(label, value)
            walk.press("Save and review")
    waits["a worker tries the recipe"] = walk.wait_for(page.get_by_text("A worker read"))
    walk.look()
    walk.press("Prepare")
    opening = page.get_by_role("button", name="Open for evaluators")
    waits["the pictures are made"] = walk.wait_for(opening)
    walk.look()
    walk.press("Open for evaluators")
    page.get_by_label("New links").wait_for()
    walk.fill("New links", "5")
    walk.press("Make invitation links")
    page.get_by_text("5 invited, 0 begun").wait_for()
    walk.look()
    return {name: round(seconds, 1) for name, seconds in waits.items()}


def measure(installed: Path | None, screenshots: Path | None, every_step: bool) -> dict[str, Any]:
    """Walk once."""
    from playwright.sync_api import sync_playwright

    person = Person()
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as empty, sync_playwright() as playwright:
        folder = Path(empty) / "evenhand"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        person.type("git clone https://example.org/evenhand.git")
        person.type("cd evenhand")
        write_prompts(folder / "captions.csv")
        if installed:
            (folder / ".venv").symlink_to(installed.resolve())
        with commands_run(folder, person, installed) as taken:
            readme = person.reading
            wait_for_server()
            browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(60_000)
            waits = plan_and_open(Walk(page, person, screenshots), every_step)
            browser.close()
    return {
        "whole_walk_s": round(time.perf_counter() - start, 1),
        "machine_s": taken | waits,
        "person_s": {
            "the README read": round(readme, 1),
            "every line of the pages read": round(person.reading - readme, 1),
            "keys, clicks and decisions": round(person.acting, 1),
            "in all, every line read": round(person.reading + person.acting, 1),
            "in all, 28 % of the pages' words read": round(
                readme + SHARE_READ * (person.reading - readme) + person.acting, 1
            ),
        },
    }


def write_prompts(file: Path) -> None:
    """Write the person's own captions, which the small model can draw."""
    from evenhand.demo.scenes import built_in_prompts

    file.write_text("prompt\n" + "\n".join(built_in_prompts(PROMPTS)) + "\n", encoding="utf-8")


def wait_for_server() -> None:
    """Return once the server answers."""
    import httpx

    end = time.monotonic() + 120
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{ADDRESS}/readyz").is_success:
                return
        time.sleep(0.2)
    raise TimeoutError(f"nothing answered at {ADDRESS}")


def main() -> None:
    """Print the figures; with ``--json`` also write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, help="a virtual environment that has everything")
    parser.add_argument("--screenshots", type=Path, help="keep a picture of each page in this folder")
    parser.add_argument("--every-step", action="store_true", help="read every step of the plan, and save each")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    if options.screenshots:
        options.screenshots.mkdir(parents=True, exist_ok=True)
    result = {"machine": machine(), **measure(options.environment, options.screenshots, options.every_step)}
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
