"""How often callbacks write files."""

from __future__ import annotations

from kphys import _arguments


def checked_save_freq(value: str | int) -> str | int:
    """Gives "epoch", or a number of batches."""
    return value if value == "epoch" else _arguments.integer("save_freq", value)


class WritesFiles:
    """A callback with `save_freq`."""

    @property
    def batches_may_share_a_call(self) -> bool:
        """Whether the batch hook has nothing to do."""
        return self.save_freq == "epoch"
