"""Make screenshots of the study admin's pages (``python scripts/console_screenshots.py docs/images``).

Shows the records at hand (``EVENHAND_VAR``): run ``manage.py demo --no-serve`` before. Pages open in Chromium
($CHROMIUM, or the one on the path) as the owner of the newest study that is no draft.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"study": "", "results": "results/", "metrics": "metrics/", "plan": "versions/", "pairs": "pairs/"}
SIZES: dict[str, tuple[int, int, Any]] = {
    "": (1440, 900, "light"),
    "-dark": (1440, 900, "dark"),
    "-phone": (390, 844, "light"),
}


def session_of(study: Any) -> str:
    """Return the key of a session in which the study's owner is logged in."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    session = SessionStore()
    session[SESSION_KEY] = str(study.owner.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = study.owner.get_session_auth_hash()
    session.create()
    return str(session.session_key)


def shots(browser: Any, base: str, study: Any, key: str, folder: Path) -> None:
    """Take every page at every size."""
    from django.conf import settings

    for suffix, (width, height, scheme) in SIZES.items():
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": key, "url": base}])
        page = context.new_page()
        for name, address in PAGES.items():
            page.goto(f"{base}/console/studies/{study.pk}/{address}")
            page.wait_for_load_state("networkidle")
            page.screenshot(path=folder / f"console-{name}{suffix}.png")
        context.close()


def main() -> None:
    """Serve the records, take the screenshots, and make their files small."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"DJANGO_SETTINGS_MODULE": "evenhand.config.settings", "DJANGO_ALLOW_ASYNC_UNSAFE": "true"}
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    import django

    django.setup()
    from playwright.sync_api import sync_playwright

    from evenhand.studies.demonstration import processes
    from evenhand.studies.models import Study

    study = Study.objects.select_related("owner").exclude(state=Study.State.DRAFT).latest("pk")
    key = session_of(study)
    port, log = processes.free_port(8900), folder / "server.log"
    with processes.running(processes.server_command(port), log) as server, sync_playwright() as playwright:
        base = f"http://127.0.0.1:{port}"
        processes.wait_until_it_answers(f"{base}/healthz", server, log)
        executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        shots(browser, base, study, key, folder)
        browser.close()
    log.unlink()
    for path in folder.glob("console-*.png"):
        with Image.open(path) as picture:
            picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(path, optimize=True)


if __name__ == "__main__":
    main()
