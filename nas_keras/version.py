"""The version of nas_keras; setup.py reads it from here, and nowhere else."""

__version__ = "0.1.0"
