"""The arms that the model card measures."""

from __future__ import annotations

from evenhand.demo import evaluate
from evenhand.generation.guidance import ClassifierFree


def test_other_methods_share_one_opening() -> None:
    arms = evaluate.arms_of_methods(2.0, 10)
    assert len(set(arms.values())) == len(arms) == 7
    opening = ClassifierFree(2.0)
    assert arms.pop("CFG w=2") == opening
    for guidance in arms.values():
        assert guidance.demand(9, 20) == opening.demand(9, 20)
        assert guidance.demand(10, 20) != opening.demand(10, 20)
