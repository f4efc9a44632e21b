"""The loop over time of `NASRNN`: one module for each backend with its own.

Such a module has `inner_loop(layer, sequences, first_states, mask, training)`,
which returns what `keras.layers.RNN.inner_loop` does. `linearization.py`, the
step of a cell in parts, serves them all.
"""
