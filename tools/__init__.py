"""Programs for work on the project; nothing of it is installed."""
