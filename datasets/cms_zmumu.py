"""Real Z → μμ candidates of the CMS experiment: two four-vectors and their invariant mass."""

from __future__ import annotations

import numpy as np

from kphys import _arguments
from kphys.datasets import _download
from kphys.datasets._split import Arrays, split_at_random

FILE = _download.RemoteFile(
    name="cms_zmumu_masses.csv",
    url=_download.github_url(
        "cms-opendata-education/cms-jupyter-materials-english",
        "fd23734a71b863d944d44f7dbe9c0d0261c5302b",
        "Data/Zmumu_Run2011A_masses.csv",
    ),
    sha256="d98a77a17049d9e91eedd74c9824a714c7c98188095547cb7f6abf9a1e14c5bc",
)

COLUMNS = ("E1", "px1", "py1", "pz1", "E2", "px2", "py2", "pz2")
"""The columns of `x`, in GeV."""


def load_data(test_fraction: float = 0.2, seed: int | None = 0) -> tuple[Arrays, Arrays]:
    """Loads 10,851 candidates for Z → μμ, to learn the invariant mass from the two muons' four-vectors.

    Proton–proton collisions at 7 TeV, recorded by CMS in Run 2011A. The target follows from the inputs exactly:
    M² = (E₁ + E₂)² − (p₁ + p₂)², in units with c = 1; the file rounds to about six digits. The file, 1.6 MB, is
    looked for in the folder `KPHYS_DATA` and downloaded otherwise, once; its sha256 is checked.

    Args:
        test_fraction: Share of the events that goes to the test, between 0 and 1.
        seed: Seed of the random split; `None` for fresh randomness.

    Returns:
        `(x_train, y_train), (x_test, y_test)`, shuffled. `x`: (n, 8), float32, all in GeV, in the order of `COLUMNS`:
        energy and momentum of the first and of the second muon, z along the beam. `y`: (n, 1), float32, the
        invariant mass in GeV.

    Raises:
        ValueError: A `test_fraction` outside (0, 1), or a file with the wrong checksum.
        TypeError: An argument of the wrong kind.
        OSError: The file could not be downloaded or kept.

    Licence: CC BY 4.0, from CMS open data, record 545.

    Reference:
        CMS collaboration, CERN Open Data Portal, record 545: events of 2011 (Run 2011A), prepared for education.

    Example:
        >>> from kphys.datasets import cms_zmumu
        >>> (x_train, y_train), (x_test, y_test) = cms_zmumu.load_data()
        >>> x_train.shape, y_train.shape, x_test.shape
        ((8681, 8), (8681, 1), (2170, 8))
    """
    seed = _arguments.seed("seed", seed)
    path = _download.fetch(FILE)
    with path.open() as lines:
        names = lines.readline().strip().split(",")
        wanted = [names.index(name) for name in (*COLUMNS, "M")]
        table = np.loadtxt(lines, delimiter=",", usecols=wanted)
    x, y = table[:, :-1].astype(np.float32), table[:, -1:].astype(np.float32)
    return split_at_random(x, y, test_fraction, seed)
