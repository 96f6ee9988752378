"""Define the records: prompts, images, study designs, evaluators' responses, work items."""

from evenhand.studies.models.arrivals import Arrivals
from evenhand.studies.models.designs import (
    AlarmNotice,
    ArmRecipe,
    AuditEvent,
    Batch,
    CheckPair,
    Comparison,
    Pair,
    Stage,
    Study,
    StudyVersion,
)
from evenhand.studies.models.images import Arm, Image, ImageScore, Recipe
from evenhand.studies.models.members import Membership
from evenhand.studies.models.prompts import Prompt, PromptSet, PromptSubset, SamplingRun, SubsetPrompt
from evenhand.studies.models.recipe_checks import RecipeCheck
from evenhand.studies.models.replications import Replication
from evenhand.studies.models.responses import Booklet, Evaluator, Exclusion, Rating, Skip, Trial
from evenhand.studies.models.scorings import ArmScore, Scoring, ScoringPart
from evenhand.studies.models.semantic_maps import SemanticMap
from evenhand.studies.models.tokens import ApiToken
from evenhand.studies.models.work import WorkerSign

__all__ = [
    "AlarmNotice",
    "ApiToken",
    "Arm",
    "ArmRecipe",
    "ArmScore",
    "Arrivals",
    "AuditEvent",
    "Batch",
    "Booklet",
    "CheckPair",
    "Comparison",
    "Evaluator",
    "Exclusion",
    "Image",
    "ImageScore",
    "Membership",
    "Pair",
    "Prompt",
    "PromptSet",
    "PromptSubset",
    "Rating",
    "Recipe",
    "RecipeCheck",
    "Replication",
    "SamplingRun",
    "Scoring",
    "ScoringPart",
    "SemanticMap",
    "Skip",
    "Stage",
    "Study",
    "StudyVersion",
    "SubsetPrompt",
    "Trial",
    "WorkerSign",
]
