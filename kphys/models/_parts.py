"""The parts that every family's builder is made of: arguments in, layers out."""

from __future__ import annotations

import functools
import math
import os
import random
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kphys import _arguments

# The initialization under which a signal keeps its size through layers of this activation: He et al. 2015 for the
# rectifiers and their smooth kin, LeCun et al. 1998 for SELU (Klambauer et al. 2017), Glorot and Bengio 2010 for the
# others.
_INITIALIZERS: dict[str, type[keras.initializers.Initializer]] = {
    "selu": keras.initializers.LecunNormal,
    **dict.fromkeys(
        ("relu", "relu6", "leaky_relu", "elu", "celu", "gelu", "silu", "swish", "mish"),
        keras.initializers.HeNormal,
    ),
}


class Seeds:
    """Gives every layer a seed of its own, the same ones for the same `seed`; none for `None`."""

    def __init__(self, seed: int | None):
        self._random = None if _arguments.seed("seed", seed) is None else random.Random(int(seed))

    def __call__(self) -> int | None:
        return None if self._random is None else self._random.randrange(2**31)


class Regularization:
    """The regularization that all families share, checked: `dropout`, `l1`, `l2`."""

    def __init__(self, dropout: float, l1: float, l2: float):
        self.dropout = _arguments.real("dropout", dropout, minimum=0, below=1)
        self.l1 = _arguments.real("l1", l1, minimum=0, largest=_arguments.LARGEST_FACTOR)
        self.l2 = _arguments.real("l2", l2, minimum=0, largest=_arguments.LARGEST_FACTOR)

    def kernel(self) -> keras.regularizers.Regularizer | None:
        """Gives a new weight penalty, or `None` where there is none."""
        return keras.regularizers.L1L2(self.l1, self.l2) if self.l1 or self.l2 else None

    def dropped(self, features: Any, seeds: Seeds) -> Any:
        """Gives `features` after dropout, or as they are if there is none."""
        return keras.layers.Dropout(self.dropout, seed=seeds())(features) if self.dropout else features


def activation_name(activation: Any) -> str:
    """Gives the name of a Keras activation, given by name or as the function."""
    # "glu" halves the features.
    others = ("get", "serialize", "deserialize", "glu")
    known = {
        name: value
        for name, value in vars(keras.activations).items()
        if callable(value) and not name.startswith("_") and name not in others
    }
    if callable(activation):
        # By identity: a function of the user's own may be called relu, too.
        activation = next((name for name, value in known.items() if value is activation), activation)
    return _arguments.choice("activation", activation, known)


# A number in float32, its gradient, and two moments as Adam has them.
_BYTES_IN_TRAINING = 16


def check_room(names: str, *sizes: int) -> None:
    """Refuses a layer of the product of `sizes` numbers if that is beyond this machine's memory.

    Otherwise TensorFlow, or Linux, ends the process without a word. `names` are the arguments to blame.
    """
    needed, memory = _BYTES_IN_TRAINING * math.prod(sizes), _memory()
    if needed > memory:
        raise ValueError(
            f"{names} must be smaller: {' × '.join(map(str, sizes))} numbers in one layer take {needed / 1e9:.3g} GB "
            f"in training, and this machine has {memory / 1e9:.3g} GB of memory."
        )


@functools.cache
def _memory() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Not a Unix.
        return math.inf


def initializer(activation: str, seed: int | None) -> keras.initializers.Initializer:
    """Gives the kernel initializer that belongs to `activation`."""
    return _INITIALIZERS.get(activation, keras.initializers.GlorotUniform)(seed=seed)


def dropout_layer(activation: str, rate: float, seed: int | None) -> keras.layers.Layer:
    """Gives the dropout that belongs to `activation`: for SELU the one that keeps mean and variance."""
    layer = keras.layers.AlphaDropout if activation == "selu" else keras.layers.Dropout
    return layer(rate, seed=seed)


def dense_stack(
    features: Any,
    hidden_units: Sequence[int],
    activation: str,
    regularization: Regularization,
    batch_normalization: bool,
    seeds: Seeds,
) -> Any:
    """Gives `features` after hidden layers: dense, batch normalization, activation, dropout."""
    for index, units in enumerate(hidden_units, start=1):
        check_room("`hidden_units`", features.shape[-1], units)
        features = keras.layers.Dense(
            units,
            # The normalization after it has a shift of its own.
            use_bias=not batch_normalization,
            kernel_initializer=initializer(activation, seeds()),
            kernel_regularizer=regularization.kernel(),
            name=f"hidden_{index}",
        )(features)
        if batch_normalization:
            features = keras.layers.BatchNormalization(name=f"hidden_{index}_normalization")(features)
        features = keras.layers.Activation(activation, name=f"hidden_{index}_{activation}")(features)
        if regularization.dropout:
            features = dropout_layer(activation, regularization.dropout, seeds())(features)
    return features


def embedding(
    vocabulary_size: int, embedding_dim: int, seeds: Seeds, *, spread: float | None = None, **settings: Any
) -> keras.layers.Embedding:
    """Gives the layer of the vectors of words, characters or other tokens.

    They start from N(0, `spread`²), or, with `None`, as small as Keras has them, ±0.05: such vectors look alike to
    cells, for hundreds of steps, but where examples are few, or words rare, wide ones are learnt by heart instead.
    """
    check_room("`vocabulary_size` and `embedding_dim`", vocabulary_size, embedding_dim)
    if spread is None:
        initializer = keras.initializers.RandomUniform(seed=seeds())
    else:
        initializer = keras.initializers.RandomNormal(stddev=spread, seed=seeds())
    return keras.layers.Embedding(vocabulary_size, embedding_dim, initializer, name="embedding", **settings)


def num_classes(value: Any, multilabel: bool) -> int:
    """Gives the number of classes back: at least 2, or at least 1 label if `multilabel`."""
    if not _arguments.flag("multilabel", multilabel) and value == 1 and value is not True:
        raise ValueError("`num_classes` must be an integer of at least 2, got 1: a yes-or-no question has 2 classes.")
    return _arguments.integer("num_classes", value, minimum=1 if multilabel else 2)


def model_name(value: Any, default: str) -> str:
    """Gives a model's name."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"`name` must be None or a string, got {value!r} ({type(value).__name__}).")
    return value or default


def shape(
    name: str, value: Any, ranks: Sequence[int], form: str, *, open_axis: int | None = None
) -> tuple[int | None, ...]:
    """Gives a sample's shape back as a tuple of positive integers; `open_axis` may be `None`, any length.

    Rank 1 may be given as an integer. `form` says in the errors what is expected.
    """
    wanted = f"a tuple without the batch axis, {form}"
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 1 in ranks:
        value = (value,)
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"`{name}` must be {wanted}, got {value!r} ({type(value).__name__}).")
    if len(value) not in ranks:
        raise ValueError(f"`{name}` must be {wanted}, got {tuple(value)}.")
    for index, size in enumerate(value):
        if size is None and index != open_axis:
            raise ValueError(
                f"`{name}` must be {wanted}, got {tuple(value)}: only the time steps of a sequence may be None."
            )
        if size is not None:
            _arguments.integer(f"{name}[{index}]", size)
    return tuple(None if size is None else int(size) for size in value)


def adapted(
    name: str, layer: Any, sample_shape: tuple[int | None, ...], mend: str
) -> keras.layers.Normalization | None:
    """Gives `layer` back if it is an adapted `Normalization` for samples of `sample_shape`."""
    if layer is None:
        return None
    if not isinstance(layer, keras.layers.Normalization):
        raise TypeError(f"`{name}` must be an adapted keras.layers.Normalization, got {type(layer).__name__}: {mend}")
    if layer.invert:
        raise ValueError(f"`{name}` must normalize, got one with invert=True: {mend}")
    if layer.input_mean is not None and not layer.built:
        layer.build((None, *sample_shape))
    if not layer.built or layer.mean is None or (layer.input_mean is None and not _has_seen_data(layer)):
        raise ValueError(f"`{name}` must be adapted to data first, got one that has seen none: {mend}")
    moments = tuple(layer.mean.shape)
    try:
        fits = np.broadcast_shapes(moments, (1, *(size or 1 for size in sample_shape)))
    except ValueError:
        fits = None
    if (
        fits is None
        or len(fits) != len(sample_shape) + 1
        or any(size not in (1, expected) for size, expected in zip(fits[1:], sample_shape, strict=True))
    ):
        raise ValueError(
            f"`{name}` was adapted to samples of another shape, its mean has the shape {moments}, "
            f"expected one that fits (samples, {', '.join(map(str, sample_shape))}): {mend}"
        )
    return layer


def adapted_to_targets(layer: Any, num_outputs: int) -> keras.layers.Normalization | None:
    """Gives `layer` back if it is `None` or adapted to targets of `num_outputs` values."""
    mend = f"make one with Normalization() and adapt(y.reshape(-1, {num_outputs}))."
    return adapted("target_normalization", layer, (num_outputs,), mend)


def normalized(inputs: keras.KerasTensor, layer: Any) -> keras.KerasTensor:
    """Gives `inputs` after the adapted `normalization`, or as they are if there is none."""
    mend = "make one with Normalization() and adapt(x_train)."
    layer = adapted("normalization", layer, tuple(inputs.shape[1:]), mend)
    return inputs if layer is None else layer(inputs)


def _has_seen_data(layer: keras.layers.Normalization) -> bool:
    # A layer built but never adapted still has the moments it was made with.
    mean, variance = (keras.ops.convert_to_numpy(moment) for moment in (layer.mean, layer.variance))
    return bool((mean != 0).any() or (variance != 1).any())


def make_optimizer(value: Any, learning_rate: Any, argument: str = "optimizer") -> keras.optimizers.Optimizer:
    """Gives an optimizer from a name and a learning rate (`None`: that optimizer's own), or the one given.

    `argument` is what it is called in the errors.
    """
    if isinstance(value, keras.optimizers.Optimizer):
        if learning_rate is not None:
            raise ValueError(
                f"`learning_rate` must be None with an optimizer that has its own, got {learning_rate}: "
                "give it to the optimizer."
            )
        if value.built:
            raise ValueError(
                f"`{argument}` must be new for every model, got a {type(value).__name__} that has trained another: "
                "make a second one."
            )
        return value
    if isinstance(value, type) and issubclass(value, keras.optimizers.Optimizer):
        raise TypeError(f"`{argument}` must be an optimizer or its name, got the class: pass {value.__name__}().")
    classes = _optimizers()
    name = value.lower() if isinstance(value, str) else value
    chosen = classes[_arguments.choice(argument, name, classes, also=", or a keras.optimizers.Optimizer")]
    if learning_rate is None:
        return chosen()
    if not isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        learning_rate = _arguments.real(
            "learning_rate", learning_rate, positive=True, largest=_arguments.LARGEST_FACTOR
        )
    return chosen(learning_rate=learning_rate)


def _optimizers() -> dict[str, Callable[..., keras.optimizers.Optimizer]]:
    # These take other optimizers, not a learning rate.
    wrappers = ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
    return {
        name.lower(): value
        for name, value in vars(keras.optimizers).items()
        if isinstance(value, type) and issubclass(value, keras.optimizers.Optimizer) and name not in wrappers
    }
