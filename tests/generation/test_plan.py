from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree
from evenhand.generation.plan import SCHEDULERS, count_evaluations, entry_iterations, plan

CFG, A5, A10 = ClassifierFree(7.5), SegmentationFree(5.0), SegmentationFree(10.0)


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ({"cfg": CFG}, 40),
        ({"cfg": CFG, "a5": A5, "a10": A10}, 78),  # method §1.12: instead of 120
        ({"cfg": CFG, "a5": A5}, 59),  # instead of 80
        ({"a5": A5, "a10": A10}, 59),  # the baseline exists already
        ({"a10": A10}, 40),
        ({"cfg": CFG, "late": SegmentationFree(switch_after=20)}, 40),  # t_s = T: the same picture
        ({"a5": SegmentationFree(5, switch_after=0), "a10": SegmentationFree(10, switch_after=0)}, 3 + 4 * 19),
        # t_s = 5 and 10 share five iterations; at 5 three rows, then four a time: the latents differ
        ({"five": SegmentationFree(switch_after=5), "ten": A10}, 2 * 5 + 3 + 4 * 14),
        # with CFG beside them: at iteration 10 the branch of cfg and ten needs three rows, the other two
        ({"cfg": CFG, "five": SegmentationFree(switch_after=5), "ten": A10}, 2 * 5 + 3 + 4 * 4 + 5 + 6 * 9),
        ({"cfg": CFG, "same": ClassifierFree(7.5)}, 40),
        ({"interval": ClassifierFree(first=5, stop=15)}, 5 + 2 * 10 + 5),  # one row outside the interval
        ({"w7": CFG, "w12": ClassifierFree(12.5)}, 2 + 4 * 19),  # one latent at the first iteration only
        ({"plain": CFG, "dog": ClassifierFree(7.5, "a dog")}, 3 + 4 * 19),
        # two openings share nothing but the first iteration's rows
        ({"a": A10, "b": SegmentationFree(10, opening=ClassifierFree(12.5))}, 2 + 4 * 19),
        ({"mean": A10, "heads": SegmentationFree(10, heads="per_head")}, 59),
        ({"all": A10, "own": SegmentationFree(10, tokens="prompt")}, 59),
        # two strengths w̄ of one a subtract the same row at the switch
        ({"a": A10, "b": SegmentationFree(10, strength=5)}, 2 * 10 + 2 + 4 * 9),
    ],
)
def test_evaluations_of_one_picture(arms: dict[str, Guidance], expected: int) -> None:
    assert count_evaluations(arms, 20, "ddim") == expected
    assert count_evaluations(arms, 20, "ddim", prompts=7) == 7 * expected


@given(st.integers(1, 40), st.data(), st.integers(0, 4), st.booleans())
def test_the_count_is_the_methods_formula(steps: int, data: st.DataObject, scales: int, baseline: bool) -> None:
    switch = data.draw(st.integers(0, steps))
    arms: dict[str, Guidance] = {f"a{a}": SegmentationFree(a, switch_after=switch) for a in range(scales)}
    if baseline or not arms:
        arms["cfg"] = CFG
    k, b = scales, int("cfg" in arms)
    parted = 2 * switch + (b + 1 + k) + 2 * (k + b) * (steps - switch - 1)
    expected = 2 * steps if k == 0 or switch == steps else parted
    assert count_evaluations(arms, steps) == expected


@pytest.mark.parametrize(
    ("switch", "expected"),
    [(10, 2 * 11 + 4 + 6 * 9), (1, 2 * 2 + 4 + 6 * 18), (0, 4 + 6 * 20), (20, 2 * 21)],
)
def test_pndm_calls_the_network_21_times(switch: int, expected: int) -> None:
    arms: dict[str, Guidance] = {f"a{a}": SegmentationFree(a, switch_after=switch) for a in (5, 10)} | {"cfg": CFG}
    assert count_evaluations(arms, 20, "pndm") == expected


def test_pndm_is_segmentation_free_in_its_last_calls() -> None:
    steps = plan({"a": SegmentationFree(switch_after=4)}, 20, "pndm")
    perturbed = [step.branches[0].groups[0].rows[0].scale is not None for step in steps]
    assert perturbed == [False] * 5 + [True] * 16


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_one_step_is_one_call(scheduler: str) -> None:
    assert entry_iterations(scheduler, 1) == (0,)


@given(
    st.dictionaries(
        st.text(min_size=1),
        st.builds(SegmentationFree, st.sampled_from([1.0, 2.0]), st.just(2.5), st.integers(0, 6))
        | st.builds(ClassifierFree, st.sampled_from([1.0, 2.0]), first=st.integers(0, 3), stop=st.integers(4, 7)),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(SCHEDULERS),
)
def test_branches_follow_from_groups_and_keep_every_arm(arms: dict[str, Guidance], scheduler: str) -> None:
    expected = [tuple(arms)]
    for step in plan(arms, 6, scheduler):
        members = [sorted(name for group in branch.groups for name in group.arms) for branch in step.branches]
        assert members == [sorted(each) for each in expected]
        for branch in step.branches:
            assert len(set(branch.rows)) == len(branch.rows)
            assert {row for group in branch.groups for row in group.rows} <= set(branch.rows)
        expected = [group.arms for branch in step.branches for group in branch.groups]
    # An arm never costs more in company than alone.
    assert count_evaluations(arms, 6, scheduler) <= sum(
        count_evaluations({name: guidance}, 6, scheduler) for name, guidance in arms.items()
    )


def test_stock_row_order_negative_before_positive() -> None:
    first = plan({"cfg": ClassifierFree(7.5, "dull")}, 1)[0].branches[0].rows
    assert [row.negative_prompt for row in first] == ["dull", None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({}, 20), "at least one guidance"),
        (({"": CFG}, 20), "name.*''"),
        (([("a", CFG), ("a", A10)], 20), "arm 'a' is named twice"),
        (({"a": 7.5}, 20), "arm 'a'.*7.5"),
        (({"a": CFG}, 0), "steps.*0"),
        (({"a": CFG}, 2.5), "steps.*2.5"),
        (({"a": CFG}, True), "steps.*True"),
        (({"a": SegmentationFree(switch_after=6)}, 5), "switch_after.*6"),
        (({"a": CFG}, 20, "heun"), "ddim, ddpm, dpm_solver, euler, pndm, not 'heun'"),
    ],
)
def test_bad_plans_are_named(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(*arguments)
