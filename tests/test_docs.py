"""The documentation names only what exists: links, files, commands, variables, sections; and its code runs."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import get_commands, load_command_class

from evenhand.demo.scenes import built_in_prompts
from evenhand.studies.demonstration.processes import free_port

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "demo" / "checkpoint" / "README.md"]
)  # fmt: skip
TEXTS = {path: path.read_text(encoding="utf-8") for path in PAGES}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_page = pytest.mark.parametrize("page", PAGES, ids=named)


def prose(page: Path) -> str:
    return BLOCK.sub("", TEXTS[page])


def spans(page: Path) -> list[str]:
    return SPAN.findall(prose(page))


def command_lines(page: Path) -> list[str]:
    """Lines of shell blocks without their comments, and code spans that are commands."""
    lines = [line for language, block in BLOCK.findall(TEXTS[page]) if not language for line in block.splitlines()]
    commands = re.compile(r"(make |(\.venv/bin/)?(python|pip|celery|pre-commit)\b|manage\.py \w)")
    return [line.partition("  #")[0].strip() for line in [*lines, *spans(page)] if commands.match(line)]


# ------------------------------------------------------------------------------ names


def anchor(heading: str) -> str:
    """What a heading's link is called on the pages of the usual hosts."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", target):
            continue
        name, _, section = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if section:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert section in map(anchor, headings), target


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "modules.md"], ids=named)
def test_files_that_are_named_are_there(page: Path) -> None:
    """Code spans that look like a path of the repository, from its top or from the page's folder."""
    looks_like_a_path = re.compile(r"[\w./-]+/[\w.-]+\.(py|md|html|js|css|json|toml|txt|svg|png|sh|po|mo)")
    missing = [
        span
        for span in spans(page)
        if looks_like_a_path.fullmatch(span) and not span.startswith("var/") and "/fr/" not in span
        and not any((folder / span).exists() for folder in (ROOT, page.parent))
    ]  # fmt: skip
    assert missing == []


@each_page
def test_modules_and_variables_that_are_named_exist(page: Path) -> None:
    for span in spans(page):
        if re.fullmatch(r"evenhand(\.\w+)+", span):
            assert exists(span), span
        if variable := re.match(r"(EVENHAND_[A-Z_]+)", span):
            sources = [*(ROOT / "config").glob("*.py"), *(ROOT / "tests").rglob("*.py")]
            assert any(variable[1] in path.read_text(encoding="utf-8") for path in sources), span


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of the longest module that it begins with."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_a_name_that_no_module_has_is_noticed() -> None:
    assert exists("evenhand.generation.guidance.ClassifierFree.strength") or exists("evenhand.generation.guidance")
    assert not exists("evenhand.generation.guidance.Nothing")
    assert not exists("evenhand.nothing")


@each_page
def test_commands_that_are_named_can_be_run_as_written(page: Path) -> None:
    """Targets of make, management commands with their options, modules with a command line."""
    for line in command_lines(page):
        words = [word for word in shlex.split(line) if word != "…"]
        words = [re.sub(r"^\[|\]$", "", word) for word in words]
        if words[0] == "make":
            targets = [word for word in words[1:] if "=" not in word]
            check(["make", "--dry-run", *targets])
        elif "manage.py" in words[:2]:
            name, *arguments = words[words.index("manage.py") + 1 :]
            assert name in get_commands(), line
            options = [word for word in arguments if word.startswith("--")]
            known = (
                load_command_class(get_commands()[name], name).create_parser("manage.py", name)._option_string_actions
            )
            assert set(options) <= set(known), line
        elif words[1:2] == ["-m"] and words[2] not in ("pip", "pytest"):
            usage = check([sys.executable, *words[1:3], "--help"])
            assert all(word in usage for word in words[3:] if word.startswith("--")), line


def check(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_list_of_modules_is_current() -> None:
    check([sys.executable, "scripts/list_modules.py", "--check"])


def test_the_tables_of_methods_are_current() -> None:
    check([sys.executable, "-m", "scripts.list_methods", "--check"])


def test_citations_of_the_method_name_its_sections() -> None:
    """Docstrings and pages cite ``docs/method.md`` as "method §1.2"."""
    numbers = set(re.findall(r"^##+ (\d+(?:\.\d+)?) ", TEXTS[ROOT / "docs" / "method.md"], re.MULTILINE))
    folders = (
        "analysis",
        "benchmarks",
        "config",
        "demo",
        "docs",
        "generation",
        "metrics",
        "sampling",
        "studies",
        "tests",
    )
    files = [path for folder in folders for kind in ("py", "md") for path in (ROOT / folder).rglob(f"*.{kind}")]
    citations = [
        (named(path), number)
        for path in [*files, ROOT / "README.md"]
        for part in re.findall(r"\bmethod §(\d[\d.,§ and]*)", path.read_text(encoding="utf-8"))
        for number in re.findall(r"\d+(?:\.\d+)?", part)
    ]
    assert len(citations) > 20
    assert [citation for citation in citations if citation[1] not in numbers] == []
    assert [
        named(path) for path in files if path != Path(__file__) and re.search(r"\bMETHOD\b", path.read_text())
    ] == []


# ------------------------------------------------------------------------------ code


def python_blocks(page: Path) -> list[str]:
    # the one runs beside a study's CSV, in tests/results/test_analysis_page.py, the other beside a server, in tests/api
    if page.name in ("analysis.md", "api.md"):
        return []
    return [block for language, block in BLOCK.findall(TEXTS[page]) if language == "python"]


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=named)
def test_python_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page, one after the other, from the top of the checkout."""
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    for block in python_blocks(page):
        exec(compile(block.replace('"owner/name"', '"demo/checkpoint"'), named(page), "exec"), names)


def test_the_model_cards_own_lines_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip
    from diffusers import StableDiffusionPipeline

    monkeypatch.chdir(ROOT)
    lines = [span for span in spans(ROOT / "demo" / "checkpoint" / "README.md") if re.match(r"[\w.]+\(.*\)$", span)]
    loaded = [
        eval(line, {"StableDiffusionPipeline": StableDiffusionPipeline, "open_clip": open_clip}) for line in lines
    ]
    pipeline, (clip, *_) = loaded
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline("a red circle", num_inference_steps=1).images[0].size == (64, 64)
    assert sum(parameter.numel() for parameter in clip.parameters()) > 1e6


TRY_SETTINGS = """
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import PromptSet
from evenhand.studies.pipeline.sampling_runs import start
start(PromptSet.objects.get(), StudyConfiguration(checkpoint="demo", subset_size=4, per_stratum=1, curve_sizes=(2,)))
"""
STATE = "from evenhand.studies.models import SamplingRun; print(SamplingRun.objects.get().state)"


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=20)


def wait_for(condition: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_the_readmes_way_to_a_study_works_as_written(tmp_path: Path) -> None:
    """Line by line, with this machine's interpreter, file of prompts and port; the login is given."""
    [block] = [text for language, text in BLOCK.findall(TEXTS[ROOT / "README.md"]) if "createsuperuser" in text]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")
    } | {
        "EVENHAND_VAR": str(tmp_path / "var"),
        "DJANGO_SETTINGS_MODULE": "evenhand.config.settings",
        "DJANGO_SUPERUSER_USERNAME": "ada",
        "DJANGO_SUPERUSER_PASSWORD": "a long password",
        "DJANGO_SUPERUSER_EMAIL": "ada@example.org",
    }  # fmt: skip
    captions, log, port = tmp_path / "captions.csv", tmp_path / "log", free_port(0)
    captions.write_text("prompt,id\n" + "".join(f'"{text}",{i}\n' for i, text in enumerate(built_in_prompts(6))))
    done = []
    for line in block.splitlines():
        words = [word.replace(".venv/bin/", f"{BIN}/") for word in shlex.split(line)]
        words = [str(captions) if word == "captions.csv" else word for word in words]
        if words[0] == "make":
            assert words[1:] == ["install"]  # it made this environment
        elif "createsuperuser" in words:
            subprocess.run([*words, "--noinput"], cwd=ROOT, env=environment, check=True)
        elif "runserver" in words:
            with running([*words, f"127.0.0.1:{port}"], environment, log) as server:
                wait_for(lambda: answers(f"http://127.0.0.1:{port}/healthz"), server, log)
                assert "Username" in httpx.get(f"http://127.0.0.1:{port}/console/", follow_redirects=True).text
        elif "worker" in words:
            run_in_shell(TRY_SETTINGS, environment)
            with running(words, environment, log) as worker:
                wait_for(lambda: run_in_shell(STATE, environment) == "done", worker, log)
        else:
            subprocess.run(words, cwd=ROOT, env=environment, check=True)
        done.append(words[-1])
    assert len(done) == 6


def run_in_shell(code: str, environment: dict[str, str]) -> str:
    shell = [sys.executable, "manage.py", "shell", "--no-imports", "-c", code]
    return subprocess.run(shell, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def answers(address: str) -> bool:
    try:
        return httpx.get(address).is_success
    except httpx.HTTPError:
        return False
