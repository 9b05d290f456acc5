"""The lecture's memory tasks: an LSTM keeps a symbol, or counts, over up to 19 steps."""

import keras
import pytest

from kphys import rnn_classifier
from kphys.callbacks import GradientClipping
from kphys.datasets import countdown, recall

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("task", [recall, countdown], ids=["recall", "countdown"])
def test_an_lstm_remembers(task, seed, falling):
    """6,000 sequences of 20 steps, 1,500 batches of 20; 1,500 other sequences to test. Three seeds, none may fail.

    Silence is right at 95 % of all steps, so the steps at which an answer is due are counted by themselves too: at
    least 99 % of all steps and 99 % of the answers. Without clipped gradients one training in ten ends badly, which is
    a matter of rounding.
    """
    (x_train, y_train), (x_test, y_test) = task.load_data(seed=seed)
    num_classes = int(y_train.max()) + 1
    keras.utils.set_random_seed(seed)
    model = rnn_classifier(
        (None, x_train.shape[-1]),
        num_classes,
        units=64,
        return_sequences=True,
        learning_rate=falling(1e-2, x_train, 20, 5),
        seed=seed,
    )
    clipping = GradientClipping(global_norm=0.5)
    model.fit(x_train, y_train, batch_size=20, epochs=5, verbose=0, callbacks=[clipping])
    outputs = model.predict(x_test, batch_size=500, verbose=0)
    chosen = outputs.argmax(axis=-1) if num_classes > 2 else outputs[..., 0] > 0.5
    right = chosen == y_test.reshape(chosen.shape)
    assert right.mean() >= 0.99
    assert right[y_test.reshape(chosen.shape) > 0].mean() >= 0.99
