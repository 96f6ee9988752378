"""The rules of the house that `make lint` cannot see: migrations, a web process without torch, names and links."""

from __future__ import annotations

import ast
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)


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


def test_a_worker_reads_no_pages(tmp_path: Path) -> None:
    """Celery would import every page for Django's checks."""
    code = (
        "import sys\n"
        "from evenhand.config.celery import app\n"
        "app.loader.init_worker()\n"
        "assert 'evenhand.studies.pipeline.tasks' in sys.modules\n"
        "print([name for name in ('evenhand.config.urls', 'matplotlib', 'ninja') if name in sys.modules])"
    )
    result = _run(sys.executable, "-c", code, EVENHAND_VAR=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_a_checkpoint_is_fingerprinted_without_the_models(tmp_path: Path) -> None:
    """``manage.py doctor`` on the web side, whose image has no torch."""
    code = (
        f"import sys; sys.modules |= dict.fromkeys({HEAVY!r})\n"
        "import django; django.setup()\n"
        "from evenhand.studies.pipeline.model_cache import checkpoint_revision\n"
        "print(len(checkpoint_revision('demo')))"
    )
    settings = {"EVENHAND_VAR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "evenhand.config.settings"}
    result = _run(sys.executable, "-c", code, **settings)
    assert (result.stdout.strip(), result.stderr) == ("64", "")


WITHOUT_MODELS = f"""
import sys, django
from django.core.management import call_command

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {HEAVY!r}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Blocked())
django.setup()
call_command('migrate', verbosity=0)
from tests.helpers.factories import make_draft
sys.argv = ['manage.py', 'run_study', str(make_draft().pk)]
from evenhand.__main__ import main
try:
    main()
finally:
    from evenhand.studies.models import Batch
    print(*Batch.objects.values_list('state', 'errors', 'error'))
"""


def test_a_command_that_needs_the_models_says_where_to_run_it_and_counts_no_failure(tmp_path: Path) -> None:
    settings = {"EVENHAND_VAR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "evenhand.config.settings"}
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | settings
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_MODELS], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "torch is not installed here. Run it where a worker runs" in result.stderr
    assert result.stdout.splitlines()[-1] == "('waiting', 0, '')"


def test_no_path_of_a_machine_stands_in_the_tree() -> None:
    """No text of the project names a path of somebody's machine."""
    listing = _run("git", "grep", "-lE", "/(home|Users)/[a-z]", "--", ".", ":!tests/test_house.py")
    assert listing.stdout == ""


def imported_by(path: Path) -> set[str]:
    """Full names of everything that a module imports, wherever it does so."""
    names: set[str] = set()
    gc.disable()  # a finaliser that runs meanwhile makes the parser miscount its depth (CPython issue 106905)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    finally:
        gc.enable()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", sorted((ROOT / "studies" / "assignment").glob("*.py")), ids=lambda path: path.name)
def test_assignment_knows_no_http(path: Path) -> None:
    """import-linter sees external packages as a whole only."""
    web = ("django.http", "django.shortcuts", "django.urls", "django.views", "django.contrib.sessions")
    assert [name for name in imported_by(path) if name.startswith(web)] == []


SOURCES = [path for folder in ("tests", "benchmarks", "scripts") for path in sorted((ROOT / folder).rglob("*.py"))]


def test_nothing_is_imported_from_a_test_module() -> None:
    """What tests share lies in ``tests/helpers``; pytest gives the fixtures of a ``conftest`` by their names."""
    shared = [
        (path.relative_to(ROOT).as_posix(), name)
        for path in SOURCES
        for name in imported_by(path)
        if name.startswith("tests.") and not name.startswith("tests.helpers.")
    ]
    assert shared == []


def test_no_private_name_is_imported() -> None:
    names = [(path.name, name) for path in SOURCES for name in imported_by(path) if name.startswith("evenhand.")]
    assert [(file, name) for file, name in names if any(part.startswith("_") for part in name.split("."))] == []


def test_every_package_of_the_house_is_imported_by_its_full_name() -> None:
    """Under the folder's own name it would be a second copy of the same module."""
    folders = ("analysis", "config", "demo", "generation", "metrics", "sampling", "studies")
    modules = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    short = [(path.name, name) for path in [*modules, *SOURCES] for name in imported_by(path)]
    assert [(file, name) for file, name in short if name.partition(".")[0] in folders] == []


def test_every_link_leads_to_its_folder() -> None:
    links = {path.name: path.readlink().as_posix() for path in (ROOT / "evenhand").iterdir() if path.is_symlink()}
    assert links == {name: f"../{name}" for name in links}
    assert set(links) >= {"generation", "sampling", "studies", "templates", "static", "locale"}


FOLDERS_NAMES = """
from evenhand.generation.guidance import ClassifierFree
from evenhand.generation.trajectory import generate
import generation, sampling.percentiles
from generation import guidance
from generation.trajectory import generate as same
assert guidance.ClassifierFree is ClassifierFree and same is generate
assert generation.guidance.__name__ == guidance.__spec__.name == "evenhand.generation.guidance"
import django
django.setup()
from studies.models import Study
from evenhand.studies.models import Study as Same
assert Study is Same
try:
    import generation.nothing
except ModuleNotFoundError as error:
    print(error)
"""


def test_a_folders_own_name_leads_to_the_same_modules() -> None:
    """Scripts and service files of a checkout may say ``generation.guidance`` and ``config.settings``."""
    result = _run(sys.executable, "-c", FOLDERS_NAMES, DJANGO_SETTINGS_MODULE="config.settings")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "No module named 'generation.nothing'\n"
    usage = _run(sys.executable, "-m", "demo.evaluate", "--help")
    assert usage.returncode == 0, usage.stderr
    assert "usage:" in usage.stdout


def test_several_test_processes_compute_with_one_thread_each() -> None:
    """With two each on two cores they would wait for each other most of the time."""
    code = "import tests.conftest, torch; print(torch.get_num_threads())"
    for inherited in ({}, {"OMP_NUM_THREADS": "2"}):
        environ = os.environ | inherited | {"PYTEST_XDIST_WORKER": "gw1"}
        shown = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
        assert shown.stdout.split() == ["1"]
