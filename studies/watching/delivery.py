"""Send alarms to whom the settings name, by e-mail and to a webhook: each once, from its beginning to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable

import httpx
from django.conf import settings
from django.core.mail import send_mail
from django.db import IntegrityError, transaction
from django.utils import timezone

from evenhand.studies.models import AlarmNotice, Study
from evenhand.studies.watching import alarms

logger = logging.getLogger(__name__)
TIMEOUT = 10.0  # seconds that a webhook may take


def send_alarms() -> list[AlarmNotice]:
    """Send every alarm that has begun since the last call, and note those that are over; return what was sent.

    What neither channel took is tried again by the next call. Several processes may call this: one of them sends.
    """
    studies = Study.objects.filter(state__in=(Study.State.PREPARING, Study.State.COLLECTING))
    found = alarms.find(studies)
    current = {(pk, alarm.key): alarm for pk, each in found.items() for alarm in each}
    for notice in AlarmNotice.objects.filter(over_at=None):
        if (notice.study_id, notice.key) not in current:
            AlarmNotice.objects.filter(pk=notice.pk).update(over_at=timezone.now())
    for (pk, key), alarm in current.items():
        try:
            with transaction.atomic():
                text = f"{alarm.text} {alarm.action}".strip()
                AlarmNotice.objects.get_or_create(study_id=pk, key=key, over_at=None, defaults={"text": text})
        except IntegrityError:  # one_alarm_at_a_time: another process has just noted it
            continue
    unsent = AlarmNotice.objects.filter(sent_at=None, over_at=None).select_related("study")
    return [notice for notice in unsent if _claim(notice) and _send(notice)]


def _claim(notice: AlarmNotice) -> bool:
    now = timezone.now()
    return bool(AlarmNotice.objects.filter(pk=notice.pk, sent_at=None).update(sent_at=now))


def _send(notice: AlarmNotice) -> bool:
    """Send one alarm by each channel that the settings name; give it back where none took it.

    Where one did, it is not sent again: whoever reads that one would get it every minute, until the other works.
    """
    channels = (("the webhook", settings.ALARM_WEBHOOK, _post), ("e-mail", settings.ALARM_EMAIL, _mail))
    taken = [_took(name, send, notice) for name, address, send in channels if address]
    if taken and not any(taken):
        AlarmNotice.objects.filter(pk=notice.pk).update(sent_at=None)
        return False
    return True


def _took(name: str, send: Callable[[AlarmNotice], object], notice: AlarmNotice) -> bool:
    """Whether a channel took an alarm; an error is logged, and keeps it from no other channel."""
    try:
        send(notice)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:  # smtplib's errors are OSErrors
        logger.warning("an alarm of “%s” could not be sent by %s: %s", notice.study, name, error)
        return False
    return True


def _post(notice: AlarmNotice) -> None:
    httpx.post(settings.ALARM_WEBHOOK, json=as_json(notice), timeout=TIMEOUT).raise_for_status()


def _mail(notice: AlarmNotice) -> None:
    send_mail(f"Evenhand: {notice.study}", notice.text, None, settings.ALARM_EMAIL)


def as_json(notice: AlarmNotice) -> dict[str, object]:
    """Return what a webhook gets: ``text`` for chat services, and the alarm's parts."""
    return {
        "text": f"{notice.study}: {notice.text}",
        "study": {"id": notice.study_id, "name": notice.study.name},
        "alarm": notice.key,
        "raised_at": notice.raised_at.isoformat(),
    }
