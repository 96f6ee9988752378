"""Print a study for a paper's appendix: design, numbers, texts, a methods paragraph, reviewers' checklists."""
