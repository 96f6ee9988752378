"""A study that was rated, and its bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evenhand.studies.bundle.writing import export
from evenhand.studies.models import Study
from tests.helpers.bundles import rated_study


@pytest.fixture
def study(db: None) -> Study:
    """Closed; rated by Grace and Heidi, by one who withdrew and one who had all deleted, and by a simulation."""
    return rated_study()


@pytest.fixture
def bundle(study: Study, tmp_path: Path) -> Path:
    """The study's bundle as a folder."""
    target = tmp_path / "bundle"
    export(study, target)
    return target


@pytest.fixture
def anonymous(study: Study, tmp_path: Path) -> Path:
    """The study's anonymous bundle as a folder."""
    target = tmp_path / "anonymous"
    export(study, target, anonymous=True)
    return target


@pytest.fixture
def copy_of(tmp_path: Path) -> object:
    """Copies of a bundle to be damaged."""
    count = iter(range(10_000))

    def copy(bundle: Path) -> Path:
        return Path(shutil.copytree(bundle, tmp_path / f"copy-{next(count)}"))

    return copy
