"""The character network on a megabyte of Shakespeare: nats a character on text not learnt from, and speed of writing.

`python benchmarks/characters.py`: trains for `--epochs`, prints a line an epoch and a sample. A table of the
frequencies of five letters in a row reaches 1.73 nats on the usual held-out tenth of the text.
"""

from __future__ import annotations

import argparse
import time

import keras

from kphys import char_rnn
from kphys.datasets import tinyshakespeare
from kphys.models.sequences import character_dataset


class Report(keras.callbacks.Callback):
    """Prints a line an epoch, with the seconds since training began, by the clock and of both processors."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts the clocks."""
        self._start = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Prints the losses."""
        wall, processors = time.perf_counter() - self._start[0], time.process_time() - self._start[1]
        print(
            f"epoch {epoch + 1:2}: {logs['loss']:.3f}, test {logs['val_loss']:.3f} nats a character, "
            f"{wall:.0f} s by the clock, {processors:.0f} s of the processors",
            flush=True,
        )


def main() -> None:
    """Trains, then writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--units", type=int, nargs="+", default=[256, 256])
    parser.add_argument("--cell", default="lstm")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--sequence-length", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=0.004)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    text, test_text = tinyshakespeare.load_data()
    train = character_dataset(text, given.sequence_length, given.batch_size, seed=given.seed)
    test = character_dataset(test_text, 500, 40, shuffle=False, vocabulary=train.vocabulary)
    model = char_rnn(
        len(train.vocabulary),
        cell=given.cell,
        units=given.units,
        dropout=given.dropout,
        learning_rate=keras.optimizers.schedules.CosineDecay(given.learning_rate, given.epochs * len(train)),
        seed=given.seed,
    )
    model.fit(train, validation_data=test, epochs=given.epochs, verbose=0, callbacks=[Report()])
    print(model.generate("ROMEO:\n", 400, temperature=0.8, seed=given.seed))

    writer = char_rnn(len(train.vocabulary), units=256, seed=0)
    writer.vocabulary = train.vocabulary
    writer.generate("ROMEO:", 10)
    start = time.perf_counter()
    writer.generate("ROMEO:", 20_000)
    print(f"one layer of 256 units writes {20_000 / (time.perf_counter() - start):,.0f} characters a second")


if __name__ == "__main__":
    main()
