"""Training speed of networks that write characters, answer sequences, and read texts.

    python benchmarks/sequences.py [--repeats 3] [--epochs 3] [--samples 3200] [--batch-size 32] [--only texts]

Each as kphys' builder has it in a long training, with XLA from the first step on where it has any; the same without the
backward pass that kphys has for XLA; as Keras written by hand with its defaults; in PyTorch with everything in memory,
shuffled indices and the fused Adam. The ratio is how many times faster kphys trains than the row. All log loss and
accuracy; kphys also the share of whole answers that are right, and the area under the ROC curve of the texts.

| group | network | quality, on test data |
| --- | --- | --- |
| characters | `char_rnn`, LSTM of 128 units, vectors of 64, pieces of 100 characters | characters foretold |
| answers | `seq2seq`, LSTM of 128 units, vectors of 64: 12 of 15 kinds, turned round | right tokens |
| texts | `text_classifier`, LSTM of 64 units, vectors of 64: 40 words, of Dickens or of another | right texts |

Characters are Shakespeare's, texts those of three novels in the folder that `KPHYS_DATA` names; without it they are
made up. kphys takes raw texts, the other two the numbers of the words, which are made before the clock runs.
"""

from __future__ import annotations

import argparse
import functools
import math
from typing import Any, NamedTuple

from _compare import (
    EPOCH_COLUMNS,
    FLOPS,
    QUALITY,
    Figures,
    arguments,
    as_if_long,
    clocked,
    compare,
    in_every_group,
    in_folder,
    torch_before_tensorflow,
    train_torch,
    with_torch,
)

EMBEDDING = 64
UNITS = {"characters": 128, "answers": 128, "texts": 64}
PIECE, ANSWER, WORDS = 100, 12, 40  # Steps of each.
TOKENS = 16  # With the 0 that pads and ends.
VOCABULARY = 5_000  # Words that are told apart.
HELD_OUT = 640
KERAS_LOOPS = "kphys, Keras' loops in XLA"


class Task(NamedTuple):
    """Arrays to train and to test on, and the number of what is told apart at the input."""

    x: Any
    y: Any
    x_test: Any
    y_test: Any
    size: int


def task_of(group: str, given: argparse.Namespace) -> Task:
    """Gives the data of a group."""
    x, y, size = {"characters": characters, "answers": answers, "texts": texts}[group](given.samples + HELD_OUT)
    return Task(x[:-HELD_OUT], y[:-HELD_OUT], x[-HELD_OUT:], y[-HELD_OUT:], size)


def characters(samples: int) -> tuple[Any, Any, int]:
    """Gives pieces of the plays, and the character that follows each of theirs."""
    import numpy as np

    text = in_folder("tinyshakespeare_90.txt") or "".join(np.random.default_rng(0).choice(list("abcdefgh "), 10**6))
    vocabulary, numbers = np.unique(list(text[: samples * PIECE + 1]), return_inverse=True)
    x, y = (numbers[first : first + samples * PIECE].reshape(samples, PIECE) for first in (0, 1))
    return x.astype("int32"), y.astype("int32"), len(vocabulary)


def answers(samples: int) -> tuple[Any, Any, int]:
    """Gives sequences of tokens, and the same from the last to the first."""
    import numpy as np

    x = np.random.default_rng(0).integers(1, TOKENS, (samples, ANSWER)).astype("int32")
    return x, x[:, ::-1].copy(), TOKENS


def texts(samples: int) -> tuple[Any, Any, int]:
    """Gives pieces of the novels, and whether Dickens wrote them."""
    import numpy as np

    text = in_folder("novels3.txt.gz") or " ".join(np.random.default_rng(0).zipf(1.3, 10**6).astype(str))
    copperfield, _, others = text.partition("\nVanity Fair\n")
    pieces = [
        [" ".join(words[start : start + WORDS]) for start in range(0, len(words) - WORDS, WORDS)]
        for words in (copperfield.split(), others.split() or copperfield.split()[::-1])
    ]
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, samples)
    orders = [iter(generator.permutation(len(some))) for some in pieces]  # No piece twice.
    return np.array([pieces[one][next(orders[one])] for one in y]), y, VOCABULARY


def vectorization(x: Any) -> Any:
    """Gives the layer that cuts texts into words and numbers them."""
    import keras

    layer = keras.layers.TextVectorization(VOCABULARY, output_sequence_length=WORDS)
    layer.adapt(x)
    return layer


def numbered(task: Task) -> Task:
    """Gives a task whose texts are numbers of words."""
    if task.x.dtype.kind != "U":
        return task
    layer = vectorization(task.x)
    return task._replace(x=layer(task.x).numpy(), x_test=layer(task.x_test).numpy())


def with_answers_so_far(task: Task) -> Task:
    """Gives a task whose x also has the answer, a token later, and whose y ends with 0: teacher forcing."""
    import numpy as np

    def both(x: Any, y: Any) -> tuple[Any, Any]:
        ends = np.zeros((len(y), 1), y.dtype)
        return np.concatenate([x, ends, y], axis=1), np.concatenate([y, ends], axis=1)

    return Task(*both(task.x, task.y), *both(task.x_test, task.y_test), task.size)


def kphys(group: str, given: argparse.Namespace, keras_loops: bool = False) -> Figures:
    """Trains what the builder gives, or that with Keras' loops over the steps compiled by XLA as they are."""
    from kphys import char_rnn, seq2seq, text_classifier

    task, units = task_of(group, given), UNITS[group]
    if group == "characters":
        model = char_rnn(task.size, units=units)
    elif group == "answers":
        model = seq2seq(TOKENS, TOKENS, units=units)
    else:
        model = text_classifier(vectorization(task.x), 2, units=units)
    for layer in model._flatten_layers():
        if keras_loops and hasattr(layer, "inner_loop"):
            layer.inner_loop = layer.inner_loop  # One of its own is left alone.
    return with_quality(as_if_long(model), task, given)


def by_hand(group: str, given: argparse.Namespace) -> Figures:
    """Trains what the Keras documentation shows."""
    import keras
    from keras.layers import LSTM, Dense, Embedding

    task, units = numbered(task_of(group, given)), UNITS[group]
    if group == "answers":
        task = with_answers_so_far(task)
        inputs = keras.Input((2 * ANSWER + 1,), dtype="int32")
        question, so_far = inputs[:, :ANSWER], inputs[:, ANSWER:]
        _, *states = LSTM(units, return_state=True)(Embedding(TOKENS, EMBEDDING)(question))
        outputs = LSTM(units, return_sequences=True)(Embedding(TOKENS, EMBEDDING)(so_far), initial_state=states)
        model = keras.Model(inputs, Dense(TOKENS, "softmax")(outputs))
    else:
        each = group == "characters"
        layers = [Embedding(task.size, EMBEDDING, mask_zero=not each), LSTM(units, return_sequences=each)]
        layers.append(Dense(task.size, "softmax") if each else Dense(1, "sigmoid"))
        model = keras.Sequential([keras.Input(task.x.shape[1:], dtype="int32"), *layers])
    loss = "binary_crossentropy" if group == "texts" else "sparse_categorical_crossentropy"
    model.compile("adam", loss, metrics=["accuracy"])
    return with_quality(model, task, given)


def with_quality(model: Any, task: Task, given: argparse.Namespace) -> Figures:
    """Fits a model and gives the figures of its epochs, and the accuracy on the test data."""
    figures = clocked(model, (task.x, task.y), given)
    quality = model.evaluate(task.x_test, task.y_test, verbose=0, return_dict=True)["accuracy"]
    steps = task.y.shape[1] if task.y.ndim > 1 else WORDS
    matrices = [weight for weight in model.trainable_weights if len(weight.shape) == 2 and weight.name != "embeddings"]
    # As `flops_a_sample`, which must know how many steps a layer reads.
    return {**figures, FLOPS: 6.0 * steps * sum(math.prod(matrix.shape) for matrix in matrices), QUALITY: quality}


def torch_loop(group: str, given: argparse.Namespace) -> Figures:
    """Trains the same in PyTorch."""
    torch = torch_before_tensorflow()
    from torch import nn

    class Network(nn.Module):
        def __init__(self, size: int, outputs: int) -> None:
            super().__init__()
            units = UNITS[group]
            self.embedding, self.recurrent = nn.Embedding(size, EMBEDDING), nn.LSTM(EMBEDDING, units, batch_first=True)
            if group == "answers":
                self.other_embedding = nn.Embedding(size, EMBEDDING)
                self.decoder = nn.LSTM(EMBEDDING, units, batch_first=True)
            self.outputs = nn.Linear(units, outputs)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if group == "answers":
                _, states = self.recurrent(self.embedding(x[:, :ANSWER]))
                return self.outputs(self.decoder(self.other_embedding(x[:, ANSWER:]), states)[0])
            states = self.recurrent(self.embedding(x))[0]
            return self.outputs(states if group == "characters" else states[:, -1])

    task = numbered(task_of(group, given))
    if group == "answers":
        task = with_answers_so_far(task)
    x, y, x_test, y_test = (torch.from_numpy(array.astype("int64")) for array in task[:4])
    network = Network(task.size, 2 if group == "texts" else task.size)
    figures = train_torch(network, x, y, given)
    with torch.no_grad():
        return {**figures, QUALITY: (network(x_test).argmax(-1) == y_test).float().mean().item()}


if __name__ == "__main__":
    own = {"kphys": kphys, KERAS_LOOPS: functools.partial(kphys, keras_loops=True), "Keras by hand": by_hand}
    given = arguments(__doc__, only=UNITS, epochs=3, samples=3_200, batch_size=32)
    groups = in_every_group(given.only, with_torch(own, PyTorch=torch_loop))
    groups.get("texts", {}).pop(KERAS_LOOPS, None)  # Nothing of it goes through XLA.
    compare(groups, given, (*EPOCH_COLUMNS, QUALITY))
