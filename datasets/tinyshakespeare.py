"""A megabyte of Shakespeare's plays, the usual text for character networks."""

from __future__ import annotations

from kphys.datasets import _download
from kphys.datasets._split import split_counts

NUM_CHARACTERS = 1_003_854
"""Length of the text that `load_data` splits: the first nine tenths of the file."""

FILE = _download.RemoteFile(
    name="tinyshakespeare.txt",
    url=_download.github_url(
        "karpathy/char-rnn", "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e", "data/tinyshakespeare/input.txt"
    ),
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    local_name="tinyshakespeare_90.txt",
    local_sha256="a9e24e23a1ec77744dad26844bfd5a09b6e041954e1eef0000e7f24cba6db735",
)


def load_data(test_fraction: float = 0.1) -> tuple[str, str]:
    """Loads lines from Shakespeare's plays as two strings, one to learn from and one to test on.

    The text is the first 1,003,854 characters (nine tenths) of the file that character networks are usually compared
    on. Its last tenth, on which published figures are measured, is held out and never returned. The split is in the
    order of the text, so there is nothing random in it, hence no seed. The file, 1.1 MB, is looked for in the folder
    `KPHYS_DATA` (there as `tinyshakespeare_90.txt`, which ends where this text ends) and downloaded otherwise, once;
    its sha256 is checked. Both ways give the same text.

    Args:
        test_fraction: Share of the characters, at the end, that goes to the test, between 0 and 1.

    Returns:
        `text_train, text_test`: two strings of ASCII characters with 65 different ones, newline included.

    Raises:
        ValueError: A `test_fraction` outside (0, 1), or a file with the wrong checksum.
        TypeError: An argument of the wrong kind.
        OSError: The file could not be downloaded or kept.

    Licence: public-domain text.

    Reference:
        A. Karpathy, 2015, "The unreasonable effectiveness of recurrent neural networks".

    Example:
        >>> from kphys.datasets import tinyshakespeare
        >>> text_train, text_test = tinyshakespeare.load_data()
        >>> text_train[:14]
        'First Citizen:'
    """
    num_train, _ = split_counts(NUM_CHARACTERS, test_fraction)
    text = _download.fetch(FILE).read_bytes()[:NUM_CHARACTERS].decode("ascii")
    return text[:num_train], text[num_train:]
