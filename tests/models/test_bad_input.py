"""What the builders refuse: the message names the argument, what came, and the mend."""

import inspect
import re

import keras
import numpy as np
import pytest
from keras import layers

import kphys
from kphys import cnn_classifier, cnn_regressor, mlp_classifier, mlp_regressor, rnn_classifier, rnn_regressor
from kphys.models import _parts
from kphys.models._blocks import ARCHITECTURES

# Each with an input shape and a number of outputs that it takes.
BUILDERS = {
    mlp_classifier: ((4,), 3),
    mlp_regressor: ((4,), 2),
    cnn_classifier: ((8, 8, 1), 3),
    cnn_regressor: ((8, 8, 1), 2),
    rnn_classifier: ((5, 4), 3),
    rnn_regressor: ((5, 4), 2),
}
CLASSIFIERS = [builder for builder in BUILDERS if "classifier" in builder.__name__]
REGRESSORS = [builder for builder in BUILDERS if "regressor" in builder.__name__]


def untouched():
    return layers.Normalization()


def adapted(shape):
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(0).normal(size=(20, *shape)))
    return layer


def built_but_unadapted():
    layer = layers.Normalization()
    layer.build((None, 4))
    return layer


def relu(z):
    """A function of one's own that happens to be called like one of Keras'."""
    return z**2


# argument: (value, error, what the message says after the argument's name)
EVERYWHERE = {
    "optimizer": [
        ("adamm", ValueError, r"one of .*'adam'.*'sgd'.*, got 'adamm'\. Did you mean 'adam'\?"),
        ("LossScaleOptimizer", ValueError, r"one of .*, got 'lossscaleoptimizer'"),
        (3, TypeError, r"a keras\.optimizers\.Optimizer, got 3"),
        (keras.optimizers.Adam, TypeError, r"got the class: pass Adam\(\)"),
    ],
    "learning_rate": [
        (0.0, ValueError, r"a positive number, got 0\.0"),
        (-0.1, ValueError, r"a positive number, got -0\.1"),
        (float("nan"), ValueError, "a positive number, got nan"),
        (float("inf"), ValueError, "a positive number, got inf"),
        ("0.1", TypeError, r"a positive number, got '0\.1' \(str\)"),
        (True, TypeError, "a positive number, got True"),
        (1e300, ValueError, r"a positive number, at most 1e\+30 for float32 to work with, got 1e\+300\."),
        (10**400, ValueError, "a positive number, got 1000"),
    ],
    "dropout": [
        (1.0, ValueError, r"at least 0 and below 1, got 1\.0"),
        (-0.1, ValueError, r"at least 0 and below 1, got -0\.1"),
        (float("nan"), ValueError, "at least 0 and below 1, got nan"),
        ("0.5", TypeError, r"got '0\.5' \(str\)"),
        (True, TypeError, r"got True \(bool\)"),
    ],
    "l1": [
        (-1e-3, ValueError, r"not negative, got -0\.001"),
        (float("inf"), ValueError, "got inf"),
        (None, TypeError, r"not negative, got None \(NoneType\)"),
        (1e38, ValueError, r"not negative, at most 1e\+30 for float32 to work with, got 1e\+38\."),
    ],
    "l2": [(-1.0, ValueError, r"not negative, got -1\.0"), ([0.1], TypeError, r"got \[0\.1\] \(list\)")],
    "check_data": [("no", TypeError, r"True or False, got 'no' \(str\)"), (0, ValueError, r"True or False, got 0")],
    "seed": [
        (-1, ValueError, r"from 0 to 2\*\*32 - 1, got -1"),
        (2**32, ValueError, f"got {2**32}"),
        (0.5, ValueError, r"got 0\.5 \(float\)"),
        ("0", TypeError, r"got '0' \(str\)"),
        (True, TypeError, "got True"),
    ],
    "name": [(3, TypeError, r"None or a string, got 3 \(int\)")],
    "normalization": [
        (untouched, ValueError, r"adapted to data first, .*adapt\(x_train\)"),
        (lambda: adapted((7,)), ValueError, r"another shape, its mean has the shape .*7.*adapt\(x_train\)"),
        (lambda: layers.Dense(3), TypeError, r"keras\.layers\.Normalization, got Dense: .*adapt\(x_train\)"),
        (
            lambda: layers.Normalization(mean=0.0, variance=1.0, invert=True, axis=None),
            ValueError,
            "got one with invert=True",
        ),
    ],
}
OF_SOME = {
    "num_classes": [
        (0, ValueError, "an integer of at least 2, got 0"),
        (1, ValueError, "an integer of at least 2, got 1: a yes-or-no question has 2 classes"),
        (-3, ValueError, "an integer of at least 2, got -3"),
        (2.5, ValueError, r"an integer of at least 2, got 2\.5 \(float\)"),
        ("3", TypeError, r"an integer of at least 2, got '3' \(str\)"),
        (None, TypeError, "an integer of at least 2, got None"),
        (True, TypeError, "an integer of at least 2, got True"),
    ],
    "num_outputs": [
        (0, ValueError, "a positive integer, got 0"),
        (-1, ValueError, "a positive integer, got -1"),
        (1.5, ValueError, r"a positive integer, got 1\.5"),
        ("1", TypeError, "a positive integer, got '1'"),
        (2**63, ValueError, f"a positive integer below {2**31}, got {2**63}"),
    ],
    "multilabel": [("yes", TypeError, "True or False, got 'yes'"), (1, ValueError, "True or False, got 1")],
    "batch_normalization": [("no", TypeError, "True or False, got 'no'"), (1, ValueError, "True or False, got 1")],
    "periodic": [("yes", TypeError, "True or False, got 'yes'"), (0, ValueError, "True or False, got 0")],
    "return_sequences": [("last", TypeError, "True or False, got 'last'")],
    "bidirectional": [(2, ValueError, "True or False, got 2")],
    "layer_normalization": [(None, TypeError, "True or False, got None")],
    "mask_value": [
        (float("nan"), ValueError, "a finite number, got nan"),
        ("0", TypeError, "a finite number, got '0'"),
        (True, TypeError, "a finite number, got True"),
        (-1e19, ValueError, r"a finite number, at most 1e\+15 .*, got -1e\+19"),
    ],
    "kernel_size": [
        (0, ValueError, "a positive integer, got 0"),
        (-3, ValueError, "a positive integer, got -3"),
        (2.5, ValueError, r"a positive integer, got 2\.5"),
        ((3, 3), TypeError, r"a positive integer, got \(3, 3\) \(tuple\)"),
        ("3", TypeError, "a positive integer, got '3'"),
    ],
    "activation": [
        ("rellu", ValueError, r"one of .*'relu'.*'tanh'.*, got 'rellu'\. Did you mean 'relu'\?"),
        (3, TypeError, "one of .*, got 3"),
        (relu, TypeError, "one of .*, got <function relu"),
        (lambda z: z, TypeError, "one of .*, got <function"),
    ],
    "cell": [
        ("lstmm", ValueError, r"one of 'lstm', 'gru', 'simple', got 'lstmm'\. Did you mean 'lstm'\?"),
        (layers.GRU, TypeError, "one of 'lstm', 'gru', 'simple', got <class"),
    ],
    "architecture": [
        (
            "resnets",
            ValueError,
            rf"one of {', '.join(map(repr, ARCHITECTURES))}, got 'resnets'\. Did you mean 'resnet'\?",
        ),
        (50, TypeError, "one of .*, got 50"),
    ],
    "loss": [
        ("hubert", ValueError, r"one of 'mse', 'mae', 'huber', 'gaussian_nll', got 'hubert'\. Did you mean 'huber'\?"),
        (keras.losses.MeanSquaredError, TypeError, "one of .*, got <class"),
    ],
    "delta": [
        (0, ValueError, "a positive number, got 0"),
        (-1.0, ValueError, r"a positive number, got -1\.0"),
        ("1", TypeError, "a positive number, got '1'"),
    ],
    "target_normalization": [
        (untouched, ValueError, r"adapted to data first.*adapt\(y\.reshape\(-1, 2\)\)"),
        (
            lambda: adapted((3,)),
            ValueError,
            r"another shape, .* has the shape \(1, 3\), .*fits \(samples, 2\).*reshape",
        ),
        # Keras takes the 20 events of a one-dimensional y for 20 features.
        (
            lambda: adapted(()),
            ValueError,
            r"another shape, its mean has the shape \(20,\).*adapt\(y\.reshape\(-1, 2\)\)",
        ),
        (lambda: (0.0, 1.0), TypeError, r"keras\.layers\.Normalization, got tuple: .*reshape"),
    ],
}
for layers_of in ("hidden_units", "filters", "units"):
    OF_SOME[layers_of] = [
        ((), ValueError, r"at least one integer, got \(\)"),
        ("100", TypeError, r"a tuple of positive integers such as \(100, 100\), got '100' \(str\)"),
        (0, ValueError, r"\[0\]` must be a positive integer, got 0"),
        ((5, 0), ValueError, r"\[1\]` must be a positive integer, got 0"),
        ((-1, 5), ValueError, r"\[0\]` must be a positive integer, got -1"),
        ((10.5,), ValueError, r"\[0\]` must be a positive integer, got 10\.5 \(float\)"),
        (("3",), TypeError, r"\[0\]` must be a positive integer, got '3' \(str\)"),
        (10.5, ValueError, r"a tuple of positive integers such as \(100, 100\), got 10\.5"),
        ({3, 4}, TypeError, r"a tuple of positive integers .*, got \{3, 4\} \(set\)"),
        (np.array(3), TypeError, r"a tuple of positive integers .*, got array\(3\) \(ndarray\)"),
        (10**12, ValueError, rf"\[0\]` must be a positive integer below {2**31}, got {10**12}"),
    ]
SHAPES = {
    mlp_classifier: [
        ((), ValueError, r"such as \(8,\) or \(28, 28\), got \(\)"),
        (0, ValueError, r"\[0\]` must be a positive integer, got 0"),
        ((None,), ValueError, r"got \(None,\): only the time steps of a sequence may be None"),
    ],
    cnn_classifier: [
        ((8, 8, 0), ValueError, r"\[2\]` must be a positive integer, got 0"),
        ((8, -8, 1), ValueError, r"\[1\]` must be a positive integer, got -8"),
        ((None, 8, 1), ValueError, r"got \(None, 8, 1\): only the time steps of a sequence may be None"),
        ((8,), ValueError, r"\(length, channels\), \(height, width, channels\) or .*, got \(8,\)"),
        ((1, 2, 3, 4, 5), ValueError, r"got \(1, 2, 3, 4, 5\)"),
        (28, TypeError, r"a tuple without the batch axis, .*, got 28 \(int\)"),
        ((2, 28, 1), ValueError, r"\(2, 28, 1\) is too small for 2 stages .* at least 4 pixels .*fewer `filters`"),
    ],
    rnn_classifier: [
        ((5, None), ValueError, r"got \(5, None\): only the time steps of a sequence may be None"),
        ((0, 4), ValueError, r"\[0\]` must be a positive integer, got 0"),
        ((5,), ValueError, r"\(timesteps, features\), got \(5,\)"),
        ((None, 5, 4), ValueError, r"\(timesteps, features\), got \(None, 5, 4\)"),
        (5, TypeError, r"\(timesteps, features\), got 5"),
    ],
}
for classifier, regressor in zip(CLASSIFIERS, REGRESSORS, strict=True):
    rank = len(BUILDERS[classifier][0])
    SHAPES[classifier] += [
        ("8", TypeError, r"a tuple without the batch axis, .*, got '8' \(str\)"),
        (None, TypeError, "got None"),
        (8.0, (TypeError, ValueError), r"got 8\.0"),
        ((8.0,) * rank, ValueError, r"\[0\]` must be a positive integer, got 8\.0 \(float\)"),
        (("8",) * rank, TypeError, r"\[0\]` must be a positive integer, got '8' \(str\)"),
        ((True,) * rank, TypeError, r"\[0\]` must be a positive integer, got True"),
        ((-8,) * rank, ValueError, r"\[0\]` must be a positive integer, got -8"),
    ]
    SHAPES[regressor] = SHAPES[classifier]


def cases():
    for builder in BUILDERS:
        for argument, table in {**EVERYWHERE, **OF_SOME, "input_shape": SHAPES[builder]}.items():
            if argument in inspect.signature(builder).parameters:
                for number, case in enumerate(table):
                    yield pytest.param(builder, argument, *case, id=f"{builder.__name__}-{argument}-{number}")


@pytest.mark.parametrize(("builder", "argument", "value", "error", "message"), list(cases()))
def test_a_builder_refuses(builder, argument, value, error, message):
    if argument in ("normalization", "target_normalization"):
        value = value()
    names = list(inspect.signature(builder).parameters)
    arguments = dict(zip(names[:2], BUILDERS[builder], strict=True))
    with pytest.raises(error) as refused:
        builder(**{**arguments, argument: value})
    text = str(refused.value)
    # The name in backticks, whole or with the place in it: `hidden_units` or `hidden_units[1]`.
    assert re.search(rf"`{argument}(\[\d\])?`", text), text
    assert re.search(message, text), text
    assert text.endswith((".", "?"))


@pytest.mark.parametrize("builder", BUILDERS)
def test_every_argument_of_a_builder_is_in_the_table(builder):
    known = {*EVERYWHERE, *OF_SOME, "input_shape"}
    assert known >= set(inspect.signature(builder).parameters)


# What makes a layer too large for a machine of 1 MB, and the arguments that are blamed.
TOO_LARGE = [
    (kphys.mlp_classifier, (4, 3), {"hidden_units": (5, 20_000)}, "`hidden_units` must .*: 5 × 20000 numbers in one"),
    (
        kphys.mlp_classifier,
        (4, 20_000),
        {"hidden_units": 5},
        "`num_classes` must .*: 5 × 20000 numbers .* 0.0016 GB in",
    ),
    (kphys.mlp_regressor, (4, 20_000), {"hidden_units": 5}, "`num_outputs` must be smaller"),
    (kphys.cnn_classifier, ((8, 8, 1), 3), {"filters": 10_000}, "`filters` and `kernel_size` must be smaller"),
    (kphys.rnn_classifier, ((5, 4), 3), {"units": 500}, "`units` must be smaller"),
    (kphys.autoencoder, (40_000, 2), {"hidden_units": ()}, "`latent_dim` must be smaller"),
    (kphys.autoencoder, (4, 20_000), {"hidden_units": 5}, "`latent_dim` must be smaller"),
    (kphys.vae, (4, 20_000), {"hidden_units": 5}, "`latent_dim` must be smaller"),
    (kphys.conv_vae, ((8, 8, 1), 2), {"filters": 10_000}, "`filters` and `kernel_size` must be smaller"),
    (kphys.dcgan, ((8, 8, 1), 20_000), {"filters": 4}, "`latent_dim` and `filters` must be smaller"),
    (kphys.dcgan, ((8, 8, 1), 2), {"filters": 50, "kernel_size": 40}, "`filters` and `kernel_size` must be smaller"),
    (kphys.char_rnn, (20_000,), {"embedding_dim": 5}, "`vocabulary_size` and `embedding_dim` must be smaller"),
    (kphys.char_rnn, (20_000,), {"embedding_dim": 1, "units": 5}, "`vocabulary_size` and `units` must be smaller"),
    (kphys.char_rnn, (5,), {"stateful": True, "batch_size": 20_000, "units": 5}, "`batch_size` and `units` must be"),
    (kphys.seq2seq, (5, 20_000), {"embedding_dim": 1, "units": 5}, "`output_vocabulary_size` and `units` must be"),
    (kphys.seq2seq, (5, 5), {"units": 500, "embedding_dim": 2}, "`units` must be smaller"),
    (kphys.word_vectors, (20_000, 5), {}, "`vocabulary_size` and `embedding_dim` must be smaller"),
    (kphys.word_vectors, (5, 2), {"num_negatives": 1_000}, "`num_negatives` and `window` must be smaller"),
    (kphys.dqn, (4, 2), {"hidden_units": 20_000}, "`hidden_units` must be smaller"),
    (kphys.reinforce, (4, 2), {"hidden_units": 20_000}, "`hidden_units` must be smaller"),
]


@pytest.mark.parametrize(("builder", "arguments", "options", "message"), TOO_LARGE)
def test_a_network_beyond_the_memory_is_refused_before_it_is_made(builder, arguments, options, message, monkeypatch):
    monkeypatch.setattr(_parts, "_memory", lambda: 1e6)
    with pytest.raises(ValueError, match=rf"{message}.* and this machine has 0\.001 GB of memory\."):
        builder(*arguments, **options)


def test_the_memory_of_this_machine_is_known():
    assert 1e8 < _parts._memory() < 1e14


def test_one_label_is_enough_where_there_may_be_several():
    assert mlp_classifier(4, 1, multilabel=True).output_shape == (None, 1)
    with pytest.raises(ValueError, match="`num_classes` must be a positive integer, got 0"):
        mlp_classifier(4, 0, multilabel=True)


def test_a_normalization_that_was_built_but_saw_nothing_is_refused():
    with pytest.raises(ValueError, match="`normalization` must be adapted to data first"):
        mlp_classifier(4, 2, normalization=built_but_unadapted())


@pytest.mark.parametrize("builder", REGRESSORS)
def test_one_output_is_normalized_by_targets_that_are_a_column(builder):
    shape, _ = BUILDERS[builder]
    assert builder(shape, target_normalization=adapted((1,))).output_shape == (None, 1)
    # Adapted to a one-dimensional y, Keras has a mean for every event.
    with pytest.raises(ValueError, match=r"`target_normalization` .*\(20,\).*adapt\(y\.reshape\(-1, 1\)\)"):
        builder(shape, target_normalization=adapted(()))


def test_an_architecture_without_volumes_is_refused_with_one_that_takes_them():
    with pytest.raises(ValueError, match=r"`architecture` 'xception' .* got `input_shape` \(8, 8, 8, 1\).*'resnet'"):
        cnn_classifier((8, 8, 8, 1), 2, architecture="xception")


def test_numpy_integers_and_arrays_are_welcome():
    shape = np.zeros((10, 4)).shape[1:]
    model = mlp_classifier(shape, np.int64(3), hidden_units=np.array([5, 6]), seed=np.uint32(1), l2=np.float32(0.1))
    assert [layer.units for layer in model.layers if isinstance(layer, layers.Dense)] == [5, 6, 3]
    assert mlp_regressor(np.int32(4)).input_shape == (None, 4)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_a_gaussian_regressor_refuses_targets_beyond_float32(scale):
    layer = layers.Normalization()
    layer.adapt(scale * np.arange(20.0).reshape(-1, 1))
    with pytest.raises(ValueError, match=r"`target_normalization` has a standard deviation of .*: change their units"):
        mlp_regressor(4, loss="gaussian_nll", target_normalization=layer)


def test_an_optimizer_serves_one_model():
    optimizer = keras.optimizers.Adam()
    mlp_classifier(4, 2, optimizer=optimizer)
    with pytest.raises(ValueError, match="`optimizer` must be new for every model, got a Adam"):
        mlp_classifier(4, 2, optimizer=optimizer)
