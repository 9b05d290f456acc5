"""The recurrent networks: the cells' equations in NumPy, and padding that changes nothing."""

import keras
import numpy as np
import pytest

from kphys import rnn_classifier, rnn_regressor

MASK = -99.0
CELLS = ("lstm", "gru", "simple")
GATES = {"lstm": 4, "gru": 3, "simple": 1}


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def shake(model):
    """Gives every bias a random value: a bias of zero would hide where it enters."""
    for index, variable in enumerate(model.weights):
        if "kernel" not in variable.name:
            variable.assign(random(variable.shape, index) * 0.5)
    return model


# === The equations ===


def logistic(a):
    return 1 / (1 + np.exp(-a))


def lstm(x, w, u, b):
    """Gives h(t) after every step; Keras keeps the gates in the order i, f, c, o."""
    (wi, wf, wc, wo), (ui, uf, uc, uo) = np.split(w, 4, axis=1), np.split(u, 4, axis=1)
    bi, bf, bc, bo = np.split(b, 4)
    h = c = np.zeros((len(x), len(u)))
    states = []
    for x_t in x.swapaxes(0, 1):
        i = logistic(x_t @ wi + h @ ui + bi)
        f = logistic(x_t @ wf + h @ uf + bf)
        o = logistic(x_t @ wo + h @ uo + bo)
        c = f * c + i * np.tanh(x_t @ wc + h @ uc + bc)
        h = o * np.tanh(c)
        states.append(h)
    return np.stack(states, axis=1)


def gru(x, w, u, b):
    """Gives h(t) after every step; Keras keeps the gates in the order z, r, h, and b beside b′."""
    (wz, wr, wh), (uz, ur, uh) = np.split(w, 3, axis=1), np.split(u, 3, axis=1)
    (bz, br, bh), (bz2, br2, bh2) = np.split(b[0], 3), np.split(b[1], 3)
    h = np.zeros((len(x), len(u)))
    states = []
    for x_t in x.swapaxes(0, 1):
        z = logistic(x_t @ wz + h @ uz + bz + bz2)
        r = logistic(x_t @ wr + h @ ur + br + br2)
        h = z * h + (1 - z) * np.tanh(x_t @ wh + r * (h @ uh + bh2) + bh)
        states.append(h)
    return np.stack(states, axis=1)


def simple(x, w, u, b):
    """Gives h(t) after every step."""
    h = np.zeros((len(x), len(u)))
    states = []
    for x_t in x.swapaxes(0, 1):
        h = np.tanh(x_t @ w + h @ u + b)
        states.append(h)
    return np.stack(states, axis=1)


EQUATIONS = {"lstm": lstm, "gru": gru, "simple": simple}


def layer_by_hand(cell, x, weights):
    """Gives all states of a layer; one of two directions has twice the weights."""
    states = EQUATIONS[cell](x, *weights[:3])
    if len(weights) == 6:
        backward = EQUATIONS[cell](x[:, ::-1], *weights[3:])[:, ::-1]
        states = np.concatenate([states, backward], axis=-1)
    return states


def last_state(states, width, bidirectional):
    """Gives what each direction has read last: the way back ends at the first step."""
    if not bidirectional:
        return states[:, -1]
    return np.concatenate([states[:, -1, :width], states[:, 0, width:]], axis=-1)


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("units", [(4,), (4, 3)])
@pytest.mark.parametrize("cell", CELLS)
def test_the_prediction_follows_from_the_equations(cell, units, bidirectional, return_sequences):
    model = shake(
        rnn_regressor(
            (6, 2), 2, cell=cell, units=units, bidirectional=bidirectional, return_sequences=return_sequences, seed=0
        )
    )
    *weights, kernel, bias = model.get_weights()
    x = states = random((5, 6, 2))
    count = len(weights) // len(units)
    for start in range(0, len(weights), count):
        states = layer_by_hand(cell, states, weights[start : start + count])
    if not return_sequences:
        states = last_state(states, units[-1], bidirectional)
    np.testing.assert_allclose(model(x), states @ kernel + bias, rtol=1e-5, atol=1e-5)


def test_layer_normalization_is_over_the_units_at_every_step():
    arguments = {"cell": "gru", "units": 4, "return_sequences": True, "seed": 0}
    model = rnn_regressor((6, 2), layer_normalization=True, **arguments)
    *weights, _, _, kernel, bias = model.get_weights()
    x = random((5, 6, 2))
    states = gru(x, *weights)
    spread = np.sqrt(states.var(axis=-1, keepdims=True) + model.get_layer("gru_1_normalization").epsilon)
    expected = (states - states.mean(axis=-1, keepdims=True)) / spread @ kernel + bias
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4)


# === Where the weights start ===


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_matrices_start_orthogonal(cell):
    layer = rnn_regressor((6, 2), cell=cell, units=5, seed=0).get_layer(f"{cell}_1")
    u = layer.cell.recurrent_kernel.numpy()
    assert u.shape == (5, 5 * GATES[cell])
    # All gates together, as Keras has it: the rows of (U_1 … U_g) are orthonormal.
    np.testing.assert_allclose(u @ u.T, np.eye(5), atol=1e-5)


def test_the_forget_gate_starts_open():
    bias = rnn_regressor((6, 2), cell="lstm", units=5).get_layer("lstm_1").cell.bias.numpy()
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], 5))


@pytest.mark.parametrize("cell", CELLS)
def test_both_directions_and_both_layers_start_differently(cell):
    model = rnn_regressor((6, 4), cell=cell, units=(4, 8), bidirectional=True, seed=0)
    first = model.get_layer(f"bidirectional_{cell}_1").get_weights()
    for forward, backward in zip(first[:2], first[3:5], strict=True):
        assert not np.allclose(forward, backward)
    same, other = (
        rnn_regressor((6, 4), cell=cell, units=(4, 8), bidirectional=True, seed=s).get_weights() for s in (0, 1)
    )
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), same, strict=True))
    assert not np.allclose(same[0], other[0])


# === Shapes and options ===


@pytest.mark.parametrize("cell", CELLS)
def test_any_length_is_taken_where_the_length_is_open(cell):
    model = rnn_classifier((None, 2), 3, cell=cell, units=4, return_sequences=True, seed=0)
    fixed = rnn_classifier((7, 2), 3, cell=cell, units=4, return_sequences=True, seed=0)
    assert model.input_shape == (None, None, 2)
    for length in (1, 3, 7):
        assert model(random((2, length, 2))).shape == (2, length, 3)
    x = random((2, 7, 2))
    np.testing.assert_array_equal(model(x), fixed(x))


@pytest.mark.parametrize(
    ("loss", "num_outputs", "expected"),
    [("mse", 1, (2, 5, 1)), ("huber", 3, (2, 5, 3)), ("gaussian_nll", 3, (2, 5, 3, 2))],
)
def test_a_regressor_of_steps_gives_every_step_its_outputs(loss, num_outputs, expected):
    model = rnn_regressor((5, 2), num_outputs, cell="simple", units=3, loss=loss, return_sequences=True)
    assert model(random((2, 5, 2))).shape == expected


def test_the_penalty_is_that_of_input_and_recurrent_matrices():
    model = shake(rnn_regressor((5, 2), cell="gru", units=(4, 3), bidirectional=True, l1=0.01, l2=0.02, seed=0))
    matrices = [
        variable.numpy() for variable in model.weights if "kernel" in variable.name and "outputs" not in variable.path
    ]
    assert len(matrices) == 8
    expected = sum(0.01 * np.abs(w).sum() + 0.02 * (w**2).sum() for w in matrices)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_dropout_stands_after_every_recurrent_layer_and_rests_in_prediction():
    arguments = {"cell": "simple", "units": (20, 20), "seed": 0}
    plain, dropping = rnn_regressor((5, 2), **arguments), rnn_regressor((5, 2), dropout=0.5, **arguments)
    assert [type(layer).__name__ for layer in dropping.layers][1:-1] == ["SimpleRNN", "Dropout"] * 2
    dropping.set_weights(plain.get_weights())
    x = random((4, 5, 2))
    np.testing.assert_array_equal(dropping(x), plain(x))
    assert not np.allclose(dropping(x, training=True), plain(x))


# === Padding ===

LENGTHS = (6, 1, 4, 3)


def padded(sequences, side, length=6):
    """Gives sequences of several lengths as one array, and where in it the real steps are."""
    x = np.full((len(sequences), length, sequences[0].shape[1]), MASK, "float32")
    real = np.zeros(x.shape[:2], bool)
    for row, sequence in enumerate(sequences):
        steps = slice(len(sequence)) if side == "right" else slice(length - len(sequence), length)
        x[row, steps], real[row, steps] = sequence, True
    return x, real


@pytest.fixture(scope="module")
def ragged():
    return [random((length, 2), seed=length) for length in LENGTHS]


OPTIONS = {
    "plain": {},
    "two layers": {"units": (4, 3)},
    "bidirectional": {"bidirectional": True, "units": (4, 3)},
    "layer normalization": {"layer_normalization": True},
    "normalization": {"normalization": keras.layers.Normalization(mean=[0.5, -1.0], variance=[4.0, 9.0])},
    "everything": {
        "bidirectional": True,
        "layer_normalization": True,
        "dropout": 0.5,
        "units": (4, 3),
        "normalization": keras.layers.Normalization(mean=[0.5, -1.0], variance=[4.0, 9.0]),
    },
}


@pytest.mark.cases(4)
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_padding_changes_no_prediction(cell, option, return_sequences, ragged):
    arguments = {"cell": cell, "units": 4, "return_sequences": return_sequences, "mask_value": MASK, **OPTIONS[option]}
    model = shake(rnn_regressor((None, 2), 2, seed=0, **arguments))
    alone = [np.asarray(model(sequence[None]))[0] for sequence in ragged]
    for side in ("right", "left"):
        x, real = padded(ragged, side)
        together = np.asarray(model(x))
        got = together[real] if return_sequences else together
        expected = np.concatenate(alone) if return_sequences else np.stack(alone)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5, err_msg=side)


@pytest.mark.parametrize("cell", CELLS)
def test_without_a_mask_the_padding_counts(cell, ragged):
    model = shake(rnn_regressor((None, 2), cell=cell, units=4, seed=0))
    x, _ = padded(ragged, "right")
    alone = np.stack([np.asarray(model(sequence[None]))[0] for sequence in ragged])
    assert not np.allclose(model(x)[1:], alone[1:], atol=1e-3)


def test_only_a_step_whose_features_all_have_the_value_is_padding():
    model = shake(rnn_regressor((None, 2), cell="simple", units=4, mask_value=MASK, seed=0))
    x = random((1, 4, 2))
    x[0, 3, 0] = MASK
    assert not np.allclose(model(x), model(x[:, :3]), atol=1e-4)


@pytest.mark.parametrize("return_sequences", [False, True])
def test_the_loss_of_a_padded_batch_is_that_of_its_sequences(return_sequences, ragged):
    model = shake(
        rnn_classifier((None, 2), 3, cell="simple", units=4, return_sequences=return_sequences, mask_value=MASK, seed=0)
    )
    x, real = padded(ragged, "right")
    y = np.random.default_rng(0).integers(0, 3, real.shape if return_sequences else len(real))
    loss = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    each = []
    for row, sequence in enumerate(ragged):
        probability = np.asarray(model(sequence[None]))[0].reshape(-1, 3)
        labels = y[row][real[row]] if return_sequences else y[row : row + 1]
        each.extend(-np.log(probability[np.arange(len(labels)), labels]))
    assert loss == pytest.approx(np.mean(each), rel=1e-5)


def test_padding_moves_no_weight(ragged):
    arguments = {"cell": "gru", "units": 4, "return_sequences": True, "mask_value": MASK, "optimizer": "sgd"}
    short, long = (rnn_regressor((None, 2), 2, learning_rate=0.5, seed=0, **arguments) for _ in range(2))
    y = random((1, 3, 2))
    x, _ = padded(ragged[3:], "right")
    short.train_on_batch(ragged[3][None], y)
    long.train_on_batch(x, np.concatenate([y, np.full((1, 3, 2), 7.0)], axis=1))
    for a, b in zip(short.get_weights(), long.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
