"""Define evaluators, booklets of trials, ratings, skips and exclusions."""

from __future__ import annotations

import secrets
import uuid

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from evenhand.studies.models.designs import CheckPair, Pair, Study, StudyVersion, new_nonce
from evenhand.studies.models.images import Image


def new_public_id() -> str:
    """Return twelve URL-safe characters, the first part of an evaluator's token.

    The first is no hyphen, which a spreadsheet takes for a formula and a command line for an option.
    """
    while (found := secrets.token_urlsafe(9)).startswith("-"):
        pass
    return found


class Evaluator(models.Model):
    """A person, or a simulation that is always marked as one, who rates pairs of one study."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="evaluators")
    version = models.ForeignKey(StudyVersion, on_delete=models.PROTECT, related_name="evaluators")
    public_id = models.CharField(max_length=16, unique=True, default=new_public_id)
    nonce = models.CharField(max_length=32, default=new_nonce)
    external_ids = models.JSONField(default=dict, blank=True)
    later_ids = models.JSONField(
        default=list, blank=True, help_text="the panel's ids of later visits, with their times"
    )
    external_key = models.CharField(max_length=200, null=True, blank=True, help_text="the panel's id of the person")
    external_hmac = models.CharField(
        max_length=64, blank=True, help_text="keyed hash of the panel's id; it stays where the id is deleted"
    )
    note = models.CharField(max_length=100, blank=True, help_text="the admin's own reminder of who holds the link")
    simulated = models.BooleanField(default=False)
    pilot = models.BooleanField(default=False, help_text="of the pilot: results never count the answers")
    language = models.CharField(max_length=10, blank=True)
    consented_at = models.DateTimeField(null=True, blank=True)
    consent_text_sha256 = models.CharField(max_length=64, blank=True, help_text="of the text as it was shown")
    age_confirmed = models.BooleanField(default=False)
    introduced_at = models.DateTimeField(null=True, blank=True, help_text="when the instructions were left behind")
    comprehension_tries = models.PositiveSmallIntegerField(default=0)
    comprehension_key = models.UUIDField(
        null=True, blank=True, help_text="of the last try; the same key is the same try"
    )
    comprehension_wrong = models.JSONField(
        default=list, blank=True, help_text="questions wrong in the last try, from 0"
    )
    comprehension_passed_at = models.DateTimeField(null=True, blank=True)
    screened_out_at = models.DateTimeField(null=True, blank=True, help_text="failed the comprehension check")
    breaks_taken = models.PositiveSmallIntegerField(default=0)
    told_criterion = models.PositiveSmallIntegerField(null=True, blank=True, help_text="whose run was announced last")
    finished_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True, help_text="content and ids deleted on request")
    freed_at = models.DateTimeField(null=True, blank=True, help_text="left out, and the pairs given to others")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["study", "external_key"],
                condition=Q(external_key__isnull=False),
                name="one_evaluator_per_external_key",
            ),
            models.UniqueConstraint(
                fields=["study", "external_hmac"],
                condition=~Q(external_hmac=""),
                name="one_evaluator_per_external_hmac",
            ),
        ]
        ordering = ["study", "pk"]

    def __str__(self) -> str:
        return self.public_id


class Booklet(models.Model):
    """The trials that one evaluator is given. A block of ten booklets covers the paper's 300 pairs once."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="booklets")
    block = models.PositiveIntegerField()
    number = models.PositiveIntegerField(null=True, help_text="its place in the order of claiming; none: a remainder")
    simulated = models.BooleanField(default=False, help_text="for simulated evaluators, who take nobody's place")
    pilot = models.BooleanField(default=False, help_text="for people of the pilot, who take nobody's place either")
    evaluator = models.OneToOneField(Evaluator, on_delete=models.PROTECT, null=True, blank=True, related_name="booklet")
    claimed_at = models.DateTimeField(null=True, blank=True)
    remainder = models.BooleanField(default=False, help_text="made of trials that others left behind")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["study", "simulated", "pilot", "number"], name="one_booklet_per_number"),
            models.CheckConstraint(
                condition=Q(remainder=False, number__isnull=False)
                | Q(remainder=True, number__isnull=True, evaluator__isnull=False),
                name="remainder_is_claimed_and_unnumbered",
            ),
        ]
        indexes = [models.Index(fields=["study", "simulated", "evaluator", "number"], name="booklet_to_claim")]
        ordering = ["study", "simulated", "number"]

    def __str__(self) -> str:
        return f"booklet {self.number} of {self.study_id}"


class Trial(models.Model):
    """One showing of two images to one evaluator. Its public id is random, and so says nothing of its kind or pair."""

    class Kind(models.TextChoices):
        MAIN = "main"
        PRACTICE = "practice"
        ATTENTION = "attention"
        REPEAT = "repeat"

    public_id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    booklet = models.ForeignKey(Booklet, on_delete=models.CASCADE, related_name="trials")
    position = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.MAIN)
    criterion = models.PositiveSmallIntegerField(default=0, help_text="its number among the study's criteria, from 0")
    lead = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="followers",
        help_text="the trial before it that shows the same pictures and asks another criterion",
    )
    pair = models.ForeignKey(Pair, on_delete=models.PROTECT, null=True, blank=True, related_name="trials")
    left_image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="+")
    right_image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="+")
    candidate_on_left = models.BooleanField(null=True, blank=True)
    check_pair = models.ForeignKey(CheckPair, on_delete=models.PROTECT, null=True, blank=True, related_name="trials")
    repeat_of = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="repeats")
    slot = models.UUIDField(default=uuid.uuid4, editable=False, help_text="one rating wanted of a pair")
    replaces = models.OneToOneField(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="replaced_by",
        help_text="the trial left behind whose slot this one fills",
    )
    expected_choice = models.SmallIntegerField(
        null=True, blank=True, help_text="sign of a check's right answer; none where the criterion cannot tell"
    )
    released = models.BooleanField(default=False, help_text="left behind, and given to somebody else")
    shown_at = models.DateTimeField(null=True, blank=True, help_text="when it was first served")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["booklet", "position"], name="one_trial_per_position"),
            models.CheckConstraint(
                condition=~Q(kind__in=["main", "repeat"]) | Q(pair__isnull=False, candidate_on_left__isnull=False),
                name="main_trial_has_pair_and_side",
            ),
            models.CheckConstraint(
                condition=~Q(kind="repeat") | Q(repeat_of__isnull=False), name="repeat_names_its_trial"
            ),
            models.CheckConstraint(
                condition=Q(expected_choice__isnull=True) | Q(expected_choice__in=[-1, 1]),
                name="check_has_no_neutral_answer",
            ),
            models.CheckConstraint(
                condition=~Q(kind__in=["practice", "attention"]) | Q(check_pair__isnull=False),
                name="check_trial_has_check_pair",
            ),
        ]
        ordering = ["booklet", "position"]

    def __str__(self) -> str:
        return f"trial {self.position} of booklet {self.booklet_id}"


class Skip(models.Model):
    """A trial that its evaluator left without an answer: skipped, or reported as not fit to be shown."""

    class Reason(models.TextChoices):
        SKIP = "skip"
        REPORT = "report"

    trial = models.OneToOneField(Trial, on_delete=models.PROTECT, related_name="skip")
    reason = models.CharField(max_length=10, choices=Reason)
    note = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(reason__in=["skip", "report"]), name="skip_is_skip_or_report"),
        ]
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.reason} of trial {self.trial_id}"


class Rating(models.Model):
    """An answer as it was pressed: −2 (left much better) … +2 (right much better). Never changed, only superseded.

    An evaluator's ratings form a chain: each row carries its number, its predecessor's hash and its own
    (``studies.rating.chain``). Deleted on request, a row loses its content and keeps its place in the chain.
    """

    trial = models.ForeignKey(Trial, on_delete=models.PROTECT, related_name="ratings")
    evaluator = models.ForeignKey(Evaluator, on_delete=models.PROTECT, related_name="ratings")
    version = models.ForeignKey(StudyVersion, on_delete=models.PROTECT, related_name="ratings")
    choice = models.SmallIntegerField(
        null=True, validators=[MinValueValidator(-2), MaxValueValidator(2)], help_text="none: deleted on request"
    )
    both_bad = models.BooleanField(default=False, help_text="said instead of “no preference”; choice is 0")
    reasons = models.JSONField(default=list, blank=True, help_text="the study's tags that were chosen")
    remark = models.CharField(max_length=500, blank=True)
    key = models.UUIDField(help_text="made by the page; the same key is the same answer")
    corrects = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="corrected_by"
    )
    superseded = models.BooleanField(default=False)
    counted = models.BooleanField(default=True, help_text="false: came after its pair had enough")
    slot = models.UUIDField(null=True, blank=True, help_text="the slot that it fills: a main trial's, counted")
    elapsed_ms = models.PositiveIntegerField(null=True, blank=True, help_text="since both pictures were visible")
    viewport = models.JSONField(default=dict, blank=True, help_text="window, displayed size, hidden time")
    rated_at = models.DateTimeField()
    sequence = models.PositiveIntegerField(help_text="its place among the evaluator's ratings, from 1")
    previous_sha256 = models.CharField(max_length=64, blank=True, help_text="of the rating before; empty for the first")
    sha256 = models.CharField(max_length=64, help_text="over this row's content and its predecessor's hash")
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["evaluator", "key"], name="one_rating_per_key"),
            models.UniqueConstraint(fields=["evaluator", "sequence"], name="one_rating_per_place_in_chain"),
            models.CheckConstraint(
                condition=Q(choice__isnull=False) | Q(deleted_at__isnull=False), name="only_deleted_rating_lacks_choice"
            ),
            models.UniqueConstraint(
                fields=["trial"], condition=Q(superseded=False), name="one_current_rating_per_trial"
            ),
            models.UniqueConstraint(
                fields=["slot"], condition=Q(superseded=False, slot__isnull=False), name="one_counted_rating_per_slot"
            ),
            models.CheckConstraint(condition=Q(choice__gte=-2, choice__lte=2), name="choice_within_scale"),
            models.CheckConstraint(condition=Q(both_bad=False) | Q(choice=0), name="both_bad_is_neutral"),
        ]
        ordering = ["pk"]

    def __str__(self) -> str:
        return "deleted" if self.choice is None else f"{self.choice:+d} on trial {self.trial_id}"

    @property
    def preference(self) -> int | None:
        """Return −2 … +2 towards the candidate; None for a trial without a candidate, and for a deleted answer."""
        on_left = self.trial.candidate_on_left
        return None if on_left is None or self.choice is None else -self.choice if on_left else self.choice


class Exclusion(models.Model):
    """A reversible flag on an evaluator, a rating or a pair, with its reason and its author.

    A pair's says that it is unusable: nobody is given it any more, and its ratings stay stored.
    """

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="exclusions")
    evaluator = models.ForeignKey(Evaluator, on_delete=models.CASCADE, null=True, blank=True, related_name="exclusions")
    rating = models.ForeignKey(Rating, on_delete=models.CASCADE, null=True, blank=True, related_name="exclusions")
    pair = models.ForeignKey(Pair, on_delete=models.CASCADE, null=True, blank=True, related_name="exclusions")
    reason = models.CharField(max_length=200)
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    made_at = models.DateTimeField(auto_now_add=True)
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    lifted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(evaluator__isnull=False, rating__isnull=True, pair__isnull=True)
                | Q(evaluator__isnull=True, rating__isnull=False, pair__isnull=True)
                | Q(evaluator__isnull=True, rating__isnull=True, pair__isnull=False),
                name="exclusion_has_one_target",
            ),
            models.UniqueConstraint(
                fields=["evaluator"],
                condition=Q(lifted_at__isnull=True, evaluator__isnull=False),
                name="one_exclusion_in_force_per_evaluator",
            ),
            models.UniqueConstraint(
                fields=["rating"],
                condition=Q(lifted_at__isnull=True, rating__isnull=False),
                name="one_exclusion_in_force_per_rating",
            ),
            models.UniqueConstraint(
                fields=["pair"],
                condition=Q(lifted_at__isnull=True, pair__isnull=False),
                name="one_exclusion_in_force_per_pair",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reason} ({'lifted' if self.lifted_at else 'stands'})"
