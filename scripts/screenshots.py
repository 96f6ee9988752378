"""Make the documentation's screenshots (``python scripts/screenshots.py docs/images``).

Prepares a small study with the embedded model and all evaluator pages turned on, serves it, and visits each page in
Chromium ($CHROMIUM, or the one on the path). All records go to a temporary folder.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SIZES: dict[str, tuple[int, int, Any, str]] = {
    "": (1440, 900, "light", "en"),
    "-dark": (1024, 720, "dark", "en"),
    "-phone": (390, 844, "light", "de"),
}


def make_study() -> Any:
    """Prepare and open a study in this process."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    from evenhand.demo.scenes import built_in_prompts
    from evenhand.studies.drafts import create_study
    from evenhand.studies.lifecycle import open_study
    from evenhand.studies.management.commands.demo import demo_configuration
    from evenhand.studies.pipeline import stages
    from evenhand.studies.procedure import parse_questions
    from evenhand.studies.prompt_import import import_texts

    call_command("migrate", verbosity=0)
    owner = get_user_model().objects.create_superuser(username="admin", email="", password="screenshots only")
    plain = demo_configuration({"subset": 60, "per_stratum": 4, "evaluators": 4})
    configuration = replace(
        plain,
        curve_sizes=(20, 40, 60),
        trials_per_evaluator=12,
        introduction=True,
        practice_trials=1,
        attention_checks=1,
        repeats=1,
        break_every=7,
        comprehension=parse_questions("What do you compare? | Sounds | *Pictures\nMay you skip a pair? | *Yes | No"),
        contact="Ethics office, ethics@example.org",
        approval="2026-17",
        minimum_age=18,
        debriefing="One picture of each pair was made with another kind of guidance.",
        completion_code="C0FFEE42",
        completion_url="https://panel.example.org/done?cc={code}",
    )
    prompts = import_texts(built_in_prompts(200), name="Scenes", source="demo.scenes")
    study = create_study(owner=owner, name="Shapes", prompt_set=prompts, configuration=configuration)
    stages.prepare(study)
    stages.work_through()
    study.refresh_from_db()
    open_study(study)
    return study


def walk(page: Any, base: str, study: Any, folder: Path, suffix: str, language: str) -> None:
    """Take one evaluator through the study, with a screenshot of each page."""
    from evenhand.studies.access import enrolment_link

    def shot(name: str) -> None:
        page.screenshot(path=folder / f"evaluator-{name}{suffix}.png")

    def ready() -> None:
        page.wait_for_selector("main.trial[data-state=looking], main.trial[data-state=ready]")
        for tab in page.locator(".tabs:not([hidden]) button").all()[::-1]:  # one picture at a time: look at both
            tab.click()
        page.wait_for_selector("main.trial[data-state=ready]")
        page.wait_for_timeout(200)

    page.goto(f"{base}{enrolment_link(study)}?PROLIFIC_PID=person{suffix}&lang={language}")
    page.locator("form button").click()
    page.locator("input[name=agree]").check()
    shot("consent")
    page.locator("input[name=of_age]").check()
    page.locator("form button").click()
    page.wait_for_selector(".example")
    shot("instructions")
    page.locator("form button").click()
    ready()
    page.keyboard.press("1")
    page.wait_for_selector(".feedback[open]")
    shot("practice")
    page.keyboard.press("Enter")
    for name, value in (("q0", 1), ("q1", 0)):
        page.locator(f"input[name={name}][value='{value}']").check()
    shot("comprehension")
    page.locator("form button").click()
    ready()
    page.keyboard.press("4")
    page.wait_for_timeout(400)
    ready()
    shot("trial")
    while not page.locator(".code").count():
        if page.locator("main.trial").count():
            ready()
            page.keyboard.press("2")
        else:
            shot("break")
            page.locator("form button").click()
        page.wait_for_timeout(400)
    shot("end")


def main() -> None:
    """Make the study, serve it, take the screenshots."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as records:
        environment = {"EVENHAND_VAR": records, "DJANGO_SETTINGS_MODULE": "evenhand.config.settings"}
        os.environ.update(environment | {"DJANGO_ALLOW_ASYNC_UNSAFE": "true"})
        sys.path.insert(0, str(ROOT))
        os.chdir(ROOT)
        import django

        django.setup()
        study = make_study()
        from evenhand.studies.demonstration import processes

        port = processes.free_port(8900)
        log = Path(records) / "server.log"
        with processes.running(processes.server_command(port), log) as server:
            base = f"http://127.0.0.1:{port}"
            processes.wait_until_it_answers(f"{base}/healthz", server, log)
            from playwright.sync_api import sync_playwright

            with sync_playwright() as playwright:
                executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
                browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
                for suffix, (width, height, scheme, language) in SIZES.items():
                    context = browser.new_context(
                        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=width < 500
                    )
                    walk(context.new_page(), base, study, folder, suffix, language)
                    context.close()
                browser.close()
    for path in folder.glob("evaluator-*.png"):
        with Image.open(path) as picture:
            picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(path, optimize=True)


if __name__ == "__main__":
    main()
