"""``manage.py match_strength STUDY``: measure candidates' effective strength, and write arms that match it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.errors import InputError
from evenhand.generation.guidance import ClassifierFree, GuidanceError
from evenhand.studies.chosen_prompts import seed_of
from evenhand.studies.configuration import arm_label
from evenhand.studies.drafts import configuration_of
from evenhand.studies.management.commands.run_study import find_study
from evenhand.studies.pipeline import model_cache


class Command(BaseCommand):
    """Generates a few pictures of the study's prompts, which are not stored."""

    help = (
        "Measure how strong each candidate is in terms of classifier-free guidance, and write the arm with the same "
        "strength and the plain direction, as JSON for the plan's field of other candidates."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", help="the study's name or number")
        parser.add_argument("--pictures", type=int, default=32, help="of the set's first prompts (default 32)")

    def handle(self, *args: Any, **options: Any) -> None:
        from evenhand.generation.methods.scheduled_classifier_free import matched_to
        from evenhand.generation.methods.strength_matched import matched_per_picture
        from evenhand.generation.trajectory import generate

        study, count = find_study(options["study"]), options["pictures"]
        if count < 1:
            raise CommandError(f"--pictures must be at least 1, not {count}")
        configuration = configuration_of(study)
        prompts = list(study.prompt_set.prompts.order_by("index")[:count])
        candidates = [
            each for each in configuration.candidates if each.generated_here and not isinstance(each, ClassifierFree)
        ]
        if configuration.ready_made:
            raise CommandError("the study's pictures were uploaded: there is no guidance to measure")
        try:
            revision = model_cache.checkpoint_revision(configuration.checkpoint)
            made = generate(
                model_cache.pipeline_of(configuration.checkpoint, revision, configuration.dtype),
                [prompt.text for prompt in prompts],
                [seed_of(prompt, configuration) for prompt in prompts],
                {str(place): guidance for place, guidance in enumerate(candidates)},
                steps=configuration.steps,
                scheduler=configuration.scheduler,
                height=configuration.height,
                width=configuration.width,
                batch_size=configuration.batch_size,
                measure_strength=True,
            )
            for place, guidance in enumerate(candidates):
                measured = made.effective_strengths[str(place)]
                self.stdout.write(f"{arm_label(guidance)}, means over {len(prompts)} pictures")
                for iteration, (omega, across) in enumerate(measured.mean(axis=0).tolist()):
                    self.stdout.write(f"  iteration {iteration:3}  ω {omega:7.2f}  new direction {100 * across:4.0f} %")
                self.stdout.write(json.dumps(matched_to(guidance, measured[..., 0].tolist()).to_dict()))
                with suppress(GuidanceError):  # of a method whose strength cannot be matched per picture
                    self.stdout.write(json.dumps(matched_per_picture(guidance).to_dict()))
        except InputError as error:
            raise CommandError(str(error)) from error
