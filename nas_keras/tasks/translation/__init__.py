"""GNMT-style translation with any recurrent cell."""
