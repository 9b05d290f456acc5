"""When there is no time for another epoch."""

from __future__ import annotations

import os
import time
import warnings

BATCH_SYSTEM, TIME = "batch_system", "time"  # Reasons.


class Deadline:
    """Watches the clock from its making on, epoch by epoch, and knows when a batch system's job ends.

    `signalled` is set when the batch system has said so itself.
    """

    def __init__(self, max_seconds: float | None, batch_system: bool):
        self._max_seconds = max_seconds
        self._began = self._epoch_ended = time.monotonic()
        self._slowest = 0.0
        self._job_ends = _end_of_job() if batch_system else None
        self.signalled = False

    def reason(self) -> str | None:
        """Gives, at the end of an epoch, why there should be no other: "batch_system", "time" or `None`.

        The next epoch is taken to last as long as the slowest so far.
        """
        now = time.monotonic()
        self._slowest, self._epoch_ended = max(self._slowest, now - self._epoch_ended), now
        if self.signalled or (self._job_ends is not None and time.time() + self._slowest > self._job_ends):
            return BATCH_SYSTEM
        if self._max_seconds is not None and now - self._began + self._slowest > self._max_seconds:
            return TIME
        return None


def _end_of_job() -> float | None:
    """Gives when Slurm ends this job, in seconds since 1970, `None` if nobody says."""
    text = os.environ.get("SLURM_JOB_END_TIME")
    try:
        return None if text is None else float(text)
    except ValueError:
        warnings.warn(
            f"SLURM_JOB_END_TIME should be in seconds since 1970, and is {text!r}: the job's end is not known.",
            stacklevel=2,
        )
        return None
