"""Architecture as data: one compiled program for all of a space."""
