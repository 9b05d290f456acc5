"""How many modes of a distribution a generator's samples cover, and how many of its samples are good."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kphys import _arguments
from kphys.models._arrays import check_finite, numeric


@dataclass(frozen=True)
class ModeCoverage:
    """The modes, or classes, that samples cover; a sample counts for a mode if it is good.

    Attributes:
        counts: Number of good samples of each mode.
        num_samples: Number of all samples.
    """

    counts: tuple[int, ...]
    num_samples: int

    @property
    def num_modes(self) -> int:
        """The number of modes that at least one good sample belongs to."""
        return sum(count > 0 for count in self.counts)

    @property
    def share_good(self) -> float:
        """The share of samples that are good."""
        return sum(self.counts) / self.num_samples

    @property
    def entropy(self) -> float:
        """−Σ p ln p in nats, p the share of a mode in the good samples: ln(number of modes) if all are equal."""
        shares = [count / sum(self.counts) for count in self.counts if count]
        return math.fsum(share * -math.log(share) for share in shares)

    def __str__(self) -> str:
        return (
            f"{self.num_modes} of {len(self.counts)} modes, entropy {self.entropy:.2f} of "
            f"{math.log(len(self.counts)):.2f} nats, {self.share_good:.1%} good samples"
        )


def mode_coverage(
    samples: np.ndarray, classifier: Any, *, threshold: float = 0.9, batch_size: int = 256
) -> ModeCoverage:
    """Gives which classes a classifier sees in samples, how evenly, and how sure it is of them.

    A sample belongs to its most probable class; it is good if that probability is at least `threshold`.

    Args:
        samples: A generator's samples, `(samples, ...)`, in the units that `classifier` takes.
        classifier: A Keras model, or any function, that gives the probabilities of the classes, `(samples, classes)`;
            `(samples, 1)` for two classes, the probability of the second.
        threshold: A probability from 0 to 1; 0 takes every sample for good.
        batch_size: Number of samples that a Keras model is given at a time; a function gets all at once.

    Returns:
        A `ModeCoverage` with `num_modes`, `entropy`, `share_good` and `counts`.

    Raises:
        ValueError, TypeError: Samples that are none or not finite, or a classifier that does not give probabilities.

    Reference:
        Salimans et al., 2016, "Improved techniques for training GANs" (judging samples by a classifier).

    Example:
        >>> import numpy as np
        >>> from kphys.models.adversarial import mode_coverage
        >>> samples = np.array([[0.1], [0.2], [0.5], [1.0]])
        >>> print(mode_coverage(samples, lambda x: np.hstack([1 - x, x, 0 * x]), threshold=0.8))
        2 of 3 modes, entropy 0.64 of 1.10 nats, 75.0% good samples
    """
    samples = numeric("samples", samples)
    check_finite("samples", samples)
    threshold = _arguments.real("threshold", threshold, minimum=0)
    if threshold > 1:
        raise ValueError(f"`threshold` must be a probability from 0 to 1, got {threshold:g}.")
    probabilities = _probabilities(samples, classifier, _arguments.integer("batch_size", batch_size))
    return _coverage(probabilities.argmax(axis=1), probabilities.max(axis=1) >= threshold, probabilities.shape[1])


def gaussian_mode_coverage(
    samples: np.ndarray, centres: np.ndarray, width: float, *, num_widths: float = 3.0
) -> ModeCoverage:
    """Gives which modes of a mixture of equal Gaussians samples cover, such as a ring of eight in the plane.

    A sample belongs to the nearest centre; it is good if it is no farther from it than `num_widths` widths.

    Args:
        samples: A generator's samples, `(samples, dimensions)`.
        centres: The means of the Gaussians, `(modes, dimensions)`.
        width: σ > 0, their standard deviation along each axis, in the units of `samples`.
        num_widths: The largest distance of a good sample in units of σ. In two dimensions 98.9 % of the mixture itself
            are within 3.

    Returns:
        A `ModeCoverage` with `num_modes`, `entropy`, `share_good` and `counts`.

    Raises:
        ValueError, TypeError: Samples and centres that are none, not finite, or of different dimensions.

    Reference:
        Metz, Poole, Pfau and Sohl-Dickstein, 2017, "Unrolled generative adversarial networks" (the ring); Srivastava et
        al., 2017, "VEEGAN: reducing mode collapse in GANs using implicit variational learning" (the measure).

    Example:
        >>> import numpy as np
        >>> from kphys.models.adversarial import gaussian_mode_coverage
        >>> angles = np.arange(8) * np.pi / 4
        >>> centres = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        >>> samples = centres[:6] + [0.01, 0.0]
        >>> print(gaussian_mode_coverage(samples, centres, width=0.02))
        6 of 8 modes, entropy 1.79 of 2.08 nats, 100.0% good samples
    """
    samples, centres = numeric("samples", samples), numeric("centres", centres)
    if samples.ndim != 2 or centres.ndim != 2 or samples.shape[1] != centres.shape[1]:
        raise ValueError(
            "`samples` and `centres` must have the shapes (samples, dimensions) and (modes, dimensions), got "
            f"{samples.shape} and {centres.shape}."
        )
    check_finite("samples", samples)
    check_finite("centres", centres)
    reach = _arguments.real("width", width, positive=True) * _arguments.real("num_widths", num_widths, positive=True)
    distances = np.stack([np.linalg.norm(samples - centre, axis=1) for centre in centres], axis=1)  # (samples, modes)
    return _coverage(distances.argmin(axis=1), distances.min(axis=1) <= reach, len(centres))


def _coverage(modes: np.ndarray, good: np.ndarray, num_modes: int) -> ModeCoverage:
    counts = np.bincount(modes[good], minlength=num_modes)
    return ModeCoverage(tuple(int(count) for count in counts), len(modes))


def _probabilities(samples: np.ndarray, classifier: Callable[[Any], Any], batch_size: int) -> np.ndarray:
    if hasattr(classifier, "predict"):
        given = classifier.predict(samples, batch_size=batch_size, verbose=0)
    elif callable(classifier):
        given = classifier(samples)
    else:
        raise TypeError(f"`classifier` must be a Keras model or a function, got {type(classifier).__name__}.")
    probabilities = np.asarray(given, float)
    if probabilities.ndim != 2 or len(probabilities) != len(samples):
        raise ValueError(
            f"`classifier` must give the shape (samples, classes) for {len(samples)} samples, got "
            f"{probabilities.shape}."
        )
    if probabilities.shape[1] == 1:
        probabilities = np.hstack([1 - probabilities, probabilities])
    sums = probabilities.sum(axis=1)
    if not (probabilities >= 0).all() or not np.allclose(sums, 1, atol=1e-2):
        raise ValueError(
            "`classifier` must give probabilities, not negative and with the sum 1 for every sample, got "
            f"{probabilities.min():.3g} to {probabilities.max():.3g} with sums {sums.min():.3g} to {sums.max():.3g}: "
            "end it in a softmax."
        )
    return probabilities
