"""Make this the package `tests`, wherever another package of that name is installed."""
