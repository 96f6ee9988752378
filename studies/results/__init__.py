"""Turn ratings into statistics, figures, files and text.

``report`` holds the rule of which ratings count, ``figures`` draws a report, ``export`` writes every rating as CSV, and
``artefacts`` writes all of it into a folder. Simulated ratings are mixed with real ones only on request, and every
output of them is marked as simulated.
"""
