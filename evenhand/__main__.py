"""The command ``evenhand``: Django's command line with this application's settings, as ``manage.py`` in a checkout."""

from __future__ import annotations

import os
import sys

from evenhand.errors import lacks_models


def main() -> None:
    """Run the command that the arguments name."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "evenhand.config.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(
            "Django is not installed here. In a checkout run `make install`; else `pip install evenhand[web]`."
        ) from error
    try:
        execute_from_command_line(sys.argv)
    except ModuleNotFoundError as error:
        if not lacks_models(error):
            raise
        raise SystemExit(
            f"This command needs the models' libraries, and {error.name} is not installed here. Run it where a worker "
            "runs, or install them: `pip install evenhand[models]`."
        ) from error


if __name__ == "__main__":
    main()
