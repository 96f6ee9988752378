"""Make a sheet of every console page (``python scripts/page_sheets.py docs/images/pages``), listed in docs/pages.md.

A sheet shows a page at 1440 and 390 pixels, light and dark. The records at hand are shown (``EVENHAND_VAR``): run
``manage.py demo --no-serve`` before. The script copies the newest study as a draft, so use records of no other worth.
Pages open in Chromium ($CHROMIUM, or the one on the path) as the owner of the newest study.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# name of the sheet: what it shows, and its address; “study” is prepared and rated, “draft” a copy of its plan
PAGES: dict[str, tuple[str, str]] = {
    "studies": ("All studies of an admin", ""),
    "start": ("A new study: name, prompt set and preset", "studies/new/steps/"),
    "step-sampling": ("A step of the plan: sampling", "studies/{draft}/plan/sampling/"),
    "step-arms": ("A step of the plan: the arms", "studies/{draft}/plan/arms/"),
    "step-people": ("A step of the plan: people", "studies/{draft}/plan/people/"),
    "step-review": ("The review of the plan", "studies/{draft}/plan/review/"),
    "new-study": ("A new study's plan on one page", "studies/new/"),
    "study": ("A study: state, what to do next, preparation, people", "studies/{study}/"),
    "results": ("What people said, with intervals and tests", "studies/{study}/results/"),
    "metrics": ("CLIP score, distances and other metrics of each arm", "studies/{study}/metrics/"),
    "printed": ("The design and the results for paper", "studies/{study}/printed/"),
    "plan": ("The frozen plan and its versions", "studies/{study}/versions/"),
    "pairs": ("The pairs with their arms", "studies/{study}/pairs/"),
    "pair": ("A pair with all that is known of it", "studies/{study}/pairs/{pair}/"),
    "checks": ("Practice and attention checks", "studies/{study}/checks/"),
    "people": ("Evaluators: links, notes, places, exclusions", "studies/{study}/people/"),
    "reconcile": ("A panel's table beside the records", "studies/{study}/reconcile/"),
    "kept-out": ("Earlier studies whose people are kept out", "studies/{study}/kept-out/"),
    "members": ("Who may read and change the study", "studies/{study}/members/"),
    "log": ("Every event of the study", "studies/{study}/log/"),
    "manage": ("Copy, return to the draft, archive, delete", "studies/{study}/manage/"),
    "change-plan": ("A draft's plan on one page", "studies/{draft}/plan/"),
    "candidates": ("A draft's candidates", "studies/{draft}/candidates/"),
    "new-candidate": ("A candidate's settings", "studies/{draft}/candidates/new/?method=perturbed_attention"),
    "candidate-pictures": ("Uploaded pictures as a candidate", "studies/{draft}/candidates/pictures/"),
    "prompt-sets": ("Prompt sets, and the form that imports one", "prompts/"),
    "prompt-set": ("A prompt set: prompts, lengths, settings tried", "prompts/{prompts}/"),
    "pictures": ("A study of uploaded pictures", "pictures/"),
    "tokens": ("Tokens for programs", "tokens/"),
    "power": ("How many people and pairs a study needs", "power/"),
    "login": ("The login", "login/"),
}
SCALE, GAP, TALLEST = 0.5, 16, 1800  # the last in CSS pixels
LOOKS = ((1440, "light"), (1440, "dark"), (390, "light"), (390, "dark"))
LIST = ROOT / "docs" / "pages.md"
HEAD = """\
# The console's pages

Every page at 1440 and 390 pixels, light and dark, with the demo's records, whose ratings are simulated; long pages are
cut. Written by `scripts/page_sheets.py`.
"""


def page_list() -> str:
    """Return ``docs/pages.md``."""
    parts = [HEAD]
    for name, (about, address) in PAGES.items():
        shown = "/console/" + address.partition("?")[0].format(study="N", draft="N", prompts="N", pair="N")
        parts.append(f"## {about}\n\n`{shown}`\n\n![{about}](images/pages/{name}.png)\n")
    return "\n".join(parts)


def sheet(browser: Any, address: str, base: str, cookie: dict[str, str] | None) -> Image.Image:
    """Return one picture of a page in every look, side by side."""
    shots = []
    for width, scheme in LOOKS:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, device_scale_factor=SCALE * 2
        )
        if cookie:
            context.add_cookies([cookie | {"url": base}])
        page = context.new_page()
        page.goto(address)
        page.wait_for_load_state("networkidle")
        shot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
        shot = shot.crop((0, 0, shot.width, min(shot.height, round(TALLEST * SCALE * 2))))
        shots.append(shot.resize((round(shot.width / 2), round(shot.height / 2)), Image.Resampling.LANCZOS))
        context.close()
    whole = Image.new("RGB", (sum(s.width + GAP for s in shots) - GAP, max(s.height for s in shots)), (128, 128, 128))
    left = 0
    for shot in shots:
        whole.paste(shot, (left, 0))
        left += shot.width + GAP
    return whole.convert("P", palette=Image.Palette.ADAPTIVE, colors=160)


def main() -> None:
    """Serve the records, and write the sheets and their list."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/pages").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"DJANGO_SETTINGS_MODULE": "evenhand.config.settings", "DJANGO_ALLOW_ASYNC_UNSAFE": "true"}
    os.chdir(ROOT)
    import django

    django.setup()
    from django.conf import settings
    from playwright.sync_api import sync_playwright

    from evenhand.studies.demonstration import processes
    from evenhand.studies.models import Pair, RecipeCheck, SemanticMap, Study
    from evenhand.studies.pipeline import recipe_checks, semantic_maps
    from evenhand.studies.undo import duplicate
    from evenhand.studies.work.queue import work_through
    from scripts.console_screenshots import session_of

    study = Study.objects.select_related("owner").exclude(state=Study.State.DRAFT).latest("pk")
    draft = Study.objects.filter(name="Copy for the sheets").first()
    draft = draft or duplicate(study, name="Copy for the sheets", owner=study.owner)
    pairs = Pair.objects.filter(comparison__study=study).select_related("baseline_image", "candidate_image")
    pair = pairs.order_by("pk")[0]
    recipe_checks.ask(draft)
    semantic_maps.ask([pair.baseline_image, pair.candidate_image])
    work_through({RecipeCheck: recipe_checks.HANDLER, SemanticMap: semantic_maps.HANDLER})
    numbers = {"study": study.pk, "draft": draft.pk, "prompts": study.prompt_set_id, "pair": pair.pk}
    cookie = {"name": settings.SESSION_COOKIE_NAME, "value": session_of(study)}
    port, log = processes.free_port(8900), folder / "server.log"
    with processes.running(processes.server_command(port), log) as server, sync_playwright() as playwright:
        base = f"http://127.0.0.1:{port}"
        processes.wait_until_it_answers(f"{base}/healthz", server, log)
        executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for name, (_, address) in PAGES.items():
            made = sheet(
                browser, f"{base}/console/{address.format(**numbers)}", base, cookie if name != "login" else None
            )
            made.save(folder / f"{name}.png", optimize=True)
        browser.close()
    log.unlink()
    LIST.write_text(page_list(), encoding="utf-8")


if __name__ == "__main__":
    main()
