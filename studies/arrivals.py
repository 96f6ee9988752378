"""Limit how many people come in by an enrolment link within an hour: from one address, and by one link."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.http import HttpRequest
from django.utils import timezone

from evenhand.studies.addresses import hashed_address
from evenhand.studies.models import Arrivals, Study

HOUR = timedelta(hours=1)


def seconds_to_wait(request: HttpRequest, study: Study) -> int:
    """Count somebody who comes in by a study's link; return 0, or after how many seconds to come again.

    Counts stand in the database, so that all processes share them. Where the address cannot be told, the link's count
    alone decides. A limit of 0 counts nothing.
    """
    now = timezone.now()
    address = hashed_address(request) if settings.ARRIVALS_PER_ADDRESS else None
    allowed = address is None or _count(f"address:{address}", settings.ARRIVALS_PER_ADDRESS, now)
    if allowed and settings.ARRIVALS_PER_LINK:
        allowed = _count(f"link:{study.pk}", settings.ARRIVALS_PER_LINK, now)
    return 0 if allowed else int((_hour(now) + HOUR - now).total_seconds()) + 1


def _hour(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0)


def _count(source: str, limit: int, now: datetime) -> bool:
    """Count one more in this hour; false where the limit is reached. Of two first ones at once the second counts on."""
    for _ in range(2):
        here = Arrivals.objects.filter(source=source, hour=_hour(now))
        if here.filter(count__lt=limit).update(count=F("count") + 1):
            return True
        try:
            with transaction.atomic():
                Arrivals.objects.create(source=source, hour=_hour(now))
        except IntegrityError:  # one_count_per_source_and_hour
            continue
        Arrivals.objects.filter(hour__lt=_hour(now)).delete()
        return True
    return False
