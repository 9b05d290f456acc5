"""The recall task: an exact solver needs nothing but x."""

import numpy as np
import pytest

from kphys.datasets import recall


def solve(x):
    outputs = np.zeros(x.shape[:2], int)
    for sequence, output in zip(x, outputs, strict=True):
        remembered = None
        for step, (*symbols, cue) in enumerate(sequence):
            if any(symbols):
                remembered = symbols.index(1)
            if cue:
                output[step] = remembered + 1
    return outputs


@pytest.mark.parametrize(("timesteps", "num_symbols"), [(20, 4), (2, 1), (7, 3), (50, 12)])
def test_the_exact_solver_is_always_right(timesteps, num_symbols):
    for x, y in recall.load_data(500, timesteps, num_symbols):
        assert x.shape[1:] == (timesteps, num_symbols + 1)
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        assert np.array_equal(solve(x), y)


def test_every_symbol_and_every_step_occurs():
    (x, y), _ = recall.load_data(5_000, 20, 4)
    assert set(np.unique(y)) == {0, 1, 2, 3, 4}
    assert (np.count_nonzero(y, axis=1) == 1).all()
    assert x[..., :4].sum(axis=(0, 2))[:10].all()
    assert x[..., 4].sum(axis=0)[10:].all()
