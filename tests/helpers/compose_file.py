"""The services of compose.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
OURS = ("migrate", "web", "alarms", "beat", "worker-cpu", "worker-gpu")
ONCE = {"migrate"}
