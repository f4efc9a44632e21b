"""Evaluators: what turns tokens into evaluations."""
