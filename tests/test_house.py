"""The house rules, held by tools: imports, style, types, migrations, and a web process without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def _run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)


def test_imports_run_one_way() -> None:
    result = _run(str(BIN / "lint-imports"))
    assert result.returncode == 0, result.stdout + result.stderr


def test_style() -> None:
    result = _run(sys.executable, "-m", "ruff", "check", ".")
    assert result.returncode == 0, result.stdout


def test_types(tmp_path: Path) -> None:
    result = _run(sys.executable, "-m", "mypy", EVENHAND_VAR=str(tmp_path))
    assert result.returncode == 0, result.stdout[-4000:]


def test_migrations_are_current(tmp_path: Path) -> None:
    result = _run(sys.executable, "manage.py", "makemigrations", "--check", "--dry-run", EVENHAND_VAR=str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr


HEAVY = ("torch", "diffusers", "transformers", "open_clip", "torchvision")


@pytest.mark.parametrize("module", ["config.wsgi", "config.urls", "config.celery", "studies.pipeline.tasks"])
def test_the_web_process_never_imports_the_models(module: str, tmp_path: Path) -> None:
    code = (
        "import os, sys, importlib; os.environ['DJANGO_SETTINGS_MODULE'] = 'evenhand.config.settings'\n"
        "import django; django.setup()\n"
        f"importlib.import_module('evenhand.{module}')\n"
        "from django.urls import get_resolver; get_resolver().url_patterns\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = _run(sys.executable, "-c", code, EVENHAND_VAR=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_no_path_of_a_machine_stands_in_the_tree() -> None:
    """No text of the project names a path of somebody's machine."""
    listing = _run("git", "grep", "-lE", "/(home|Users)/[a-z]", "--", ".", ":!tests/test_house.py")
    assert listing.stdout == ""
