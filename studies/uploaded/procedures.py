"""Give ready-made pairs their procedure: another study's questions, texts and rules, with a few numbers changed."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.procedure import Procedure

ANALYSIS = ("primary_criterion", "equivalence_margin", "exclusion_rules", "stopping_rule")
OWN = ("completion_code", "completion_url", "end_returns")  # of one study's panel


def plain_procedure(like: StudyConfiguration | None = None) -> StudyConfiguration:
    """Return a configuration with the procedure and the analysis of another one, without its panel's codes.

    Without another one it is the paper's. Checkpoint and arms mean nothing in it.
    """
    if like is None:
        return StudyConfiguration(checkpoint="uploaded")
    names = {each.name for each in fields(Procedure)} - set(OWN) | set(ANALYSIS)
    return StudyConfiguration(checkpoint="uploaded", **{name: getattr(like, name) for name in sorted(names)})


def changed(configuration: StudyConfiguration, **settings: int | bool | None) -> StudyConfiguration:
    """Return a configuration with the settings that are not None. Raises ``ConfigurationError`` for a wrong one."""
    values: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    return replace(configuration, **values)
