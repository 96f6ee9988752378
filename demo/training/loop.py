"""Run a training stage as a resumable step loop with a log and a learning-rate schedule."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Stage:
    """A stage's folder and name, its number of steps, and how often it saves and logs."""

    folder: Path
    name: str
    steps: int
    save_every: int = 200
    log_every: int = 25

    @property
    def state_path(self) -> Path:
        return self.folder / f"{self.name}.state.pt"

    @property
    def log_path(self) -> Path:
        return self.folder / f"{self.name}.jsonl"


def schedule(step: int, steps: int, *, warmup: int = 100, decay: float = 0.3) -> float:
    """Compute the learning rate's factor: warm-up, plateau, linear fall to zero over the last share ``decay`` of steps.

    A plateau lets a run be resumed with another number of steps, which a cosine does not.
    """
    rise = min(1.0, (step + 1) / warmup)
    fall = min(1.0, (steps - step) / max(1.0, decay * steps))
    return rise * fall


def run(
    stage: Stage,
    modules: dict[str, torch.nn.Module],
    optimizer: torch.optim.Optimizer,
    learning_rate: float,
    step_loss: Callable[[int], tuple[torch.Tensor, dict[str, float]]],
    *,
    after_step: Callable[[int], None] | None = None,
    clip_norm: float = 1.0,
) -> dict[str, Any]:
    """Train until ``stage.steps``, starting from the saved state. Returns the totals (steps, seconds)."""
    stage.folder.mkdir(parents=True, exist_ok=True)
    start, seconds = _resume(stage, modules, optimizer)
    start_time, sums = time.monotonic(), {}  # type: tuple[float, dict[str, float]]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(start, stage.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * schedule(step, stage.steps)
        loss, parts = step_loss(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
        optimizer.step()
        if after_step is not None:
            after_step(step)
        for key, value in {"loss": float(loss.detach()), **parts}.items():
            sums[key] = sums.get(key, 0.0) + value
        step_count = step + 1
        if step_count % stage.log_every == 0 or step_count == stage.steps:
            elapsed = seconds + time.monotonic() - start_time
            line = {"step": step_count, "seconds": round(elapsed, 1)}
            line |= {key: round(value / stage.log_every, 5) for key, value in sums.items()}
            with stage.log_path.open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(f"{stage.name} {step_count}/{stage.steps}", json.dumps(line), flush=True)
            sums = {}
        if step_count % stage.save_every == 0 or step_count == stage.steps:
            _save(stage, modules, optimizer, step_count, seconds + time.monotonic() - start_time)
    return {"steps": stage.steps, "seconds": round(seconds + time.monotonic() - start_time, 1)}


def _save(
    stage: Stage, modules: dict[str, torch.nn.Module], optimizer: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    state = {"step": step, "seconds": seconds, "optimizer": optimizer.state_dict()}
    state |= {f"module.{name}": module.state_dict() for name, module in modules.items()}
    temporary = stage.state_path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(stage.state_path)


def _resume(stage: Stage, modules: dict[str, torch.nn.Module], optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    if not stage.state_path.exists():
        return 0, 0.0
    state = torch.load(stage.state_path, weights_only=True)
    for name, module in modules.items():
        module.load_state_dict(state[f"module.{name}"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"{stage.name}: going on from step {state['step']}", flush=True)
    return int(state["step"]), float(state["seconds"])
