"""Prepare a study in this process, undisturbed, and write its pictures: ``… SETTINGS FILE``, both of them JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import django


def main() -> None:
    """Make the database, the study, and the file."""
    django.setup()
    from django.core.management import call_command

    from evenhand.studies.models import Study
    from evenhand.studies.pipeline import stages
    from tests.helpers.faults import pictures

    call_command("migrate", verbosity=0)
    study = pictures.draft("Undisturbed", **json.loads(sys.argv[1]))
    stages.prepare(study)
    stages.work_through()
    study.refresh_from_db()
    assert study.state == Study.State.READY, list(pictures.failures(study))
    Path(sys.argv[2]).write_text(json.dumps(pictures.pictures_of(study), indent=1))


if __name__ == "__main__":
    main()
