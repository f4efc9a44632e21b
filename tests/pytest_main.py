"""Runs the test files it is given; how Bazel starts a test."""

import sys

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:]))
