"""Words in, batches of the compiled step out: subsampling, windows and noise words, in NumPy without a loop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kphys.models._corpus import Piece

# Words that one group shares its noise words with: with windows of 5, 32 words need 42 rows beside the noise.
GROUP = 32
STREAMS = 16  # Places of the text that the recurrent network reads at once.


class Layout(NamedTuple):
    """How a block of words is laid out: its objective, window, groups a step, noise words a group, steps a call.

    `largest_rate` is the learning rate beyond which a step of that many words overshoots.
    """

    objective: str
    window: int
    groups: int
    noise: int
    steps: int
    largest_rate: float

    @property
    def words(self) -> int:
        """Words that one step trains on."""
        return STREAMS * self.window if self.objective == "recurrent" else self.groups * GROUP


class Batches(NamedTuple):
    """The arrays of a block, each `(layout.steps, ...)`, how many of these steps hold words, and the words read."""

    arrays: tuple[np.ndarray, ...]
    steps: int
    words: int


def make_layout(
    objective: str, dim: int, window: int, num_negatives: int, learning_rate: float, frequency: float, block: int
) -> Layout:
    """Gives the layout for blocks of `block` words, the most frequent of which makes up the share `frequency`.

    All words of a step see the same vectors. A word that a step holds often moves by the sum of its gradients: with n
    terms of curvature up to ¼ |v|² that sum overshoots where n · rate · |v|² > 8. The step takes as many words as that
    allows; where few words make up the whole vocabulary, it is the rate that must be smaller. |v|² is about 4, and for
    states of the recurrent network a quarter of their number.
    """
    if objective == "recurrent":
        words = STREAMS * window
        largest = 8 / (words * frequency * (1 + num_negatives) * max(4, dim / 4))
        return Layout(objective, window, 1, 8 * num_negatives, math.ceil(block / words), largest)
    pairs = window + 1 if objective == "skip_gram" else 1
    terms = pairs * (1 + num_negatives) * frequency * GROUP
    largest = 2 / terms
    groups = int(np.clip(largest / learning_rate, 1, 8)) if learning_rate else 8
    # As many noise words as one word alone would draw for its pairs; for CBOW, whose words have one each, some more.
    noise = num_negatives * (pairs if objective == "skip_gram" else 4)
    return Layout(objective, window, groups, noise, math.ceil(block / (groups * GROUP)), largest / groups)


def kept_share(counts: np.ndarray, subsample: float) -> np.ndarray:
    """Gives the probability (√(f/t) + 1) t/f, at most 1, to keep a word of frequency f; t is `subsample`."""
    share = np.ones(len(counts), "float32")
    frequency = counts / counts.sum()
    seen = counts > 0
    if subsample:
        ratio = frequency[seen] / subsample
        share[seen] = np.minimum(1, (np.sqrt(ratio) + 1) / ratio)
    return share


def noise_shares(counts: np.ndarray, exponent: float) -> np.ndarray:
    """Gives the distribution of the noise words, proportional to the power `exponent` of the counts."""
    power, seen = np.zeros(len(counts)), counts > 0  # Words that never occur are never drawn.
    # Scaled so that no power is above 1: none overflows.
    power[seen] = (counts[seen] / (counts.max() if exponent > 0 else counts[seen].min())) ** exponent
    return power / power.sum()


def prepare(
    blocks: Iterable[Piece], layout: Layout, kept: np.ndarray, noise: np.ndarray, seed: Any
) -> Iterator[Batches]:
    """Gives the batches of `blocks`, words, windows and noise words drawn with `seed`."""
    generator = np.random.default_rng(seed)
    edges = np.cumsum(noise)
    edges /= edges[-1]
    for block in blocks:
        ids, lengths = _subsampled(block, kept, generator)
        if layout.objective == "recurrent":
            arrays, steps = _streams(ids, lengths, layout, edges, generator)
        else:
            arrays, steps = _windows(ids, lengths, layout, edges, generator)
        yield Batches(arrays, steps, len(block.ids))


def ahead(batches: Iterator[Batches]) -> Iterator[Batches]:
    """Gives what `batches` gives, the next one made while the caller is busy with the last."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, batches, None)
        while (batch := waiting.result()) is not None:
            waiting = pool.submit(next, batches, None)
            yield batch


def _subsampled(block: Piece, kept: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Gives the words that stay and the lengths of their sentences, none of which is 0."""
    stays = generator.random(len(block.ids), "float32") < kept[block.ids]
    ids = block.ids[stays]
    ends = np.concatenate([[0], np.cumsum(stays)])[np.concatenate([block.starts, [len(stays)]]).astype("int64")]
    lengths = np.diff(ends, prepend=0)
    return ids, lengths[lengths > 0]


def draw_noise(edges: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """Gives `size` words drawn by systematic sampling: every word as often as its share says, to within one."""
    counts = np.diff(np.floor(edges * size + generator.random()).astype("int64"), prepend=0)
    words = np.repeat(np.arange(len(edges), dtype="int32"), counts)
    generator.shuffle(words)
    return words


def _windows(
    ids: np.ndarray, lengths: np.ndarray, layout: Layout, edges: np.ndarray, generator: np.random.Generator
) -> tuple[tuple[np.ndarray, ...], int]:
    """Gives what skip-gram and CBOW take, groups of `GROUP` words with a margin of `window` on both sides.

    Every word's window reaches 1 to `window` words to either side, drawn anew, and never beyond its sentence.
    """
    window, size = layout.window, len(ids)
    steps = math.ceil(size / layout.words)
    ends = np.cumsum(lengths)
    position = np.arange(size)
    reach = generator.integers(1, window + 1, size)
    left = np.minimum(reach, position - np.repeat(ends - lengths, lengths))
    right = np.minimum(reach, np.repeat(ends, lengths) - 1 - position)
    groups = layout.steps * layout.groups
    padded = np.zeros((3, groups * GROUP + 2 * window), "int32")
    padded[:, window : window + size] = ids, left, right
    words, left, right = sliding_window_view(padded, GROUP + 2 * window, axis=1)[:, ::GROUP]  # (groups, margin + GROUP)
    noise = np.zeros((groups, layout.noise), "int32")
    drawn = steps * layout.groups
    noise[:drawn] = draw_noise(edges, drawn * layout.noise, generator).reshape(drawn, layout.noise)
    inner = words[:, window:-window]
    if layout.objective == "skip_gram":
        arrays = (inner, np.concatenate([words, noise], axis=1), left, right)
    else:
        arrays = (words, np.concatenate([inner, noise], axis=1), left[:, window:-window], right[:, window:-window])
    return tuple(array.reshape(layout.steps, layout.groups, -1) for array in arrays), steps


def _streams(
    ids: np.ndarray, lengths: np.ndarray, layout: Layout, edges: np.ndarray, generator: np.random.Generator
) -> tuple[tuple[np.ndarray, ...], int]:
    """Gives what the recurrent network takes: `STREAMS` parts of the text side by side, `window` words a step.

    A word is followed by a target unless its sentence ends with it, and by a state unless its sentence starts with it.
    """
    size = len(ids)
    steps = math.ceil(size / layout.words)
    ends = np.cumsum(lengths)
    target, follows, starts = np.zeros(size, "int32"), np.ones(size, "float32"), np.zeros(size, "float32")
    target[:-1] = ids[1:]
    follows[ends - 1] = 0
    starts[ends - lengths] = 1

    def laid_out(values: np.ndarray) -> np.ndarray:
        padded = np.zeros(steps * layout.words, values.dtype)
        padded[:size] = values
        out = np.zeros((layout.steps, STREAMS, layout.window), values.dtype)
        out[:steps] = padded.reshape(STREAMS, steps, layout.window).swapaxes(0, 1)
        return out

    noise = np.zeros((layout.steps, layout.noise), "int32")
    noise[:steps] = draw_noise(edges, steps * layout.noise, generator).reshape(steps, layout.noise)
    return (laid_out(ids), laid_out(target), laid_out(1 - starts), laid_out(follows), noise), steps
