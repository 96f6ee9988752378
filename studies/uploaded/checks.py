"""Make practice and attention checks of uploaded pictures: two pictures of one size, of which one is plainly better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evenhand.errors import InputError
from evenhand.studies import check_pairs
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import CheckPair, Image


def planned_checks(
    configuration: StudyConfiguration, images: Sequence[Image], couples: Sequence[tuple[str, str]]
) -> list[CheckPair]:
    """Return the check pairs unsaved, without study and prompt; the files of damaged pictures are stored.

    images: the baseline's pictures of the prompts that are kept for checks. couples: the hashes of the two pictures of
    each pair, for how much the sizes of two files differ. A picture of another prompt is taken only where one has the
    same size; else the picture is damaged. Raises ``InputError`` where no criterion tells either.
    """
    ratios = [
        check_pairs.sizes_of(candidate) / check_pairs.sizes_of(baseline)
        for baseline, candidate in couples[: check_pairs.PAIRS_MEASURED]
    ]
    found = []
    for number, use in enumerate(check_pairs.uses(configuration)):
        better = images[number]
        alone = not check_pairs.exchangeable(better, images)
        fault = _fault(number, use, configuration, alone=alone)
        rng = check_pairs.stream(configuration, number)
        worse = check_pairs.worse_image(better, fault, images, np.array(ratios), rng)
        found.append(CheckPair(number=number, use=use, fault=fault, better=better, worse=worse))
    return found


def _fault(number: int, use: str, configuration: StudyConfiguration, *, alone: bool) -> CheckPair.Fault:
    fault = check_pairs.fault_of(number, use, configuration)
    if fault != CheckPair.Fault.OTHER_PROMPT or not alone:
        return fault
    if CheckPair.Fault.DAMAGED not in check_pairs.faults_for(use, configuration):
        raise InputError("practice and checks need two pictures of one size, or a criterion that tells damage")
    return CheckPair.Fault.DAMAGED
