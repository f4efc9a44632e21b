"""What tests of files share: folders, records, damage, what is logged of it."""

import contextlib
import os
import pathlib
import tempfile
from unittest import mock

from absl import logging
from hypothesis import strategies as st

_VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
)
RECORD = st.fixed_dictionaries(
    {"id": st.integers(0, 9)}, optional={"value": _VALUE, "ä": _VALUE}
)


@contextlib.contextmanager
def new_folder():
    """A new folder for each example; a fixture would be one for all."""
    with (
        tempfile.TemporaryDirectory() as folder,
        # Hundreds of examples, and no machine that ends in one of them.
        mock.patch.object(os, "fsync", lambda descriptor: None),
    ):
        yield pathlib.Path(folder)


@contextlib.contextmanager
def logged_warnings():
    """Gives the list of the warnings that are logged meanwhile."""
    told = []
    with mock.patch.object(
        logging,
        "warning",
        lambda text, *values, **_: told.append(text % values),
    ):
        yield told


def changed(data, place, difference):
    """Returns the data with another byte at a place."""
    place %= len(data)
    byte = bytes([data[place] ^ difference])
    return data[:place] + byte + data[place + 1 :]
