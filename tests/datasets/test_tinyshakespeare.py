"""The text: its length, its alphabet, and that both sources give the same."""

import os

import pytest

from kphys.datasets import _download, tinyshakespeare

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not os.environ.get("KPHYS_DATA"), reason="KPHYS_DATA is not set"),
]


def test_the_text_is_split_in_its_order():
    text_train, text_test = tinyshakespeare.load_data()
    assert len(text_train) + len(text_test) == 1_003_854
    assert len(text_test) == 100_385
    assert text_train.startswith("First Citizen:\nBefore we proceed any further, hear me speak.")
    assert len(set(text_train + text_test)) == 65


def test_the_whole_file_gives_the_same_text(monkeypatch, tmp_path):
    """The download is a tenth longer than the copy in KPHYS_DATA; the tenth is cut off."""
    expected = tinyshakespeare.load_data()
    whole = tmp_path / "input.txt"
    whole.write_text("".join(expected) + "the last tenth")
    monkeypatch.setattr(_download, "fetch", lambda file: whole)
    assert tinyshakespeare.load_data() == expected


@pytest.mark.parametrize("fraction", [0, 1, 1.5])
def test_refuses_a_fraction_that_is_none(fraction):
    with pytest.raises(ValueError, match="`test_fraction` must be above 0 and below 1"):
        tinyshakespeare.load_data(test_fraction=fraction)
