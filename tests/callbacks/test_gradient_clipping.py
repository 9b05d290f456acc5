"""`GradientClipping` against gradients clipped in NumPy."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from kphys import mlp_regressor
from kphys.callbacks import GradientClipping

RATE = 0.1
X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
Y = X @ np.array([[3.0], [-2.0], [1.0]], "float32") + 5


def linear(optimizer=None, **compiled):
    """A linear model of mean squared error, whose gradient can be written down."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer=keras.initializers.Ones())])
    model.compile(optimizer or keras.optimizers.SGD(RATE), "mse", jit_compile=False, **compiled)
    return model


def gradients(weights, x=X, y=Y):
    """Gives those of matrix and bias: 2/n Σ (x w + b − y) (x, 1)."""
    w, b = weights
    residual = x @ w + b - y
    return [2 * x.T @ residual / len(x), 2 * residual.sum(axis=0) / len(x)]


def norm(g):
    return np.sqrt(sum((part**2).sum() for part in g))


def clipped(g, **threshold):
    ((mode, c),) = threshold.items()
    if mode == "value":
        return [np.clip(part, -c, c) for part in g]
    norms = [norm(g)] * len(g) if mode == "global_norm" else [norm([part]) for part in g]
    return [part * min(1, c / size) for part, size in zip(g, norms, strict=True)]


def after(weights, g):
    return [w - RATE * part for w, part in zip(weights, g, strict=True)]


def same(got, expected, rtol=1e-5):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)


def fit(model, *callbacks, **arguments):
    return model.fit(X, Y, **{"batch_size": 8, "shuffle": False, "verbose": 0, **arguments}, callbacks=[*callbacks])


# === One step ===

START = linear().get_weights()
SIZE = norm(gradients(START))


@pytest.mark.parametrize("fraction", [0.2, 5.0])
@pytest.mark.parametrize("mode", ["global_norm", "norm", "value"])
def test_a_step_takes_the_clipped_gradient(mode, fraction):
    threshold = {mode: float(fraction * SIZE)}
    model = linear()
    history = fit(model, GradientClipping(**threshold)).history
    expected = clipped(gradients(START), **threshold)
    assert np.allclose(norm(expected), SIZE) is (fraction > 1)
    same(model.get_weights(), after(START, expected))
    assert history["gradient_norm"] == pytest.approx([SIZE], rel=1e-5)
    assert history["clipped_fraction"] == [float(fraction < 1)]


def test_each_variable_is_clipped_by_its_own_norm():
    sizes = [norm([g]) for g in gradients(START)]
    # Between the two norms: one variable is clipped, the other is not.
    threshold = float(np.mean(sizes))
    model = linear()
    fit(model, GradientClipping(norm=threshold))
    moved = [norm([a - b]) / RATE for a, b in zip(model.get_weights(), START, strict=True)]
    assert moved == pytest.approx([min(size, threshold) for size in sizes], rel=1e-5)
    assert min(sizes) < threshold < max(sizes)


def test_a_gradient_of_zero_stays_zero():
    model = linear()
    exact = [np.array([[3.0], [-2.0], [1.0]], "float32"), np.array([5.0], "float32")]
    model.set_weights(exact)
    history = fit(model, GradientClipping(global_norm=1.0)).history
    same(model.get_weights(), exact)
    assert history["gradient_norm"] == pytest.approx([0.0], abs=1e-5)
    assert history["clipped_fraction"] == [0.0]


# === Several steps ===


def steps_by_hand(weights, batches, thresholds, mode="global_norm"):
    """Gives the weights after all steps, and norms and clipped or not of every step."""
    sizes, were_clipped = [], []
    for (x, y), c in zip(batches, thresholds, strict=True):
        g = gradients(weights, x, y)
        sizes.append(norm(g))
        were_clipped.append(sizes[-1] > c)
        weights = after(weights, clipped(g, **{mode: c}))
    return weights, sizes, were_clipped


def batches_of(size):
    return [(X[start : start + size], Y[start : start + size]) for start in range(0, len(X), size)]


def test_the_logs_are_means_over_the_steps_of_an_epoch():
    batches = batches_of(2)
    _, free, _ = steps_by_hand(START, batches, [np.inf] * 4)
    threshold = float(np.sort(free)[1])
    weights, sizes, were_clipped = steps_by_hand(START, batches * 2, [threshold] * 8)
    assert 0 < np.mean(were_clipped[:4]) < 1
    model = linear()
    history = fit(model, GradientClipping(global_norm=threshold), batch_size=2, epochs=2).history
    same(model.get_weights(), weights)
    assert history["gradient_norm"] == pytest.approx([np.mean(sizes[:4]), np.mean(sizes[4:])], rel=1e-5)
    assert history["clipped_fraction"] == [np.mean(were_clipped[:4]), np.mean(were_clipped[4:])]


def test_several_steps_a_call_are_clipped_alike():
    threshold = float(SIZE / 3)
    weights, sizes, _ = steps_by_hand(START, batches_of(2), [threshold] * 4)
    model = linear(steps_per_execution=3)
    history = fit(model, GradientClipping(global_norm=threshold), batch_size=2).history
    same(model.get_weights(), weights)
    assert history["gradient_norm"] == pytest.approx([np.mean(sizes)], rel=1e-5)


def test_a_threshold_changed_between_epochs_holds_without_a_new_trace():
    clip, traces, traces_by_epoch = GradientClipping(global_norm=float(SIZE)), [], []

    def traced_loss(y, predicted):
        traces.append(1)
        return keras.losses.mean_squared_error(y, predicted)

    class Schedule(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            clip.threshold = SIZE / 10 ** (epoch + 1)

        def on_epoch_end(self, epoch, logs=None):
            traces_by_epoch.append(len(traces))

    thresholds = [SIZE / 10, SIZE / 100, SIZE / 1000]
    weights, _, _ = steps_by_hand(START, [(X, Y)] * 3, thresholds)
    model = linear()
    model.compile(model.optimizer, traced_loss, jit_compile=False)
    fit(model, Schedule(), clip, epochs=3)
    same(model.get_weights(), weights)
    assert clip.threshold == pytest.approx(SIZE / 1000)
    assert len(set(traces_by_epoch)) == 1


def test_the_optimizer_is_left_as_it_was_found():
    model, clip = linear(), GradientClipping(global_norm=float(SIZE / 10))
    model.optimizer.build(model.trainable_variables)
    before = set(vars(model.optimizer))
    fit(model, clip)
    assert set(vars(model.optimizer)) == before
    weights = model.get_weights()
    history = fit(model).history
    # The next fit clips nothing and logs nothing.
    same(model.get_weights(), after(weights, gradients(weights)))
    assert set(history) == {"loss"}


def test_an_instance_serves_twice():
    clip = GradientClipping(global_norm=float(SIZE / 10))
    for _ in range(2):
        model = linear()
        history = fit(model, clip).history
        same(model.get_weights(), after(START, clipped(gradients(START), global_norm=SIZE / 10)))
        assert history["gradient_norm"] == pytest.approx([SIZE], rel=1e-5)


def test_a_training_that_broke_off_leaves_the_next_one_free():
    class Breaks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    model = linear()
    with pytest.raises(KeyboardInterrupt):
        fit(model, GradientClipping(global_norm=1e-6), Breaks())
    weights = model.get_weights()
    history = fit(model, GradientClipping(global_norm=float(10 * SIZE))).history
    same(model.get_weights(), after(weights, gradients(weights)))
    assert history["clipped_fraction"] == [0.0]


# === Other optimizers and other places ===


def test_norms_are_those_of_the_unscaled_loss():
    threshold = float(SIZE / 2)
    scaling = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE), initial_scale=1024.0)
    model = linear(scaling)
    history = fit(model, GradientClipping(global_norm=threshold)).history
    assert history["gradient_norm"] == pytest.approx([SIZE], rel=1e-4)
    assert history["clipped_fraction"] == [1.0]
    same(model.get_weights(), after(START, clipped(gradients(START), global_norm=threshold)), rtol=1e-4)


def test_accumulated_gradients_are_clipped_as_one():
    threshold = float(SIZE / 2)
    model = linear(keras.optimizers.SGD(RATE, gradient_accumulation_steps=4))
    history = fit(model, GradientClipping(global_norm=threshold), batch_size=2).history
    # Four quarters of the batch make its mean.
    same(model.get_weights(), after(START, clipped(gradients(START), global_norm=threshold)))
    assert history["gradient_norm"] == pytest.approx([SIZE], rel=1e-5)
    assert history["clipped_fraction"] == [1.0]


@pytest.mark.parametrize("words", [[[0, 3], [2, 1]], [[0, 3], [3, 1]]], ids=["each once", "one twice"])
def test_rows_of_an_embedding_are_clipped_with_the_rest(words):
    def embedding():
        model = keras.Sequential(
            [keras.Input((2,), dtype="int32"), keras.layers.Embedding(5, 2), keras.layers.Flatten()]
        )
        model.add(keras.layers.Dense(1, kernel_initializer="ones"))
        model.layers[0].set_weights([np.arange(10.0).reshape(5, 2)])
        model.compile(keras.optimizers.SGD(RATE), "mse", jit_compile=False)
        return model

    x, y = np.array(words), np.zeros((2, 1), "float32")
    free, one = embedding(), embedding()
    start = one.get_weights()
    free.fit(x, y, verbose=0)
    step = [before - now for before, now in zip(start, free.get_weights(), strict=True)]
    size = norm(step) / RATE
    history = one.fit(x, y, verbose=0, callbacks=[GradientClipping(global_norm=float(size / 4))]).history
    same(one.get_weights(), [before - part / 4 for before, part in zip(start, step, strict=True)], rtol=1e-4)
    assert history["clipped_fraction"] == [1.0]


def test_a_model_of_kphys_logs_what_is_clipped():
    model = mlp_regressor(3, hidden_units=4, optimizer="sgd", seed=0)
    before = model.get_weights()
    history = fit(model, GradientClipping(global_norm=1e-3)).history
    moved = norm([a - b for a, b in zip(model.get_weights(), before, strict=True)])
    assert moved == pytest.approx(0.01 * 1e-3, rel=1e-2)
    assert history["clipped_fraction"] == [1.0]
    assert history["gradient_norm"][0] > 1


TWO_DEVICES = """
import json
import sys

import keras
import numpy as np
import tensorflow as tf
from kphys.callbacks import GradientClipping

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
given = json.load(sys.stdin)
x, y = (np.array(given[name], "float32") for name in "xy")
seen = []
for threshold in given["thresholds"]:
    with strategy.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
        model.compile(keras.optimizers.SGD(given["rate"]), "mse", jit_compile=False)
    clip = GradientClipping(**threshold)
    history = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[clip]).history
    weights = [w.tolist() for w in model.get_weights()]
    seen.append({"weights": weights, **{name: history[name] for name in ("gradient_norm", "clipped_fraction")}})
print(json.dumps(seen))
"""


def test_two_devices_clip_what_one_would():
    sizes = steps_by_hand(START, batches_of(4), [np.inf] * 2)[1]
    thresholds = [
        {"global_norm": float(min(sizes) / 3)},
        {"norm": float(min(sizes) / 3)},
        {"value": 0.5},
    ]
    given = {"x": X.tolist(), "y": Y.tolist(), "rate": RATE, "thresholds": thresholds}
    outcome = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    for threshold, seen in zip(thresholds, json.loads(outcome.stdout.splitlines()[-1]), strict=True):
        ((mode, c),) = threshold.items()
        weights, sizes, _ = steps_by_hand(START, batches_of(4) * 2, [c] * 4, mode)
        same(seen["weights"], weights)
        assert seen["gradient_norm"] == pytest.approx([np.mean(sizes[:2]), np.mean(sizes[2:])], rel=1e-5)
        assert seen["clipped_fraction"] == [1.0, 1.0]


# === Bad input ===


@pytest.mark.parametrize("mode", ["global_norm", "norm", "value"])
@pytest.mark.parametrize(
    ("threshold", "error"),
    [(0, ValueError), (-1.0, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), ("1", TypeError)],
)
def test_a_threshold_that_is_no_positive_number_is_refused(mode, threshold, error):
    with pytest.raises(error, match=f"`{mode}` must be a positive number, got '?{threshold}"):
        GradientClipping(**{mode: threshold})
    clip = GradientClipping(**{mode: 1.0})
    with pytest.raises(error, match=f"`threshold` must be a positive number, got '?{threshold}"):
        clip.threshold = threshold
    assert clip.threshold == 1.0


@pytest.mark.parametrize(
    ("given", "named"),
    [({}, "none"), ({"norm": 1, "value": 1}, "norm, value"), ({"global_norm": 1, "norm": 2}, "global_norm, norm")],
)
def test_exactly_one_threshold_is_asked_for(given, named):
    with pytest.raises(ValueError, match=rf"Exactly one of `global_norm`, `norm` and `value` .* got {named}: "):
        GradientClipping(**given)


@pytest.mark.parametrize("argument", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_an_optimizer_that_clips_itself_is_refused(argument):
    model = linear(keras.optimizers.SGD(RATE, **{argument: 0.5}))
    with pytest.raises(
        ValueError, match=rf"optimizer clips gradients itself: make it without {argument}=0\.5, or drop"
    ):
        fit(model, GradientClipping(global_norm=1.0))
    same(model.get_weights(), START)
