"""Results: records into arrays, arrays into statistics, statistics into figures, files and words.

``report`` holds the rule of which ratings count, ``figures`` draws what a report says, ``export`` writes every rating
as CSV, ``artefacts`` puts all of it into a folder. Simulated ratings are never mixed with real ones unasked, and
whatever shows them says so.
"""
