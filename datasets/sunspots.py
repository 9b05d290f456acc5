"""Monthly sunspot numbers from 1749 to 1983: the Sun's cycle of eleven years."""

from __future__ import annotations

import numpy as np

from kphys.datasets import _download, _series
from kphys.datasets._split import Arrays, split_counts

FILE = _download.RemoteFile(
    name="sunspots_monthly.csv",
    url=_download.github_url("jbrownlee/Datasets", "d20fcb6402ae34e653d4513b00f39257bb37ed7f", "monthly-sunspots.csv"),
    sha256="c4ec8cc57d9f6fb6ecdb3e1f37f25b6f4badd5124c55931052b0cd2fc3bc71f3",
)


def load_data(timesteps: int = 24, horizon: int = 1, test_fraction: float = 0.2) -> tuple[Arrays, Arrays]:
    """Loads the monthly mean sunspot numbers as windows, to forecast the month that follows.

    2,820 months, January 1749 to December 1983. The test's targets are the last `test_fraction` of the months, from
    January 1937 on at 0.2, whatever `timesteps` is; the windows of the first of them reach back into months of the
    training, as they would in use. No target is seen in training. There is nothing random in it, hence no seed. The
    file, 45 kB, is looked for in the folder `KPHYS_DATA` and downloaded otherwise, once; its sha256 is checked.

    On the test of one step ahead, repeating the last month has an RMSE of 20.1.

    Args:
        timesteps: Number of months in each input window.
        horizon: How many months after the window's last month the target lies.
        test_fraction: Share of the months that are targets of the test, between 0 and 1.

    Returns:
        `(x_train, y_train), (x_test, y_test)`, in the order of time. `x`: (n, timesteps, 1), float32, the sunspot
        number of each month (Wolf's relative number, dimensionless). `y`: (n, 1), float32, the number `horizon`
        months later.

    Raises:
        ValueError: `timesteps` or `horizon` not positive or longer than the series, a `test_fraction` outside (0, 1),
            or a file with the wrong checksum.
        TypeError: An argument of the wrong kind.
        OSError: The file could not be downloaded or kept.

    Licence: public series.

    Reference:
        D. F. Andrews and A. M. Herzberg, 1985, "Data: a collection of problems from many fields" (the Zürich series).

    Example:
        >>> from kphys.datasets import sunspots
        >>> (x_train, y_train), (x_test, y_test) = sunspots.load_data(timesteps=24)
        >>> x_train.shape, y_train.shape, x_test.shape
        ((2232, 24, 1), (2232, 1), (564, 24, 1))
    """
    path = _download.fetch(FILE)
    months = np.loadtxt(path, delimiter=",", skiprows=1, usecols=1, ndmin=2, quotechar='"')
    num_train_months, num_test = split_counts(len(months), test_fraction)
    x, y = _series.windows(months, timesteps, horizon)
    if len(x) <= num_test:
        raise ValueError(
            f"`timesteps` is {timesteps} with `horizon` {horizon}, but only {num_train_months} months come before the "
            f"test's first target: take windows of fewer months, or a smaller test_fraction than {test_fraction:g}."
        )
    return (x[:-num_test], y[:-num_test]), (x[-num_test:], y[-num_test:])
