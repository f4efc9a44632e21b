"""Errors that are expected by their messages."""

import re

import pytest


def raises(message, error=ValueError):
    """Expects an error whose message contains a text."""
    return pytest.raises(error, match=re.escape(message))


def raises_first(message, error=ValueError):
    """Expects an error whose message begins with a text."""
    return pytest.raises(error, match="^" + re.escape(message))
