"""The wheel: what it holds, that it adds one name to an environment, and that it works outside of a checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    "analysis",
    "config",
    "demo",
    "generation",
    "locale",
    "metrics",
    "sampling",
    "static",
    "studies",
    "templates",
)


def run(*command: object, cwd: Path, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("EVENHAND", "DJANGO", "PYTHON"))}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=clean | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git tracks, through the source distribution, as a release is."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with nothing but the wheel and what it needs; its Python."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-c",
        ROOT / "constraints.txt",
        wheel,
        cwd=folder,
    )
    return python


def tracked(*folders: str) -> set[str]:
    return set(
        run("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders, cwd=ROOT).splitlines()
    )


def test_the_wheel_holds_every_file_of_the_house_and_no_test(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    own = {name for name in tracked("evenhand") if name.removeprefix("evenhand/") not in FOLDERS}
    assert names == {f"evenhand/{name}" for name in tracked(*FOLDERS)} | own
    assert "evenhand/templates/rating/trial.html" in names
    assert "evenhand/static/rating/trial.js" in names
    assert "evenhand/locale/de/LC_MESSAGES/django.mo" in names
    assert "evenhand/demo/checkpoint/unet/config.json" in names


def test_an_installation_adds_one_name(bare: Path) -> None:
    names = run(
        bare, "-c", "import importlib.metadata as m; print(*{f.parts[0] for f in m.files('evenhand')})", cwd=bare.parent
    ).split()
    assert {name for name in names if not name.endswith(".dist-info") and name != ".."} == {"evenhand"}
    for name in set(FOLDERS) - {"locale"}:  # Python has a module of that name
        assert run(bare, "-c", f"import importlib.util as u; print(u.find_spec({name!r}))", cwd=bare.parent) == "None\n"


LIBRARY = """
import sys
import numpy as np
from evenhand.analysis.agreement import krippendorff_alpha
from evenhand.generation.guidance import ClassifierFree, SegmentationFree, combine
from evenhand.generation.plan import count_evaluations
from evenhand.metrics.frechet import FrechetReference
from evenhand.sampling.percentiles import percentile_strata
from evenhand.sampling.prompts import read_prompts
from evenhand.sampling.subset import frechet_curve

cfg = ClassifierFree(7.5)
arms = {"cfg": cfg, "a5": SegmentationFree(5, opening=cfg), "a10": SegmentationFree(10, opening=cfg)}
assert count_evaluations(arms, 20, "ddim") == 78
assert combine(1.0, 2.0, cfg.strength) == 1.0 + 8.5
rng = np.random.default_rng(0)
strata = percentile_strata(rng.random(246), (90, 50, 10), 50)
assert [len(members) for members in strata.values()] == [50, 50, 50]
curve = frechet_curve(FrechetReference(rng.normal(size=(300, 4))), (10, 100), 2, seed=0)
assert curve.mean[0] > curve.mean[1] > 0
assert round(krippendorff_alpha(np.array([[1, 1], [2, 3], [3, 3]], float), "ordinal"), 3) > 0
assert [prompt.text for prompt in read_prompts(sys.argv[1]).prompts] == ["a red star", "a blue cross"]
print(sorted(name for name in ("django", "torch", "PIL") if name in sys.modules))
"""


def test_the_guidance_and_the_sampler_work_in_a_bare_environment(bare: Path, tmp_path: Path) -> None:
    """Without Django, torch or Pillow."""
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("prompt\na red star\na blue cross\n")
    assert run(bare, "-c", LIBRARY, prompts, cwd=tmp_path) == "[]\n"


def test_the_command_says_what_is_missing(bare: Path, tmp_path: Path) -> None:
    done = subprocess.run([bare.parent / "evenhand", "check"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install evenhand[web]" in done.stderr


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content in a folder of its own, for this environment's Python and its packages."""
    folder = tmp_path_factory.mktemp("installed")
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", folder, wheel)
    run(sys.executable, *pip, cwd=folder)
    return folder


APPLICATION = """
import django
django.setup()
from django.conf import settings
from django.contrib.staticfiles.finders import find
from django.template.loader import get_template
from django.test import Client
from django.utils import translation
settings.ALLOWED_HOSTS.append("testserver")
with translation.override("de"):
    assert translation.gettext("Begin") == "Beginnen", translation.gettext("Begin")
page = Client().get("/console/login/").content.decode()
assert "console/console.css" in page and find("console/console.css") and find("rating/trial.js")
get_template("rating/trial.html")
print(settings.VAR)
"""

PICTURE = """
from evenhand.config import settings
from evenhand.generation.checkpoint import load_pipeline
from evenhand.generation.guidance import ClassifierFree
from evenhand.generation.trajectory import generate
pipeline = load_pipeline(settings.DEMO_CHECKPOINT, device="cpu")
print(generate(pipeline, ["a red circle"], [1], {"cfg": ClassifierFree(2.0)}, steps=2).images["cfg"].shape)
"""


def test_the_application_works_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    """Pages, styles, translations, migrations; it writes into the user's data folder, not into the package."""
    environment = {
        "PYTHONPATH": str(installed),
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": "",
        "DJANGO_SETTINGS_MODULE": "evenhand.config.settings",
    }
    run(sys.executable, "-m", "evenhand", "migrate", "--verbosity", "0", cwd=tmp_path, **environment)
    run(sys.executable, "-m", "evenhand", "makemigrations", "--check", "--dry-run", cwd=tmp_path, **environment)
    var = run(sys.executable, "-c", APPLICATION, cwd=tmp_path, **environment).strip()
    assert Path(var) == tmp_path / ".local" / "share" / "evenhand"
    assert (Path(var) / "db.sqlite3").is_file()
    assert run(sys.executable, "-c", PICTURE, cwd=tmp_path, **environment) == "(1, 64, 64, 3)\n"


def requirements(name: str) -> dict[str, str]:
    """Pinned versions of a requirements file and of those that it includes."""
    pinned: dict[str, str] = {}
    for line in (ROOT / name).read_text().splitlines():
        if included := re.match(r"-r (\S+)", line):
            pinned |= requirements(included[1])
        elif line and not line.startswith("#"):
            requirement = Requirement(line)
            pinned[requirement.name.lower()] = str(requirement.specifier).removeprefix("==")
    return pinned


@pytest.mark.parametrize(
    ("extras", "file"),
    [
        (("web",), "requirements-web.txt"),
        (("web", "models", "metrics"), "requirements.txt"),
        (("dev",), "requirements-dev.txt"),
    ],
)
def test_what_is_tested_is_what_the_extras_allow(extras: tuple[str, ...], file: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared: dict[str, SpecifierSet] = {}
    waiting = [
        *project["dependencies"],
        *(line for extra in extras for line in project["optional-dependencies"][extra]),
    ]
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name == "evenhand":
            waiting += [line for extra in requirement.extras for line in project["optional-dependencies"][extra]]
        else:
            declared[requirement.name.lower()] = requirement.specifier
    pinned = requirements(file)
    assert set(declared) == set(pinned)
    assert [name for name, version in pinned.items() if version not in declared[name]] == []
