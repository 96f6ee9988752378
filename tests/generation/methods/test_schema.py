"""The JSON Schema accepts what methods write, and refuses what they refuse."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from evenhand.generation.guidance import ClassifierFree, GuidanceError, from_dict, methods
from evenhand.generation.methods.diffusers_guider import DiffusersGuider
from evenhand.generation.methods.diffusers_guiders import GUIDERS
from evenhand.generation.methods.schema import schema
from evenhand.generation.methods.settings import Setting, settings_of

VALIDATOR = Draft202012Validator(schema())
NAMES = [(kind, name) for kind in methods().values() for name in settings_of(kind)]

whole = st.integers(-3, 40)
anything = st.one_of(
    st.none(),
    st.booleans(),
    whole,
    whole.map(float),
    st.floats(-3, 40),
    st.text(max_size=3),
    st.lists(st.one_of(whole, st.floats(-2, 2), st.text(max_size=2)), max_size=3),
    st.sampled_from(["mean", "per_head", "all", "prompt", "clean", "output", "data", *GUIDERS]),
    st.builds(dict),
)


def is_readable(data: dict[str, Any]) -> bool:
    try:
        from_dict(data)
    except GuidanceError:
        return False
    return True


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("kind", methods().values(), ids=list(methods()))
def test_what_a_method_writes_is_accepted(kind: type[Any]) -> None:
    for guidance in (kind(), kind(switch_after=3, opening=ClassifierFree(2.0, rescale=0.5))):
        data = json.loads(json.dumps(guidance.to_dict()))
        VALIDATOR.validate(data)
        for missing in settings_of(kind):
            less = {name: value for name, value in data.items() if name != missing}
            assert VALIDATOR.is_valid(less) >= is_readable(less)
        assert not VALIDATOR.is_valid(data | {"colour": "red"})


@pytest.mark.parametrize("kind", methods().values(), ids=list(methods()))
def test_its_defaults_are_the_methods(kind: type[Any]) -> None:
    described = schema()["$defs"][kind.method]["properties"]
    defaults = {name: each["default"] for name, each in described.items() if name != "method"}
    assert from_dict({"method": kind.method} | json.loads(json.dumps(defaults))) == kind()
    assert {name for name in described if name != "method"} == set(settings_of(kind))


@given(st.sampled_from(NAMES), anything)
def test_a_single_setting_is_accepted_where_the_method_accepts_it(
    setting: tuple[type[Any], str], value: object
) -> None:
    """But for what lies between two settings, which the schema does not know."""
    kind, name = setting
    data = {"method": kind.method, name: value}
    if is_readable(data):
        assert VALIDATOR.is_valid(data)
    elif name not in ("first", "stop", "switch_after", "opening"):
        assert not VALIDATOR.is_valid(data), data


@given(st.sampled_from([(name, key) for name, settings in GUIDERS.items() for key in settings]), anything)
def test_a_guider_s_setting_is_accepted_where_the_guider_accepts_it(names: tuple[str, str], value: object) -> None:
    guider, key = names
    data = {"method": DiffusersGuider.method, "guider": guider, "settings": {key: value}}
    if is_readable(data):
        assert VALIDATOR.is_valid(data)
    elif key not in ("start", "stop", "parallel_weights", "guidance_scales"):
        assert not VALIDATOR.is_valid(data), data


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"method": "unknown"},
        {"strength": 3},
        {"method": "diffusers_guider", "settings": {"alpha": 3}},
        {"method": "diffusers_guider", "guider": "MagnitudeAwareGuidance", "settings": {"eta": 1}},
        {"method": "segmentation_free", "opening": {"method": "segmentation_free"}},
        [],
    ],
)
def test_what_no_method_reads_is_refused(data: Any) -> None:
    assert not is_readable(data)
    assert not VALIDATOR.is_valid(data)


def test_optional_settings_may_be_null() -> None:
    assert VALIDATOR.is_valid({"method": "adaptive_projected", "norm_limit": None, "switch_after": None})
    assert not VALIDATOR.is_valid({"method": "adaptive_projected", "eta": None})


def test_every_kind_of_setting_has_a_type() -> None:
    from typing import get_args

    from evenhand.generation.methods import schema as module
    from evenhand.generation.methods.settings import Kind

    assert {*module._KINDS, "opening", "guidance"} == set(get_args(Kind))
    assert Setting("number", "Help.").low is None


def test_the_command_writes_it() -> None:
    output = io.StringIO()
    call_command("methods", "--schema", stdout=output)
    assert json.loads(output.getvalue()) == json.loads(json.dumps(schema()))
    output = io.StringIO()
    call_command("methods", stdout=output)
    assert [line.partition(":")[0] for line in output.getvalue().splitlines()] == list(methods())
