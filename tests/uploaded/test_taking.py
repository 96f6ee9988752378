from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction

from evenhand.generation.guidance import Uploaded
from evenhand.generation.images import decode_png
from evenhand.studies import check_exchange
from evenhand.studies.console.study_page import study_context
from evenhand.studies.drafts import configuration_of
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Arm, CheckPair, Image, Pair, Prompt, PromptSet, Study
from evenhand.studies.rating.display import display_of
from evenhand.studies.undo import UndoError, delete_study, duplicate, return_to_draft
from evenhand.studies.uploaded import taking
from evenhand.studies.uploaded.pictures import ChangedPictureError
from evenhand.studies.uploaded.plan import Choices
from evenhand.studies.uploaded.storing import About
from evenhand.studies.uploaded.taking import TakingError, take
from tests.helpers.factories import make_admin, make_prompt_set
from tests.helpers.pictures import noise, pairs_table, picture, two_arms, written
from tests.helpers.ready_made import make_ready_made_study, planned
from tests.helpers.stored import image_path

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def ada() -> Any:
    return make_admin("ada")


def test_a_study_of_given_pairs_is_ready(tmp_path: Path, ada: Any) -> None:
    files = two_arms(4) | {"pairs.csv": pairs_table(4)}
    plan, collection = planned(tmp_path, files)
    about = {"first": About("Apple", "Apple 1.0", "https://example.org/apples", "CC0")}
    study = take(plan, collection.pictures, name="Fruit", owner=ada, about=about)
    configuration = configuration_of(study)
    assert (study.state, study.recipe, study.subset) == (Study.State.READY, None, None)
    assert isinstance(configuration.baseline, Uploaded)
    assert configuration.baseline.label() == "Apple (Apple 1.0)"
    assert configuration.from_json(configuration.to_json()) == configuration
    pairs = list(Pair.objects.filter(comparison__study=study).select_related("baseline_image", "prompt"))
    assert [(pair.prompt.text, pair.stratum) for pair in pairs] == [(f"a thing of kind {n}", "all") for n in range(4)]
    image = pairs[2].baseline_image
    assert (image.kind, image.recipe, image.width) == (Image.Kind.UPLOADED, None, 48)
    assert image.provenance["uploaded"]["file"] == "apple/0002.png"
    assert np.array_equal(decode_png(image_path(image.sha256).read_bytes()), np.asarray(noise(2)))
    assert study.prompt_set.name == "Prompts of Fruit"
    assert "prompts=4" in study_context(study)["power"]["address"]
    open_study(study, actor=ada)


def test_prompts_of_a_set_keep_their_indices(tmp_path: Path, ada: Any) -> None:
    prompt_set = make_prompt_set()
    plan, collection = planned(tmp_path, two_arms(3), prompt_set)
    study = take(plan, collection.pictures, name="Fruit", owner=ada, prompt_set=prompt_set)
    assert study.prompt_set == prompt_set
    rows = Pair.objects.filter(comparison__study=study).values_list("prompt__index", "baseline_image__seed")
    assert list(rows) == [(0, 0), (1, 1), (2, 2)]
    again = take(plan, collection.pictures, name="Fruit again", owner=ada, prompt_set=prompt_set)
    images = Pair.objects.filter(comparison__study__in=(study, again)).values("baseline_image").distinct()
    assert images.count() == 3
    assert Arm.objects.filter(guidance__method="uploaded").count() == 2


def test_other_pictures_are_another_arm(tmp_path: Path, ada: Any) -> None:
    one = make_ready_made_study(tmp_path / "one", ada, count=3)
    files = two_arms(3) | {"pairs.csv": pairs_table(3), "apple/0000.png": picture(55)}
    plan, collection = planned(tmp_path / "two", files)
    two = take(plan, collection.pictures, name="Other fruit", owner=ada)
    first, second = one.comparisons.get(), two.comparisons.get()
    assert first.baseline != second.baseline
    assert first.candidate == second.candidate


def test_pictures_of_unequal_size_are_fitted(tmp_path: Path, ada: Any) -> None:
    files = two_arms(4) | {"pairs.csv": pairs_table(4), "berry/0003.png": picture(9, (64, 32))}
    plan, collection = planned(tmp_path, files, choices=Choices("fit"))
    study = take(plan, collection.pictures, name="Fruit", owner=ada)
    sizes = Image.objects.filter(prompt__prompt_set=study.prompt_set, prompt__index=3).values_list("width", "height")
    assert list(sizes) == [(48, 32), (48, 32)]
    display = display_of(study)
    assert (display.width, display.height, display.mixed) == (48, 48, True)


def test_checks_are_made_of_held_out_pairs(tmp_path: Path, ada: Any) -> None:
    study = make_ready_made_study(tmp_path, ada, count=14, practice_trials=2, attention_checks=1, introduction=True)
    checks = list(study.check_pairs.select_related("better", "worse"))
    assert [check.use for check in checks] == ["example", "practice", "practice", *["attention"] * 4]
    paired = set(Pair.objects.filter(comparison__study=study).values_list("prompt", flat=True))
    assert len(paired) == 7
    for check in checks:
        assert check.prompt_id not in paired
        assert check.prompt_id == check.better.prompt_id
        assert check.better.kind == Image.Kind.UPLOADED
        assert (check.worse.kind == Image.Kind.ALTERED) == (check.fault == CheckPair.Fault.DAMAGED)
        assert image_path(check.worse.sha256).exists()
    damaged = next(check for check in checks if check.fault == CheckPair.Fault.DAMAGED)
    exchanged = check_exchange.exchange_fault(damaged, CheckPair.Fault.OTHER_PROMPT, actor=ada)
    assert exchanged.worse.kind == Image.Kind.UPLOADED
    with pytest.raises(check_exchange.ExchangeError, match="no prompt is left"):
        check_exchange.exchange_prompt(exchanged, actor=ada)


def test_nothing_is_half_done(tmp_path: Path, ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, collection = planned(tmp_path, two_arms(3) | {"pairs.csv": pairs_table(3)})
    models = (Study, PromptSet, Prompt, Image, Arm, Pair)
    before = [model.objects.count() for model in models]

    def fail(*_: Any, **__: Any) -> None:
        raise IntegrityError("on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(taking.audit, "record", fail)
        with pytest.raises(TakingError, match="on purpose"), transaction.atomic():
            take(plan, collection.pictures, name="Fruit", owner=ada)
    assert [model.objects.count() for model in models] == before
    written(tmp_path / "brought", {"apple/0001.png": picture(5)})
    with pytest.raises(ChangedPictureError, match=r"apple/0001\.png"):
        take(plan, collection.pictures, name="Fruit", owner=ada)
    assert not Study.objects.exists()
    plan.matched.doubles.append("prompt 1, a: x and y")
    plan.__dict__.pop("findings")
    with pytest.raises(TakingError, match="Two files for one place"):
        take(plan, collection.pictures, name="Fruit", owner=ada)


def test_a_taken_name_is_refused(tmp_path: Path, ada: Any) -> None:
    make_ready_made_study(tmp_path / "one", ada, count=3)
    with pytest.raises(TakingError, match="there is a study named “Fruit” already"):
        make_ready_made_study(tmp_path / "two", ada, count=3)


def test_a_draft_of_given_pairs_makes_no_sense(tmp_path: Path, ada: Any) -> None:
    study = make_ready_made_study(tmp_path, ada, count=3)
    with pytest.raises(UndoError, match="uploaded ready-made"):
        return_to_draft(study)
    with pytest.raises(UndoError, match="uploaded ready-made"):
        duplicate(study, name="Copy", owner=ada)
    delete_study(study)
    assert not Study.objects.exists()


# ------------------------------------------------------------------------------ the command


def _import(*arguments: str) -> str:
    out = StringIO()
    call_command("import_pictures", *arguments, "--owner", "ada", verbosity=0, stdout=out)
    return out.getvalue()


def test_the_command_looks_first_and_takes_then(tmp_path: Path, ada: Any, settings: Any) -> None:
    settings.VAR = tmp_path / "var"
    folder = written(tmp_path / "fruit", two_arms(5) | {"pairs.csv": pairs_table(5)})
    told = _import(str(folder), "--name", "Fruit", "--dry-run", "--quota", "2")
    assert "second against first: 5 pairs" in told
    assert "Nothing was stored." in told
    assert not Study.objects.exists()
    told = _import(
        str(folder), "--name", "Fruit", "--quota", "2", "--name-of", "first=Apple", "--licence-of", "first=CC0"
    )
    assert "“Fruit” has 5 pairs and is ready to be opened." in told
    configuration = configuration_of(Study.objects.get())
    assert (configuration.quota, configuration.baseline.label()) == (2, "Apple")
    assert list((tmp_path / "var" / "uploads").iterdir()) == []
    assert tmp_path / "var" == django_settings.VAR


def test_the_command_matches_folders_to_a_prompt_set(tmp_path: Path, ada: Any, settings: Any) -> None:
    settings.VAR = tmp_path / "var"
    make_prompt_set()
    written(tmp_path, two_arms(4))
    folders = [str(tmp_path / arm) for arm in ("apple", "berry")]
    told = _import(*folders, "--name", "Fruit", "--prompts", "Scenes", "--baseline", "berry")
    assert "apple against berry: 4 pairs" in told
    like = _import(*folders, "--name", "Fruit 2", "--prompts", "Scenes", "--like", "Fruit", "--trials", "2")
    assert "is ready" in like


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--unequal", "refuse"], "pairs? of unequal size"),
        (["--name-of", "x"], "takes ARM=TEXT"),
        (["--name-of", "x=y"], "x is none of the arms"),
        (["--trials", "0"], "trials_per_evaluator"),
    ],
)
def test_the_command_refuses_with_a_sentence(
    tmp_path: Path, ada: Any, settings: Any, arguments: list[str], message: str
) -> None:
    settings.VAR = tmp_path / "var"
    files = two_arms(3) | {"pairs.csv": pairs_table(3), "berry/0001.png": picture(3, (32, 32))}
    folder = written(tmp_path / "fruit", files)
    with pytest.raises(CommandError, match=message):
        _import(str(folder), "--name", "Fruit", *arguments)
    assert not Study.objects.exists()
