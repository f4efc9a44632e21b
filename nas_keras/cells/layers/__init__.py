"""The Keras layers that run a cell: one step, or a sequence, fast."""
