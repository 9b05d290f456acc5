"""The promises' table: every builder with every option, small enough to train in a moment.

A row says what is built, the exact number of weights, worked out by hand, and the shape of the predictions. `BATCH`
samples of made-up data go with it, by the builder's kind (`contract_kinds`). The tests and the new processes that they
start read the same table.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from agent_worlds import EPISODE, Film, Line
from contract_kinds import BATCH, KINDS, STEPS, WORDS, Kind

import kphys
from kphys.models._calls import calls_of


@dataclass(frozen=True)
class Row:
    """One builder with one set of options; `stochastic` if a step draws random numbers or mixes the batch's samples."""

    name: str
    builder: str
    arguments: tuple[Any, ...]
    weights: int
    outputs: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    stochastic: bool = False
    every_check: bool = False  # Also in the checks that take longest; a builder's first such row is for everybody.

    def build(self, seed: int | None = 3, *, xla: bool | None = None) -> keras.Model:
        """Gives the model as the builder makes it, or with XLA from the first step on if it has any, or without."""
        arguments = [_new(value) for value in self.arguments]
        options = {name: _new(value) for name, value in self.options.items()}
        model = getattr(kphys, self.builder)(*arguments, seed=seed, **options)
        if xla is not None:
            calls_of(model).steps_worth_xla = 1 if xla else None
            model.jit_compile = xla and model.jit_compile
        return model

    @property
    def kind(self) -> Kind:
        return KINDS.get(f"{self.builder}[{self.name}]", KINDS[self.builder])

    def data(self) -> tuple[np.ndarray, ...]:
        """Gives what `fit` takes, `(x,)` or `(x, y)`."""
        return self.kind.fits(self, np.random.default_rng(5))

    def inputs(self) -> np.ndarray:
        """Gives what `predict` takes: x, for a generator codes."""
        return (self.kind.predicts or self.kind.fits)(self, np.random.default_rng(5))[0]

    def fit(self, model: keras.Model, *, batches: int = 1, validate: bool = False, **settings: Any) -> Any:
        """Trains `model` on the data, in `batches` batches an epoch if it takes batches, and gives its `History`."""
        if self.kind.plays:
            return self._play(model, validate=validate, **settings)
        data = self.data()
        if validate:
            settings["validation_data"] = data if len(data) > 1 else data[0]
        if self.kind.batches:
            settings |= {"batch_size": BATCH // batches, "shuffle": False}
        return model.fit(*data, verbose=0, **settings)

    def _play(self, model: keras.Model, *, validate: bool, **settings: Any) -> Any:
        """Has `model` play whole episodes and learn."""
        if validate:
            settings["validation_data"] = self.environment()
        return model.fit(self.environment(), steps_per_epoch=2 * EPISODE, verbose=0, **settings)

    def environment(self) -> Any:
        """Gives what an agent plays in."""
        return Line() if isinstance(self.arguments[0], int) else Film(EPISODE)

    def step(self, model: keras.Model) -> None:
        """Trains `model` on one batch, or if it takes no batches for an epoch."""
        if self.kind.batches:
            model.train_on_batch(*self.data())
        else:
            self.fit(model)

    def evaluate(self, model: keras.Model) -> dict[str, float]:
        """Gives the logs of `model` on the data, in one batch, or of an agent over ten episodes."""
        if self.kind.plays:
            return {"episode_return": model.evaluate(self.environment()).mean}
        settings = {"batch_size": BATCH} if self.kind.batches else {}
        return model.evaluate(*self.data(), verbose=0, return_dict=True, **settings)


@dataclass(frozen=True)
class Adapted:
    """Makes a `Normalization` adapted to features of one width: a new layer for every model."""

    width: int

    def __call__(self) -> keras.layers.Normalization:
        layer = keras.layers.Normalization()
        layer.adapt(np.random.default_rng(0).normal(3.0, 2.0, size=(64, self.width)).astype("float32"))
        return layer


def _vectorization(**settings: Any) -> keras.layers.TextVectorization:
    return keras.layers.TextVectorization(vocabulary=list(WORDS), **settings)


def _vectors() -> kphys.WordVectors:
    """Gives vectors of three components for two of the words."""
    vectors = kphys.word_vectors(2, 3, seed=0)
    vectors.set_vocabulary(WORDS[:2])
    return vectors


def _new(value: Any) -> Any:
    """Gives a new layer or model where the table has what makes one: every model has its own."""
    return value() if callable(value) else value


def dense(*sizes: int) -> int:
    """Weights of dense layers from the first size to the last."""
    return sum((a + 1) * b for a, b in itertools.pairwise(sizes))


def _mlp() -> list[Row]:
    small = {"hidden_units": (5, 6)}
    body = dense(4, 5, 6)
    rows = [
        Row("binary", "mlp_classifier", (4, 2), body + 7, (1,), small, every_check=True),
        Row("multiclass", "mlp_classifier", ((4,), 3), body + 21, (3,), small, every_check=True),
        Row("multilabel", "mlp_classifier", (4, 3), body + 21, (3,), {**small, "multilabel": True}),
        Row("one-label", "mlp_classifier", (4, 1), body + 7, (1,), {**small, "multilabel": True}),
        Row("defaults", "mlp_classifier", (4, 3), dense(4, 100, 100, 3), (3,)),
        Row("flattened", "mlp_classifier", ((2, 2), 2), body + 7, (1,), small),
        Row(
            "batch-normalization",
            "mlp_classifier",
            (4, 2),
            # No bias before a batch normalization, which has four numbers a unit.
            (4 * 5 + 4 * 5) + (5 * 6 + 4 * 6) + 7,
            (1,),
            {**small, "batch_normalization": True},
            stochastic=True,
        ),
        Row("dropout", "mlp_classifier", (4, 2), body + 7, (1,), {**small, "dropout": 0.5}, stochastic=True),
        Row("l1-l2", "mlp_classifier", (4, 2), body + 7, (1,), {**small, "l1": 0.01, "l2": 0.02}),
        Row(
            "normalization",
            "mlp_classifier",
            (4, 2),
            body + 7 + 2 * 4 + 1,
            (1,),
            {**small, "normalization": Adapted(4)},
        ),
        Row("sgd", "mlp_classifier", (4, 2), body + 7, (1,), {**small, "optimizer": "sgd", "learning_rate": 0.1}),
        Row(
            "alpha-dropout",
            "mlp_classifier",
            (4, 2),
            body + 7,
            (1,),
            {**small, "activation": "selu", "dropout": 0.1},
            stochastic=True,
        ),
    ]
    rows += [
        Row(activation, "mlp_classifier", (4, 2), body + 7, (1,), {**small, "activation": activation})
        for activation in ("selu", "elu", "leaky_relu", "tanh", "gelu")
    ]
    rows += [
        Row(f"depth-{depth}", "mlp_regressor", (4, 1), dense(4, *[5] * depth, 1), (1,), {"hidden_units": (5,) * depth})
        for depth in (1, 2, 3, 4, 5)
    ]
    for loss, units, outputs in (("mse", 2, (2,)), ("mae", 2, (2,)), ("huber", 2, (2,)), ("gaussian_nll", 4, (2, 2))):
        options = {**small, "loss": loss}
        rows.append(Row(loss, "mlp_regressor", (4, 2), body + 7 * units, outputs, options, every_check=loss != "mae"))
        # The inverse at the output keeps constants, not weights.
        options = {**options, "normalization": Adapted(4), "target_normalization": Adapted(2)}
        rows.append(Row(f"{loss}-normalized", "mlp_regressor", (4, 2), body + 7 * units + 9, outputs, options))
    return rows


def _convolution(kernel: int, a: int, b: int, bias: bool = True) -> int:
    return (kernel * a + bias) * b


def _residual_network(axes: int, squeeze: bool = False) -> int:
    """Stem and two stages of two blocks, 4 and 8 filters, a batch normalization after every convolution."""
    kernel = 3**axes

    def step(size: int, a: int, b: int) -> int:
        return _convolution(size, a, b, bias=False) + 4 * b

    def excite(filters: int) -> int:
        return dense(filters, 4, filters) if squeeze else 0

    stem = step(kernel, 1, 4)
    first = 2 * (2 * step(kernel, 4, 4) + excite(4))
    second = step(kernel, 4, 8) + step(kernel, 8, 8) + step(1, 4, 8) + 2 * step(kernel, 8, 8) + 2 * excite(8)
    return stem + first + second + dense(8, 3)


def _xception() -> int:
    """Stem and two stages of two separable convolutions with a 1×1 shortcut."""

    def separable(a: int, b: int) -> int:
        return 9 * a + a * b + 4 * b

    stem = 9 * 4 + 4 * 4
    first = separable(1 * 4, 4) + separable(4, 4) + (4 * 4 + 4 * 4)
    second = separable(4, 8) + separable(8, 8) + (4 * 8 + 4 * 8)
    return stem + first + second + dense(8, 3)


def _cnn() -> list[Row]:
    image, small = (12, 12, 1), {"filters": (4, 8), "hidden_units": 5}
    plain = _convolution(9, 1, 4) + _convolution(9, 4, 8)
    flat = dense(3 * 3 * 8, 5, 3)
    rows = [
        Row("plain", "cnn_classifier", (image, 3), plain + flat, (3,), small, every_check=True),
        Row("binary", "cnn_classifier", (image, 2), plain + dense(72, 5, 1), (1,), small),
        Row("multilabel", "cnn_classifier", (image, 3), plain + flat, (3,), {**small, "multilabel": True}),
        Row(
            "signal", "cnn_classifier", ((12, 2), 3),
            _convolution(3, 2, 4) + _convolution(3, 4, 8) + dense(3 * 8, 5, 3), (3,), small,
        ),
        Row(
            "volume", "cnn_classifier", ((4, 4, 4, 1), 3),
            _convolution(27, 1, 4) + _convolution(27, 4, 8) + dense(8, 5, 3), (3,), small,
        ),
        Row("periodic", "cnn_classifier", (image, 3), plain + dense(8, 5, 3), (3,),
            {**small, "periodic": True}, every_check=True),
        Row(
            "kernel-5", "cnn_classifier", (image, 3),
            _convolution(25, 1, 4) + _convolution(25, 4, 8) + flat, (3,), {**small, "kernel_size": 5},
        ),
        Row("tanh", "cnn_classifier", (image, 3), plain + flat, (3,), {**small, "activation": "tanh"}),
        Row("dropout", "cnn_classifier", (image, 3), plain + flat, (3,),
            {**small, "dropout": 0.3}, stochastic=True),
        Row("l1-l2", "cnn_classifier", (image, 3), plain + flat, (3,), {**small, "l1": 0.01, "l2": 0.01}),
        Row("normalization", "cnn_classifier", (image, 3), plain + flat + 3, (3,),
            {**small, "normalization": Adapted(1)}),
        Row(
            "batch-normalization", "cnn_classifier", (image, 3),
            _convolution(9, 1, 4, bias=False) + 16 + _convolution(9, 4, 8, bias=False) + 32 + (72 * 5 + 20) + 18, (3,),
            {**small, "batch_normalization": True}, stochastic=True,
        ),
        Row("lenet5", "cnn_classifier", ((28, 28, 1), 10), 61706, (10,), {"architecture": "lenet5"}),
        Row(
            "vgg", "cnn_classifier", (image, 3),
            plain + _convolution(9, 4, 4) + _convolution(9, 8, 8) + flat, (3,), {**small, "architecture": "vgg"},
        ),
    ]  # fmt: skip
    stages = {"filters": (4, 8)}
    counts = {"resnet": _residual_network(2), "se_resnet": _residual_network(2, squeeze=True), "xception": _xception()}
    rows += [
        Row(name, "cnn_classifier", (image, 3), count, (3,), {**stages, "architecture": name}, stochastic=True,
            every_check=name == "resnet")
        for name, count in counts.items()
    ]  # fmt: skip
    rows += [
        Row(f"{name}-periodic", "cnn_classifier", (image, 3), count, (3,),
            {**stages, "architecture": name, "periodic": True}, stochastic=True)
        for name, count in counts.items()
    ]  # fmt: skip
    rows.append(
        Row("resnet-signal", "cnn_classifier", ((12, 1), 3), _residual_network(1), (3,),
            {**stages, "architecture": "resnet"}, stochastic=True)
    )  # fmt: skip
    for loss, units, outputs in (("mse", 2, (2,)), ("mae", 2, (2,)), ("huber", 2, (2,)), ("gaussian_nll", 4, (2, 2))):
        options = {**small, "loss": loss, "target_normalization": Adapted(2)}
        weights = plain + dense(72, 5, units)
        rows.append(
            Row(loss, "cnn_regressor", (image, 2), weights, outputs, options, every_check=loss == "gaussian_nll")
        )
    return rows


def _cell(cell: str, features: int, units: int) -> int:
    gates = {"lstm": 4, "gru": 3, "simple": 1}[cell]
    biases = 2 if cell == "gru" else 1  # Keras' GRU has a bias on the input and one on the state.
    return gates * units * (features + units + biases)


def _rnn() -> list[Row]:
    series, small = (STEPS, 2), {"units": 4}
    rows = []
    for cell in ("lstm", "gru", "simple"):
        one = _cell(cell, 2, 4)
        options = {**small, "cell": cell}
        rows += [
            Row(cell, "rnn_classifier", (series, 3), one + dense(4, 3), (3,), options, every_check=cell != "simple"),
            Row(
                f"{cell}-sequences", "rnn_classifier", ((None, 2), 3), one + dense(4, 3), (STEPS, 3),
                {**options, "return_sequences": True},
            ),
            Row(
                f"{cell}-stacked", "rnn_classifier", (series, 2), one + _cell(cell, 4, 3) + dense(3, 1), (1,),
                {"cell": cell, "units": (4, 3)},
            ),
            Row(
                f"{cell}-bidirectional", "rnn_classifier", (series, 3), 2 * one + dense(8, 3), (3,),
                {**options, "bidirectional": True},
            ),
            Row(f"{cell}-masked", "rnn_classifier", (series, 3), one + dense(4, 3), (3,),
                {**options, "mask_value": -1.0}),
        ]  # fmt: skip
    one = _cell("lstm", 2, 4)
    rows += [
        Row(
            "masked-sequences", "rnn_classifier", ((None, 2), 2), one + dense(4, 1), (STEPS, 1),
            {**small, "return_sequences": True, "mask_value": 0.0}, every_check=True,
        ),
        Row(
            "multilabel-sequences", "rnn_classifier", (series, 3), one + dense(4, 3), (STEPS, 3),
            {**small, "return_sequences": True, "multilabel": True},
        ),
        Row(
            "layer-normalization", "rnn_classifier", (series, 3), one + 2 * 4 + dense(4, 3), (3,),
            {**small, "layer_normalization": True},
        ),
        Row("dropout", "rnn_classifier", (series, 3), one + dense(4, 3), (3,),
            {**small, "dropout": 0.3}, stochastic=True),
        Row("l1-l2", "rnn_classifier", (series, 3), one + dense(4, 3), (3,), {**small, "l1": 0.01, "l2": 0.01}),
        Row("normalization", "rnn_classifier", (series, 3), one + dense(4, 3) + 5, (3,),
            {**small, "normalization": Adapted(2)}),
    ]  # fmt: skip
    for loss, units, outputs in (("mse", 2, (2,)), ("mae", 2, (2,)), ("huber", 2, (2,)), ("gaussian_nll", 4, (2, 2))):
        options = {**small, "loss": loss, "target_normalization": Adapted(2)}
        rows.append(
            Row(loss, "rnn_regressor", (series, 2), one + dense(4, units), outputs, options, every_check=loss == "mse")
        )
        rows.append(
            Row(
                f"{loss}-sequences", "rnn_regressor", ((None, 2), 2), one + dense(4, units), (STEPS, *outputs),
                {**options, "return_sequences": True},
            )
        )  # fmt: skip
    return rows


def _autoencoders() -> list[Row]:
    image, small = (12, 12, 1), {"hidden_units": (5,)}
    mirror = dense(4, 5, 2) + dense(2, 5, 4)
    flat = ("autoencoder", (4, 2), mirror, (4,))
    lecture = [(1, 16), (16, 8), (8, 8), (8, 8), (8, 8), (8, 16), (16, 1)]
    # 12 × 12 pixels, three times half: 3 × 3 positions of 2 channels, 18 numbers, between the maps and the codes.
    tied = _convolution(9, 1, 4) + _convolution(9, 4, 2) + dense(18, 3) + 18 + 4 + 1
    return [
        Row("dense", *flat, small, every_check=True),
        Row("binary-crossentropy", *flat, {**small, "loss": "binary_crossentropy"}),
        Row("linear", "autoencoder", (4, 2), dense(4, 2, 4), (4,), {"hidden_units": (), "activation": "linear"}),
        Row("tied", "autoencoder", (4, 2), dense(4, 5, 2) + 5 + 4, (4,), {**small, "tied_weights": True},
            every_check=True),
        Row("noise", *flat, {**small, "noise": 0.1}, stochastic=True),
        Row("input-dropout", *flat, {**small, "input_dropout": 0.2}, stochastic=True),
        Row("sparsity", *flat, {**small, "sparsity": 0.1}),
        Row("code-l1", *flat, {**small, "code_l1": 0.01}),
        Row("l1-l2", *flat, {**small, "l1": 0.01, "l2": 0.01}),
        Row("normalization", *flat[:2], mirror + 9, (4,), {**small, "normalization": Adapted(4)}),
        Row("images", "conv_autoencoder", ((28, 28, 1),), sum(_convolution(9, a, b) for a, b in lecture), (28, 28, 1),
            every_check=True),
        Row("tied", "conv_autoencoder", (image, 3), tied, image, {"filters": (4, 2), "tied_weights": True}),
    ]  # fmt: skip


def _variational() -> list[Row]:
    small = {"hidden_units": 3}
    # 8 × 8 pixels, twice halved: 2 × 2 positions of 3 channels, 12 numbers, between the maps and the codes.
    encoder = _convolution(9, 1, 2) + _convolution(9, 2, 3) + 2 * dense(12, 2)
    decoder = dense(2, 12) + _convolution(9, 3, 2) + _convolution(9, 2, 1)
    flat = ("vae", (4, 2), 5 * 3 + 2 * 4 * 2 + 3 * 3 + 4 * 4, (4,))
    return [
        Row("bernoulli", *flat, small, stochastic=True, every_check=True),
        Row("beta", *flat, {**small, "beta": 4.0}, stochastic=True),
        Row("gaussian", *flat, {**small, "likelihood": "gaussian", "variance": 0.5}, stochastic=True),
        Row("learnt-variance", *flat[:2], flat[2] + 1, (4,), {**small, "likelihood": "gaussian"}, stochastic=True),
        Row("images", "conv_vae", ((8, 8, 1), 2), encoder + decoder, (8, 8, 1), {"filters": (2, 3)}, stochastic=True,
            every_check=True),
    ]  # fmt: skip


def _adversarial() -> list[Row]:
    # 8 × 8 pixels, halved to 4 × 4 maps; batch normalization has four numbers a channel.
    generator = 2 * 16 * 3 + 4 * 3 + _convolution(16, 3, 1)
    discriminator = _convolution(16, 1, 3) + 16 * 3 + 1
    replay = 1024 * 64 + 1
    small = ("dcgan", ((8, 8, 1), 2)), {"filters": 3}
    return [
        Row("no-guard", *small[0], generator + discriminator, (8, 8, 1), small[1], stochastic=True, every_check=True),
        Row("replay", *small[0], generator + discriminator + replay, (8, 8, 1),
            {**small[1], "mode_collapse_guard": "replay"}, stochastic=True),
        # One more map, of 16 positions.
        Row("minibatch-stddev", *small[0], generator + discriminator + 16, (8, 8, 1),
            {**small[1], "mode_collapse_guard": "minibatch_stddev"}, stochastic=True),
        Row("smoothing", *small[0], generator + discriminator, (8, 8, 1), {**small[1], "label_smoothing": 0.1},
            stochastic=True),
    ]  # fmt: skip


def _text_classifiers() -> list[Row]:
    # Six words, and two rows of the table for padding and for unknown words.
    arguments, small = (_vectorization, 3), {"embedding_dim": 3, "units": 4}
    table = (len(WORDS) + 2) * 3
    one = table + _cell("lstm", 3, 4)
    cut = functools.partial(_vectorization, output_sequence_length=2)
    return [
        Row("lstm", "text_classifier", arguments, one + dense(4, 3), (3,), small, every_check=True),
        Row("binary", "text_classifier", (_vectorization, 2), one + dense(4, 1), (1,), small),
        Row("multilabel", "text_classifier", arguments, one + dense(4, 3), (3,), {**small, "multilabel": True}),
        Row("gru", "text_classifier", arguments, table + _cell("gru", 3, 4) + dense(4, 3), (3,),
            {**small, "cell": "gru"}),
        Row("bidirectional", "text_classifier", arguments, table + 2 * _cell("lstm", 3, 4) + dense(8, 3), (3,),
            {**small, "bidirectional": True}),
        Row("layer-normalization", "text_classifier", arguments, one + 2 * 4 + dense(4, 3), (3,),
            {**small, "layer_normalization": True}),
        Row("dropout", "text_classifier", arguments, one + dense(4, 3), (3,), {**small, "dropout": 0.3},
            stochastic=True),
        Row("l1-l2", "text_classifier", arguments, one + dense(4, 3), (3,), {**small, "l1": 0.01, "l2": 0.01}),
        Row("cut", "text_classifier", (cut, 3), one + dense(4, 3), (3,), small),
        Row("frozen", "text_classifier", arguments, one + dense(4, 3), (3,), {**small, "trainable_embedding": False}),
        Row("word-vectors", "text_classifier", arguments, one + dense(4, 3), (3,),
            {"units": 4, "word_vectors": _vectors}),
    ]  # fmt: skip


def _characters() -> list[Row]:
    # Seven characters of three components each, in, and seven probabilities for every step, out.
    small, outputs = {"units": 4, "embedding_dim": 3}, (STEPS, 7)
    one = 7 * 3 + _cell("lstm", 3, 4) + dense(4, 7)
    rows = [
        Row(cell, "char_rnn", (7,), 7 * 3 + _cell(cell, 3, 4) + dense(4, 7), outputs, {**small, "cell": cell},
            every_check=cell == "lstm")
        for cell in ("lstm", "gru", "simple")
    ]  # fmt: skip
    rows += [
        Row("stacked", "char_rnn", (7,), 7 * 3 + _cell("lstm", 3, 4) + _cell("lstm", 4, 3) + dense(3, 7), outputs,
            {**small, "units": (4, 3)}),
        Row("layer-normalization", "char_rnn", (7,), one + 2 * 4, outputs, {**small, "layer_normalization": True}),
        Row("dropout", "char_rnn", (7,), one, outputs, {**small, "dropout": 0.3}, stochastic=True),
        Row("l1-l2", "char_rnn", (7,), one, outputs, {**small, "l1": 0.01, "l2": 0.01}),
    ]  # fmt: skip
    return rows


def _encoder_decoders() -> list[Row]:
    # Five tokens in, six out, of three components each; both networks have the same cells.
    arguments, outputs, small = (5, 6), (4,), {"units": 4, "embedding_dim": 3, "max_length": 4}
    tables, last = 5 * 3 + 6 * 3, dense(4, 6)
    one = _cell("lstm", 3, 4)
    rows = [
        Row(cell, "seq2seq", arguments, tables + 2 * _cell(cell, 3, 4) + last, outputs, {**small, "cell": cell})
        for cell in ("lstm", "gru", "simple")
    ]  # fmt: skip
    rows += [
        Row("stacked", "seq2seq", arguments, tables + 2 * (one + _cell("lstm", 4, 3)) + dense(3, 6), outputs,
            {**small, "units": (4, 3)}),
        # An LSTM has two states, each made of those of both directions.
        Row("bidirectional", "seq2seq", arguments, tables + 3 * one + 2 * dense(8, 4) + last, outputs,
            {**small, "bidirectional": True}),
        # Two layers without bias: of the memory, and of what was attended to beside the state.
        Row("attention", "seq2seq", arguments, tables + 2 * one + 4 * 4 + 8 * 4 + last, outputs,
            {**small, "attention": True}, every_check=True),
        Row("dropout", "seq2seq", arguments, tables + 2 * one + last, outputs, {**small, "dropout": 0.3},
            stochastic=True),
        Row("l1-l2", "seq2seq", arguments, tables + 2 * one + last, outputs, {**small, "l1": 0.01, "l2": 0.01}),
    ]  # fmt: skip
    return rows


def _words() -> list[Row]:
    # Six words of four components in two tables; NCE has a bias a word, the recurrent network a matrix.
    tables, sentences = 2 * 6 * 4, (4 * STEPS, 4)
    weights = {"skip_gram": tables, "cbow": tables, "recurrent": tables + 4 * 4}
    small = {"window": 2, "num_negatives": 2, "subsample": 0}
    rows = [
        Row(f"{objective}-{loss}", "word_vectors", (6, 4), weights[objective] + bias, sentences,
            {**small, "objective": objective, "loss": loss},
            every_check=(objective, loss) in (("skip_gram", "negative_sampling"), ("recurrent", "nce")))
        for objective in weights
        for loss, bias in (("negative_sampling", 0), ("nce", 6))
    ]  # fmt: skip
    options = {"subsample": 0.02, "window": 3, "noise_exponent": 0.0, "num_negatives": 4}
    return rows + [
        Row(option.replace("_", "-"), "word_vectors", (6, 4), tables, sentences, {**small, option: value})
        for option, value in options.items()
    ]


def _policy_gradients() -> list[Row]:
    small = {"hidden_units": (4,), "episodes_per_update": 2, "learning_rate": 0.01}
    one = dense(2, 4, 2)
    options = {
        "no-baseline": {"baseline": None},
        "optimal": {"baseline": "optimal"},
        "whole-return": {"reward_to_go": False},
        "normalized-advantages": {"normalize_advantages": True},
        "entropy-bonus": {"entropy_bonus": 0.1},
        "activation": {"activation": "relu"},
    }
    convolutions = 9 * 3 * 32 + 32 + 9 * 32 * 64 + 64
    return [
        Row("mean", "reinforce", (2, 2), one, (2,), small, every_check=True),
        *(Row(name, "reinforce", (2, 2), one, (2,), {**small, **given}) for name, given in options.items()),
        Row("value", "reinforce", (2, 2), one + dense(2, 4, 1), (2,), {**small, "baseline": "value"}),
        Row("normalized", "reinforce", (2, 2), one + 5, (2,), {**small, "normalization": Adapted(2)}),
        Row("images", "reinforce", ((6, 6, 1), 2), convolutions - 9 * 2 * 32 + dense(36 * 64, 4, 2), (2,), small),
    ]


def _q_learning() -> list[Row]:
    # Two features, two actions; every weight is there twice, once in the target network.
    small = {"hidden_units": (4,), "learning_starts": 10, "train_period": 10, "gradient_steps": 4, "batch_size": 8}
    small |= {"global_clipnorm": None, "learning_rate": 0.01}
    one = 2 * dense(2, 4, 2)
    options = {
        "single": {"double": False},
        "n-step": {"n_step": 3},
        "prioritized": {"prioritized": True},
        "soft": {"tau": 0.1},
        "deep": {"hidden_units": (4, 3)},
        "activation": {"activation": "tanh"},
    }
    weights = {"deep": 2 * dense(2, 4, 3, 2)}
    rows = [Row("double", "dqn", (2, 2), one, (2,), small, every_check=True)]
    rows += [
        Row(name, "dqn", (2, 2), weights.get(name, one), (2,), {**small, **given}) for name, given in options.items()
    ]
    convolutions = 9 * 3 * 32 + 32 + 9 * 32 * 64 + 64
    return [
        *rows,
        Row("dueling", "dqn", (2, 2), 2 * (dense(2, 4, 1) + dense(2, 4, 2)), (2,), {**small, "dueling": True}),
        Row("normalized", "dqn", (2, 2), one + 2 * 5, (2,), {**small, "normalization": Adapted(2)}),
        Row("images", "dqn", ((6, 6, 3), 2), 2 * (convolutions + dense(36 * 64, 4, 2)), (2,),
            {**small, "frame_stack": 3}),
    ]  # fmt: skip


TEXTS = (_text_classifiers, _characters, _encoder_decoders, _words)
FAMILIES = (_mlp, _cnn, _rnn, _autoencoders, _variational, _adversarial, *TEXTS, _policy_gradients, _q_learning)
ROWS = {f"{row.builder}[{row.name}]": row for family in FAMILIES for row in family()}
