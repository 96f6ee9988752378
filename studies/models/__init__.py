"""Define the records: prompts, images, study designs, evaluators' responses, work items."""

from evenhand.studies.models.designs import AuditEvent, Batch, CheckPair, Comparison, Pair, Stage, Study, StudyVersion
from evenhand.studies.models.images import Arm, Image, ImageScore, Recipe
from evenhand.studies.models.prompts import Prompt, PromptSet, PromptSubset, SamplingRun, SubsetPrompt
from evenhand.studies.models.replications import Replication
from evenhand.studies.models.responses import Booklet, Evaluator, Exclusion, Rating, Skip, Trial
from evenhand.studies.models.scorings import ArmScore, Scoring, ScoringPart

__all__ = [
    "Arm",
    "ArmScore",
    "AuditEvent",
    "Batch",
    "Booklet",
    "CheckPair",
    "Comparison",
    "Evaluator",
    "Exclusion",
    "Image",
    "ImageScore",
    "Pair",
    "Prompt",
    "PromptSet",
    "PromptSubset",
    "Rating",
    "Recipe",
    "Replication",
    "SamplingRun",
    "Scoring",
    "ScoringPart",
    "Skip",
    "Stage",
    "Study",
    "StudyVersion",
    "SubsetPrompt",
    "Trial",
]
