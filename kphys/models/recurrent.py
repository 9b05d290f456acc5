"""Recurrent networks: the classifier and the regressor for sequences and time series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kphys import _arguments
from kphys.models import _parts
from kphys.models._heads import Head, classifier_head, regressor_head
from kphys.models._training import finish_model
from kphys.models.dense import LearningRate

CELLS: dict[str, type[keras.layers.Layer]] = {
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
    "simple": keras.layers.SimpleRNN,
}


def rnn_classifier(
    input_shape: Sequence[int | None],
    num_classes: int,
    *,
    cell: str = "lstm",
    units: int | Sequence[int] = (64,),
    return_sequences: bool = False,
    bidirectional: bool = False,
    layer_normalization: bool = False,
    mask_value: float | None = None,
    multilabel: bool = False,
    normalization: keras.layers.Normalization | None = None,
    dropout: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: LearningRate = None,
    check_data: bool = True,
    seed: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """Gives a recurrent network that tells classes of sequences, or of their time steps, apart.

    Layers of cells carry a state h(t) from step to step. With σ the logistic function, ∘ the product by elements and
    every gate g having weights W_g, U_g, b_g of its own, a(g) = W_g x(t) + U_g h(t−1) + b_g:

    - "lstm": i, f, o = σ(a), c(t) = f ∘ c(t−1) + i ∘ tanh a(c), h(t) = o ∘ tanh c(t); f starts open (b = 1).
    - "gru": z, r = σ(a), h(t) = z ∘ h(t−1) + (1 − z) ∘ tanh(W x(t) + r ∘ (U h(t−1) + b′) + b).
    - "simple": h(t) = tanh(W x(t) + U h(t−1) + b).

    The outputs are those of `mlp_classifier`, from the last state, or from every state.

    Args:
        input_shape: `(timesteps, features)`; `(None, features)` takes sequences of any length.
        num_classes: Number of classes, or of labels with `multilabel`, as in `mlp_classifier`.
        cell: "lstm", "gru" or "simple".
        units: Units of each recurrent layer; the length is the depth.
        return_sequences: `False` gives one prediction a sequence, `True` one for every time step.
        bidirectional: `True` reads every layer's input forwards and backwards, `units` in each direction.
        layer_normalization: `True` normalizes the output of every recurrent layer over its units, at every step.
        mask_value: A step whose features all have this value is padding: states pass over it, and loss and metrics do
            not count it. `None`: every step counts. Compared before `normalization`.
        multilabel, normalization: As in `mlp_classifier`.
        dropout: Share of the units left out in each training step, in [0, 1), after every recurrent layer.
        l1, l2: Weights λ ≥ 0 of the penalties λ₁ Σ|w| and λ₂ Σw² on input and recurrent matrices.
        optimizer, learning_rate, check_data, seed, name: As in `mlp_classifier`. Recurrent matrices start orthogonal.

    Returns:
        A compiled `keras.Model`: `(batch, timesteps, features)` in, `(batch, outputs)` out, with `return_sequences`
        `(batch, timesteps, outputs)`; outputs and logs as in `mlp_classifier`. Targets are integer labels `(batch,)`,
        or `(batch, timesteps)`, which with 2 classes takes the form of the output, `(batch, timesteps, 1)`. With
        `return_sequences` weights are `(batch, timesteps)`, and the `.keras` file leaves out `auc`.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Hochreiter and Schmidhuber, 1997, "Long short-term memory"; Gers, Schmidhuber and Cummins, 2000, "Learning to
        forget"; Cho et al., 2014, "Learning phrase representations using RNN encoder-decoder"; Saxe, McClelland and
        Ganguli, 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks".

    Example:
        >>> import numpy as np
        >>> from kphys import rnn_classifier
        >>> model = rnn_classifier((None, 2), 3, cell="gru", units=(16, 8), return_sequences=True, seed=0)
        >>> model.predict(np.zeros((5, 7, 2)), verbose=0).shape
        (5, 7, 3)
    """
    num_classes = _parts.num_classes(num_classes, multilabel)
    return_sequences = _arguments.flag("return_sequences", return_sequences)
    return _rnn(
        input_shape,
        classifier_head(num_classes, multilabel=multilabel, sequences=return_sequences),
        cell=cell,
        units=units,
        bidirectional=bidirectional,
        layer_normalization=layer_normalization,
        mask_value=mask_value,
        normalization=normalization,
        regularization=_parts.Regularization(dropout, l1, l2),
        seed=seed,
        optimizer=optimizer,
        learning_rate=learning_rate,
        check_data=check_data,
        name=_parts.model_name(name, "rnn_classifier"),
    )


def rnn_regressor(
    input_shape: Sequence[int | None],
    num_outputs: int = 1,
    *,
    cell: str = "lstm",
    units: int | Sequence[int] = (64,),
    return_sequences: bool = False,
    bidirectional: bool = False,
    layer_normalization: bool = False,
    mask_value: float | None = None,
    loss: str = "mse",
    delta: float = 1.0,
    normalization: keras.layers.Normalization | None = None,
    target_normalization: keras.layers.Normalization | None = None,
    dropout: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: LearningRate = None,
    check_data: bool = True,
    seed: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """Gives a recurrent network that predicts real numbers from sequences: the next value, or one for every step.

    The cells of `rnn_classifier` with the outputs and losses of `mlp_regressor`.

    Args:
        input_shape: `(timesteps, features)`; `(None, features)` takes sequences of any length.
        num_outputs: Number of values to predict, for the sequence or for every time step.
        cell, units, return_sequences, bidirectional, layer_normalization, mask_value: As in `rnn_classifier`.
        loss, delta, target_normalization: As in `mlp_regressor`.
        normalization, dropout, l1, l2: As in `rnn_classifier`.
        optimizer, learning_rate, check_data, seed, name: As in `mlp_classifier`.

    Returns:
        A compiled `keras.Model`: `(batch, timesteps, features)` in, `(batch, num_outputs)` out, with
        `return_sequences` `(batch, timesteps, num_outputs)`; for "gaussian_nll" with a last axis of mean and variance.
        Targets are `(batch, num_outputs)`, or `(batch, timesteps, num_outputs)`; then the `.keras` file leaves out
        `rmse`, as Keras' own counts padding.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Those of `rnn_classifier` and `mlp_regressor`.

    Example:
        >>> import numpy as np
        >>> from kphys import rnn_regressor
        >>> wave = np.sin(np.arange(200, dtype="float32") / 5)
        >>> windows = np.lib.stride_tricks.sliding_window_view(wave, 21)
        >>> model = rnn_regressor((20, 1), units=16, seed=0)
        >>> history = model.fit(windows[:, :-1, None], windows[:, -1], epochs=2, verbose=0)
        >>> sorted(history.history)
        ['loss', 'mae', 'rmse']
    """
    num_outputs = _arguments.integer("num_outputs", num_outputs)
    return_sequences = _arguments.flag("return_sequences", return_sequences)
    target_normalization = _parts.adapted_to_targets(target_normalization, num_outputs)
    return _rnn(
        input_shape,
        regressor_head(num_outputs, loss, delta, target_normalization, sequences=return_sequences),
        cell=cell,
        units=units,
        bidirectional=bidirectional,
        layer_normalization=layer_normalization,
        mask_value=mask_value,
        normalization=normalization,
        regularization=_parts.Regularization(dropout, l1, l2),
        seed=seed,
        optimizer=optimizer,
        learning_rate=learning_rate,
        check_data=check_data,
        name=_parts.model_name(name, "rnn_regressor"),
    )


def _rnn(
    input_shape: Sequence[int | None],
    head: Head,
    *,
    cell: str,
    units: int | Sequence[int],
    bidirectional: bool,
    layer_normalization: bool,
    mask_value: float | None,
    normalization: keras.layers.Normalization | None,
    regularization: _parts.Regularization,
    seed: int | None,
    **training: Any,
) -> keras.Model:
    input_shape = _parts.shape("input_shape", input_shape, (2,), "(timesteps, features)", open_axis=0)
    seeds = _parts.Seeds(seed)

    inputs = keras.Input(input_shape, name="inputs")
    features = inputs
    if mask_value is not None:
        mask_value = _arguments.real("mask_value", mask_value, largest=_arguments.LARGEST_DATA)
        features = keras.layers.Masking(mask_value, name="mask")(features)
    features = _parts.normalized(features, normalization)
    features = recurrent_stack(
        features,
        units,
        cell=cell,
        bidirectional=bidirectional,
        layer_normalization=layer_normalization,
        return_sequences=head.sequences,
        regularization=regularization,
        seeds=seeds,
    )
    family = "recurrent of any length" if inputs.shape[1] is None else "recurrent"
    return finish_model(inputs, features, head, family=family, seed=seeds(), **training)


def recurrent_stack(
    features: Any,
    units: int | Sequence[int],
    *,
    cell: str,
    bidirectional: bool,
    layer_normalization: bool,
    return_sequences: bool,
    regularization: _parts.Regularization,
    seeds: _parts.Seeds,
    stateful: bool = False,
) -> Any:
    """Gives `features`, `(batch, timesteps, features)`, after layers of cells: the last layer's states, or its last."""
    _arguments.choice("cell", cell, CELLS)
    units = _arguments.integers("units", units)
    bidirectional = _arguments.flag("bidirectional", bidirectional)
    layer_normalization = _arguments.flag("layer_normalization", layer_normalization)
    for depth, width in enumerate(units, start=1):
        _parts.check_room("`units`", 4, features.shape[-1] + width, width)
        recurrent = recurrent_layer(
            cell,
            width,
            depth,
            regularization,
            seeds,
            return_sequences=return_sequences or depth < len(units),
            stateful=stateful,
        )
        if bidirectional:
            recurrent = bidirectional_layer(recurrent, seeds)
        features = recurrent(features)
        if layer_normalization:
            features = keras.layers.LayerNormalization(name=f"{cell}_{depth}_normalization")(features)
        features = regularization.dropped(features, seeds)
    return features


def recurrent_layer(
    cell: str, units: int, depth: int, regularization: _parts.Regularization, seeds: _parts.Seeds, **settings: Any
) -> keras.layers.Layer:
    """Gives the layer of cells at `depth`, from 1 on."""
    return CELLS[cell](
        units,
        kernel_initializer=keras.initializers.GlorotUniform(seeds()),
        recurrent_initializer=keras.initializers.Orthogonal(seed=seeds()),
        kernel_regularizer=regularization.kernel(),
        recurrent_regularizer=regularization.kernel(),
        name=f"{cell}_{depth}",
        **settings,
    )


def bidirectional_layer(forward: keras.layers.Layer, seeds: _parts.Seeds) -> keras.layers.Layer:
    """Gives the layer that reads as `forward` does and, with weights of its own, backwards."""
    # Keras' own copy for the way back would start with the same weights.
    config = {**forward.get_config(), "name": f"{forward.name}_backward", "go_backwards": True}
    backward = type(forward).from_config(
        {
            **config,
            "kernel_initializer": keras.initializers.GlorotUniform(seeds()),
            "recurrent_initializer": keras.initializers.Orthogonal(seed=seeds()),
        }
    )
    return keras.layers.Bidirectional(forward, backward_layer=backward, name=f"bidirectional_{forward.name}")
