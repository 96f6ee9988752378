"""Let a study admin exchange check pairs until the study is opened."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from evenhand.errors import InputError
from evenhand.studies import audit, check_pairs
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Booklet, CheckPair, Image, Prompt, Study


class ExchangeError(InputError):
    """An exchange that is not possible; nothing was changed."""


class StaleExchangeError(ExchangeError):
    """An exchange of a pair that has been exchanged since it was read; nothing was changed."""


def other_faults(pair: CheckPair) -> list[CheckPair.Fault]:
    """Return the faults that a check pair could have instead of its own."""
    return [fault for fault in check_pairs.faults_for(pair.use, configuration_of(pair.study)) if fault != pair.fault]


def exchange_prompt(pair: CheckPair, *, actor: AbstractBaseUser | None = None) -> CheckPair:
    """Make a check pair of another prompt outside the final subset, the one with the highest CLIP score.

    A prompt that was exchanged does not come back, in this pair or in another. Raises ``ExchangeError`` where the
    study is not ready or no prompt is left, ``StaleExchangeError`` where ``pair`` is not as it is stored.
    """
    _check_ready(pair.study)
    taken = {each.prompt.text for each in pair.study.check_pairs.select_related("prompt")}
    unused = [image for image in _images_to_use(pair) if image.prompt.text not in taken]
    if not unused:
        raise ExchangeError(
            "no prompt is left outside the final subset that is not another check pair’s, or was exchanged"
        )
    return _replace(pair, unused[0], pair.fault, actor, passed_over=[*pair.passed_over, pair.prompt_id])


def exchange_fault(pair: CheckPair, fault: str, *, actor: AbstractBaseUser | None = None) -> CheckPair:
    """Give a check pair another fault. Raises as ``exchange_prompt`` does, and for a fault that no criterion tells."""
    _check_ready(pair.study)
    if fault not in other_faults(pair):
        raise ExchangeError(f"this check pair cannot have the fault “{fault}”: it has it, or no criterion tells it")
    return _replace(pair, pair.better, fault, actor, passed_over=pair.passed_over)


def _replace(
    pair: CheckPair, better: Image, fault: str, actor: AbstractBaseUser | None, *, passed_over: list[int]
) -> CheckPair:
    """Store the new worse picture's file, then write the exchange in one transaction."""
    study, configuration = pair.study, configuration_of(pair.study)
    others = [image for image in _images_to_use(pair) if image.prompt_id not in (*passed_over, better.prompt_id)]
    if not others:
        raise ExchangeError("no picture of another prompt is left outside the final subset")
    rng = check_pairs.stream(configuration, pair.number, better.pk, CheckPair.Fault.values.index(fault))
    worse = check_pairs.worse_image(better, fault, others, check_pairs.size_ratios(study), rng)
    with transaction.atomic():
        _check_ready(Study.objects.select_for_update().get(pk=study.pk))
        same_text = study.check_pairs.filter(prompt__text=better.prompt.text).exclude(pk=pair.pk)
        if same_text.exists():
            raise StaleExchangeError("another check pair was given this prompt at the same moment; please try again")
        if worse.pk is None:
            worse.save()
        row = CheckPair.objects.filter(pk=pair.pk, better=pair.better_id, worse=pair.worse_id, fault=pair.fault)
        if not row.update(better=better, worse=worse, prompt=better.prompt_id, fault=fault, passed_over=passed_over):
            raise StaleExchangeError(f"check pair {pair.number + 1} was exchanged meanwhile")
        audit.record(
            study, "check pair exchanged", actor=actor, number=pair.number, use=pair.use,
            prompt=[pair.prompt.text, better.prompt.text], fault=[pair.fault, fault],
        )  # fmt: skip
    return CheckPair.objects.select_related("prompt", "better", "worse__prompt").get(pk=pair.pk)


def _images_to_use(pair: CheckPair) -> list[Image]:
    """Return the baseline images outside the final subset whose prompts were not exchanged in any pair."""
    passed_over = _passed_over_texts(pair.study.check_pairs.values_list("passed_over", flat=True))
    return [image for image in check_pairs.baseline_images_outside(pair.study) if image.prompt.text not in passed_over]


def _passed_over_texts(lists: Iterable[list[int]]) -> set[str]:
    keys = {key for passed_over in lists for key in passed_over}
    return set(Prompt.objects.filter(pk__in=keys).values_list("text", flat=True))


def _check_ready(study: Study) -> None:
    if study.state != Study.State.READY or Booklet.objects.filter(study=study).exists():
        if study.state == Study.State.READY and Booklet.objects.filter(study=study, pilot=True).exists():
            raise ExchangeError("people of the pilot have these check pairs: they stay as they are")
        raise ExchangeError(f"“{study.name}” is {study.state}: check pairs are exchanged before a study is opened")
