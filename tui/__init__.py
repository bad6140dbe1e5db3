"""The operator's console: one more client of the REST API and the live events."""
