"""Show a study's preparation as progress bars in the terminal, read from the database."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tqdm import tqdm

from evenhand.studies.demonstration.processes import ProcessError, tail
from evenhand.studies.models import Stage, Study
from evenhand.studies.pipeline.stages import DEFINITIONS


def watch_preparation(study: Study, worker: subprocess.Popen[bytes], log: Path, *, interval: float = 0.3) -> None:
    """Show each stage's progress until the study is ready; ``ProcessError`` if a stage fails or the worker ends."""
    for name, definition in DEFINITIONS.items():
        _watch_stage(Stage.objects.get(study=study, name=name), definition.title, worker, log, interval)
    while Study.objects.filter(pk=study.pk, state=Study.State.PREPARING).exists():
        time.sleep(interval)


def _watch_stage(stage: Stage, title: str, worker: subprocess.Popen[bytes], log: Path, interval: float) -> None:
    layout = "{desc:32} {percentage:3.0f} % |{bar:24}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"
    with tqdm(total=stage.total or 1, desc=title, bar_format=layout) as bar:
        while True:
            stage.refresh_from_db()
            bar.total = stage.total or 1
            bar.n = stage.done if stage.state != Stage.State.DONE else bar.total
            bar.refresh()
            if stage.state == Stage.State.DONE:
                return
            if stage.state == Stage.State.FAILED:
                raise ProcessError(f"{title}: {stage.error}")
            if worker.poll() is not None:
                raise ProcessError(f"the worker process ended:\n{tail(log)}")
            time.sleep(interval)
