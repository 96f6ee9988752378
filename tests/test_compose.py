"""compose.yaml: what its services say of restarts, migrations, users, GPUs and ports."""

from __future__ import annotations

import re

from evenhand.config.celery import BEAT, app
from tests.helpers.compose_file import ONCE, OURS, ROOT, SERVICES

WORKERS = ("worker-cpu", "worker-gpu")


def test_every_service_that_stays_is_started_again() -> None:
    assert {name for name, service in SERVICES.items() if service["restart"] != "unless-stopped"} == ONCE
    assert {name for name in SERVICES if "healthcheck" in SERVICES[name]} == {"postgres", "redis", "web", "proxy"}


def test_tables_are_migrated_once_before_all_that_uses_them() -> None:
    for name in set(OURS) - ONCE:
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert all("migrate" not in SERVICES[name]["command"] for name in set(OURS) - ONCE)


def test_what_beat_sends_is_a_task_of_a_queue_that_a_worker_takes() -> None:
    app.loader.import_default_modules()
    queues = " ".join(SERVICES[name]["command"][SERVICES[name]["command"].index("--queues") + 1] for name in WORKERS)
    assert {entry["task"] for entry in BEAT.values()} == {"evenhand.resume", "evenhand.restore_pictures"}
    for entry in BEAT.values():
        assert entry["task"] in app.tasks
        assert entry["options"]["queue"] in queues


def test_images_are_targets_of_the_dockerfile_that_end_as_another_user_than_root() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    named = {stage.split("\n")[0].split(" AS ")[1]: stage for stage in stages}
    targets = {service["build"]["target"] for service in SERVICES.values() if "build" in service}
    assert targets == {"web", "worker-cpu", "worker-gpu"}
    for target in targets:
        assert "\nUSER evenhand\n" in named[target]


def test_an_image_holds_what_runs_and_no_secret() -> None:
    """Everything beside compose.yaml would be copied otherwise: its .env, the history, the data of a trial run."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert lines[0] == "*"
    packages = {link.name for link in (ROOT / "evenhand").iterdir() if link.is_symlink()}
    assert let_in == packages | {"evenhand", "manage.py", "LICENSE", "constraints.txt", "requirements*.txt"}


def test_a_gpu_worker_reserves_one_gpu_and_only_the_proxy_has_a_port() -> None:
    [device] = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"proxy"}
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).is_file()
