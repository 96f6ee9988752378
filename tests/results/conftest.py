"""A study with booklets."""

from __future__ import annotations

import pytest

from evenhand.studies.assignment.booklets import build_blocks
from evenhand.studies.models import Study
from tests.helpers.factories import make_ready_study


@pytest.fixture
def study(db: None) -> Study:
    """24 pairs (2 comparisons × 12 prompts), two booklets of 12 a block, five blocks."""
    made = make_ready_study()
    build_blocks(made, 5)
    return made
