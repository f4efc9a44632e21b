"""Searches and trainings by name, each constant with its source."""
