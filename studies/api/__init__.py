"""The API: programs read studies, pairs, ratings and results by a token; `docs/api.md`."""
