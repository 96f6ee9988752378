"""``manage.py worker``: run this machine's workers, one process a GPU, and start again whichever ends."""

from __future__ import annotations

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evenhand.errors import InputError
from evenhand.studies.worker_processes import Workers, gpus_named, plan_workers, visible_devices


class Command(BaseCommand):
    """Run workers until told to end; each then ends after the item in its hands, a second time at once."""

    help = "Run this machine's workers: without options one process for both queues."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--gpus", default="", metavar="N or A,B,…", help="how many GPUs, or which: a process each, on the queue gpu"
        )
        parser.add_argument("--cpus", type=int, default=0, metavar="N", help="processes on the queue cpu")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            gpus = gpus_named(options["gpus"], visible_devices()) if options["gpus"] else []
            plans = plan_workers(gpus, options["cpus"])
        except InputError as error:
            raise CommandError(str(error)) from error
        workers = Workers(plans)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: workers.stop())
        for plan in plans:
            gpu = plan.variables.get("CUDA_VISIBLE_DEVICES")
            self.stdout.write(f"{plan.name}: queue {plan.queues}{f', GPU {gpu}' if gpu else ''}")
        self.stdout.flush()
        workers.run()
