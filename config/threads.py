"""Say how threads that compute wait for each other."""

from __future__ import annotations

import os

SPINS = "1000"  # of GNU's OpenMP library; its own number where it knows of more threads than cores


def wait_briefly() -> None:
    """Let threads of PyTorch fall asleep soon while they wait for each other; call it before PyTorch is imported.

    They wait by spinning, for so long that other processes which compute on the same cores get hardly any further:
    ``docs/performance.md`` has the measured times. ``OMP_WAIT_POLICY`` or ``GOMP_SPINCOUNT`` in the environment means
    something else.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
