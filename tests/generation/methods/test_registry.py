from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline

from evenhand.generation.guidance import ClassifierFree, GuidanceError, SegmentationFree, from_dict, methods
from tests.helpers.runs import run
from tests.helpers.third_party import Wandering


@pytest.fixture
def fresh_registry() -> Iterator[None]:
    methods.cache_clear()
    yield
    methods.cache_clear()


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, entry_points: str) -> None:
    """What an installer leaves of a package: its metadata on the search path."""
    metadata = folder / "third_party-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[evenhand.guidance]\n{entry_points}\n")
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])


def test_the_shipped_methods_come_first() -> None:
    assert list(methods())[:2] == ["classifier_free", "segmentation_free"]
    assert methods()["segmentation_free"] is SegmentationFree


def test_another_package_brings_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registry: None) -> None:
    with pytest.raises(GuidanceError, match="method must be one of classifier_free"):
        from_dict({"method": "wandering"})
    install(tmp_path, monkeypatch, "any = tests.helpers.third_party:Wandering")
    methods.cache_clear()
    assert from_dict({"method": "wandering", "strength": 2}) == Wandering(2.0)
    assert from_dict(Wandering(opening=ClassifierFree(2.0)).to_dict()) == Wandering(opening=ClassifierFree(2.0))


@pytest.mark.parametrize(
    ("entry_points", "message"),
    [
        ("any = tests.helpers.third_party:EMPTY", "any = tests.helpers.third_party:EMPTY names no guidance method"),
        ("any = nowhere_to_be_found:Wandering", "any = nowhere_to_be_found:Wandering cannot be imported"),
        ("any = tests.helpers.third_party:Nothing", "cannot be imported"),
        ("any = tests.helpers.third_party:WanderingRule", "names no guidance method"),
        ("a = tests.helpers.third_party:Wandering\nb = tests.helpers.twins:Twin", "'wandering' is taken"),
    ],
)
def test_an_entry_point_that_brings_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registry: None, entry_points: str, message: str
) -> None:
    (tmp_path / "twins.py").write_text(
        "from tests.helpers.third_party import Wandering\nclass Twin(Wandering):\n    pass\n"
    )
    install(tmp_path, monkeypatch, entry_points.replace("tests.helpers.twins", "twins"))
    with pytest.raises(GuidanceError, match=message):
        methods()


def test_a_method_listed_twice_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registry: None) -> None:
    install(tmp_path, monkeypatch, "a = tests.helpers.third_party:Wandering\nb = tests.helpers.third_party:Wandering")
    assert list(methods())[-1] == "wandering"


def test_the_documented_example_is_a_method(pipeline: StableDiffusionPipeline) -> None:
    page = (Path(__file__).parents[3] / "docs" / "methods.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": __name__}
    source = page.partition("```python\n")[2].partition("```")[0]
    exec(compile(source, "methods.md", "exec", dont_inherit=True), names)
    whole, limited = (run(pipeline, {"arm": names["Damped"](limit=limit, switch_after=0)}) for limit in (1e9, 0.5))
    same = run(pipeline, {"arm": ClassifierFree(7.5)})
    assert whole.latents is not None
    assert limited.latents is not None
    assert same.latents is not None
    np.testing.assert_allclose(whole.latents["arm"], same.latents["arm"], rtol=0, atol=1e-3)
    assert np.abs(limited.latents["arm"] - same.latents["arm"]).max() > 1e-2


def test_a_field_that_is_no_setting_is_named() -> None:
    @dataclass(frozen=True)
    class Bare(Wandering):
        colour: str = "red"

    with pytest.raises(TypeError, match=r"Bare\.colour"):
        Bare()


def test_a_method_for_other_networks_is_refused_by_name(pipeline: StableDiffusionPipeline) -> None:
    class ForTransformers(Wandering):
        families = ("transformer",)

    with pytest.raises(GuidanceError, match="far: wandering works on networks of the family transformer, not 'unet'"):
        run(pipeline, {"far": ForTransformers()})
