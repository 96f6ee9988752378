"""Export ratings, summaries and people as CSV, with a codebook from the same definitions."""

from evenhand.studies.results.export.cells import EXCEL_MARK, protected
from evenhand.studies.results.export.codebook import codebook
from evenhand.studies.results.export.columns import COLUMNS
from evenhand.studies.results.export.people import link_lines, people_lines
from evenhand.studies.results.export.prompts import prompt_lines
from evenhand.studies.results.export.ratings import csv_lines, pilot_lines
from evenhand.studies.results.export.records import rating_page, type_of
from evenhand.studies.results.export.summaries import evaluator_lines, pair_lines

__all__ = [
    "COLUMNS",
    "EXCEL_MARK",
    "codebook",
    "csv_lines",
    "evaluator_lines",
    "link_lines",
    "pair_lines",
    "people_lines",
    "pilot_lines",
    "prompt_lines",
    "protected",
    "rating_page",
    "type_of",
]
