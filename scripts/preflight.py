# ruff: noqa: UP031
"""Check before the installation that this machine is suitable; runs on any Python 3 alone."""

import shutil
import sys
from pathlib import Path

NEEDED_GB = 7


def problems(target):  # type: ignore[no-untyped-def]  # old Pythons must be able to parse this file
    """List what prevents an installation into ``target``, as messages for the user."""
    messages = []
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        messages.append(
            "Python 3.11 to 3.13 is needed, this is %d.%d. Name another with `make PYTHON=python3.11 …`."
            % sys.version_info[:2]
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        messages.append("Python's venv module is missing (on Debian and Ubuntu: apt-get install python3-venv).")
    if not (target / "bin" / "python").exists():
        parent = target.resolve().parent
        free = shutil.disk_usage(parent).free / 1e9
        if free < NEEDED_GB:
            messages.append("About %d GB of free disk are needed in %s, %.1f GB are there." % (NEEDED_GB, parent, free))
    return messages


if __name__ == "__main__":
    failures = problems(Path(sys.argv[1] if len(sys.argv) > 1 else ".venv"))
    for failure in failures:
        print("Cannot install: " + failure, file=sys.stderr)
    sys.exit(1 if failures else 0)
