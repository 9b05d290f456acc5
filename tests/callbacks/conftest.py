"""What the tests of all callbacks share."""

import signal

import pytest


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """As in a terminal: what is started in the background inherits that Ctrl-C is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
