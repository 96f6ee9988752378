"""Draw a study's figures as SVG, PNG or PDF."""

from evenhand.studies.results.figures.curve import frechet_curve, frechet_curve_png
from evenhand.studies.results.figures.diverging import diverging
from evenhand.studies.results.figures.histogram import histogram
from evenhand.studies.results.figures.objective import agreement, effective, strengths
from evenhand.studies.results.figures.power import power_curves
from evenhand.studies.results.figures.scores import scores
from evenhand.studies.results.figures.style import KINDS
from evenhand.studies.results.figures.sweeps import sweeps

__all__ = [
    "KINDS",
    "agreement",
    "diverging",
    "effective",
    "frechet_curve",
    "frechet_curve_png",
    "histogram",
    "power_curves",
    "scores",
    "strengths",
    "sweeps",
]
