"""`GradientClipping` against gradients clipped in NumPy."""

import json
import operator
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kphys import mlp_regressor
from kphys.callbacks import EarlyStopping, GradientClipping
from kphys.callbacks._clipping import NUM_BINS, bin_of, norms_of, percentile_of

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
    if mode == "adaptive":
        return adaptively_clipped(g, START, c)
    norms = [norm(g)] * len(g) if mode == "global_norm" else [norm([part]) for part in g]
    return [part * min(1, c / size) for part, size in zip(g, norms, strict=True)]


def adaptively_clipped(g, weights, c):
    """Each column of a matrix and each vector by its own weights' norm, of at least 0.001."""
    parts = []
    for part, weight in zip(g, weights, strict=True):
        allowed = c * np.maximum(np.sqrt((weight**2).sum(axis=0, keepdims=weight.ndim > 1)), 1e-3)
        size = np.sqrt((part**2).sum(axis=0, keepdims=part.ndim > 1))
        parts.append(part * np.minimum(1, allowed / size))
    return parts


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
@pytest.mark.parametrize("mode", ["global_norm", "norm", "value", "adaptive"])
def test_a_step_takes_the_clipped_gradient(mode, fraction):
    # The kernel is (1, 1, 1), the bias 0: the larger ratio of gradient to weight is that of the bias.
    scale = SIZE if mode != "adaptive" else abs(gradients(START)[1][0]) / 1e-3
    threshold = {mode: float(fraction * scale)}
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


# === Relative thresholds ===


def test_a_threshold_may_follow_a_schedule_of_the_optimizers_iterations():
    thresholds = [float(SIZE) / 4**step for step in range(1, 5)]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1, 2], thresholds)
    weights, _, _ = steps_by_hand(START, batches_of(2), thresholds)
    model, clip = linear(), GradientClipping(global_norm=schedule)
    fit(model, clip, batch_size=2)
    same(model.get_weights(), weights)
    assert clip.threshold is schedule


@pytest.mark.parametrize("percentile", [10, 50, 75, 100])
def test_a_percentile_is_that_of_the_norms_seen_so_far(percentile):
    weights, seen, were_clipped = START, [], []
    for x, y in batches_of(2) * 2:
        g = gradients(weights, x, y)
        seen.append(norm(g))
        c = np.percentile(seen, percentile)
        were_clipped.append(seen[-1] > c)
        weights = after(weights, clipped(g, global_norm=c))
    model = linear()
    history = fit(model, GradientClipping(percentile=percentile), batch_size=2, epochs=2).history
    # A bin of norms is 1.1 % wide.
    same(model.get_weights(), weights, rtol=0.01)
    assert history["gradient_norm_max"] == pytest.approx([max(seen[:4]), max(seen[4:])], rel=0.02)
    if percentile < 100:
        assert history["clipped_fraction"][1] == pytest.approx(np.mean(were_clipped[4:]), abs=0.26)


def test_percentiles_are_those_of_numpy():
    norms = np.random.default_rng(1).lognormal(0, 5, 999).astype("float32")
    counts = np.bincount(bin_of(norms).numpy(), minlength=NUM_BINS).astype("int32")
    for percentile in (0.5, 10.0, 33.0, 50.0, 99.9, 100.0):
        expected = np.percentile(norms, percentile)
        assert percentile_of(counts, percentile).numpy() == pytest.approx(expected, rel=0.006)


def test_norms_out_of_range_count_in_the_last_bins():
    np.testing.assert_array_equal(bin_of(np.array([0.0, 1e-38, 3e38], "float32")), [0, 0, NUM_BINS - 1])


@pytest.mark.parametrize("ratio", [0.01, 1e6])
def test_an_adaptive_threshold_is_relative_to_each_units_weights(ratio):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(RATE), "mse", jit_compile=False)
    start = [np.array([[1, 10], [2, 0], [3, 0]], "float32"), np.array([0.5, -0.5], "float32")]
    model.set_weights(start)
    y = np.concatenate([Y, 2 * Y], axis=1)
    g = [part / 2 for part in gradients(start, X, y)]  # The mean over two outputs.
    history = model.fit(X, y, batch_size=8, verbose=0, callbacks=[GradientClipping(adaptive=ratio)]).history
    expected = adaptively_clipped(g, start, ratio)
    same(model.get_weights(), after(start, expected), rtol=1e-4)
    assert history["clipped_fraction"] == [float(ratio < 1)]
    assert history["gradient_norm"] == pytest.approx([norm(g)], rel=1e-5)


def test_a_unit_without_weights_may_still_move():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="zeros", use_bias=False)])
    model.compile(keras.optimizers.SGD(RATE), "mse", jit_compile=False)
    fit(model, GradientClipping(adaptive=0.5))
    assert norm(model.get_weights()) == pytest.approx(RATE * 0.5 * 1e-3, rel=1e-4)


# === Norms at the ends of the range ===


@pytest.mark.parametrize("as_products", [False, True])
@pytest.mark.parametrize("shape", [(), (5000,), (70, 80), (9, 8, 7, 11)])
def test_norms_of_arrays_of_all_shapes(shape, as_products):
    g = np.random.default_rng(0).normal(size=shape).astype("float32")
    norms, _ = norms_of([tf.constant(g)], as_products)
    np.testing.assert_allclose(norms, [np.linalg.norm(g.ravel().astype(float))], rtol=1e-6)


@pytest.mark.parametrize("as_products", [False, True])
def test_squares_of_large_arrays_may_overflow(as_products):
    norms, global_norm = norms_of([tf.fill((100, 100), 1e30), tf.fill((4,), 1e30)], as_products)
    np.testing.assert_allclose(norms, [1e32, 2e30], rtol=1e-5)
    assert float(global_norm) == pytest.approx(np.hypot(1e32, 2e30), rel=1e-5)


@pytest.mark.parametrize("size", [1e-15, 1.0, 1e19, 1e30, 3e38])
def test_norms_are_finite_wherever_gradients_are(size):
    g = [np.array([0.3, 0.4], "float32") * np.float32(size), np.zeros(2, "float32"), np.float32([0.5 * size])]
    norms, global_norm = norms_of([tf.constant(part) for part in g])
    np.testing.assert_allclose(norms, [0.5 * size, 0, 0.5 * size], rtol=1e-5)
    assert float(global_norm) == pytest.approx(np.sqrt(0.5) * size, rel=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_norm_of_what_is_not_finite_is_not_finite(bad):
    norms, global_norm = norms_of([tf.constant([1.0, 2.0]), tf.constant([1.0, bad])])
    assert np.isfinite(norms.numpy()).tolist() == [True, False]
    assert not np.isfinite(float(global_norm))


# === Steps that are not finite ===


def with_moving_averages(optimizer, **compiled):
    """A network with batch normalization, and metrics."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(optimizer, "mse", weighted_metrics=["mae"], **compiled)
    return model


OPTIMIZERS = {
    "adam": lambda: keras.optimizers.AdamW(0.01, use_ema=True),
    "accumulating": lambda: keras.optimizers.SGD(0.01, momentum=0.9, gradient_accumulation_steps=2),
}


CALLS = {"one step": {"jit_compile": False}, "XLA": {"jit_compile": True, "steps_per_execution": 4}}
MORE = (
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "Adamax",
    "AdamW",
    "Ftrl",
    "Lamb",
    "Lion",
    "Muon",
    "Nadam",
    "RMSprop",
)


@pytest.mark.cases(1)
@pytest.mark.parametrize("compiled", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_bad_step_is_as_if_it_had_not_been(optimizer, compiled):
    bad_step_is_left_out(optimizer, compiled)


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_xla_leaves_a_bad_step_of_every_optimizer_out(name):
    bad_step_is_left_out(lambda: getattr(keras.optimizers, name)(0.01), CALLS["XLA"])


def bad_step_is_left_out(optimizer, compiled):
    x, y = X.copy(), Y.copy()
    good = [0, 1, 4, 5, 6, 7]
    x[2], y[3] = np.nan, np.inf
    bad, without = (with_moving_averages(optimizer(), **compiled) for _ in range(2))
    arguments = {"batch_size": 2, "epochs": 2, "shuffle": False, "verbose": 0}
    history = bad.fit(x, y, **arguments, callbacks=[GradientClipping(global_norm=1.0)]).history
    expected = without.fit(X[good], Y[good], **arguments, callbacks=[GradientClipping(global_norm=1.0)]).history
    assert history.pop("skipped_steps") == [1, 1]
    assert expected.pop("skipped_steps") == [0, 0]
    for name, values in expected.items():
        assert history[name] == pytest.approx(values, rel=1e-4), name
    for kind in ("weights", "optimizer.variables"):
        got, wanted = (operator.attrgetter(kind)(model) for model in (bad, without))
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5, err_msg=a.path)


def test_a_loss_scaling_skips_by_itself_and_is_counted():
    scaling = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE), initial_scale=2.0**126)
    model = linear(scaling)
    history = fit(model, GradientClipping(global_norm=float(SIZE / 2)), epochs=3).history
    # The scaled gradients overflow until the scale is halved twice: 2¹²⁶ × norm > 3e38.
    assert sum(history["skipped_steps"]) >= 1
    assert history["skipped_steps"][-1] == 0
    assert np.isfinite(model.get_weights()[0]).all()
    assert scaling.dynamic_scale.numpy() < 2.0**126


@pytest.mark.cases(1)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_bad_steps_in_a_row_end_training_and_name_the_variable(jit_compile):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="first"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(), "mse", jit_compile=jit_compile)
    start, clip = model.get_weights(), GradientClipping(global_norm=1.0, max_skipped=3)
    with pytest.raises(FloatingPointError, match=r"^3 steps .* NaN or infinite, first that of `.*first/kernel`"):
        model.fit(X * np.nan, Y, batch_size=1, verbose=0, callbacks=[clip])
    same(model.get_weights(), start)
    assert model.optimizer.iterations == 0
    # The next training is free of it.
    history = fit(model).history
    assert set(history) == {"loss"}


def test_good_steps_in_between_start_the_row_anew():
    x = X.copy()
    x[[1, 2, 4, 5, 7]] = np.nan
    model = linear()
    history = fit(model, GradientClipping(global_norm=1.0, max_skipped=3), batch_size=1, epochs=2).history
    assert history["skipped_steps"] == [0, 0]
    history = model.fit(
        x, Y, batch_size=1, shuffle=False, verbose=0, callbacks=[GradientClipping(global_norm=1.0, max_skipped=3)]
    ).history
    assert history["skipped_steps"] == [5]


def test_after_too_many_no_step_counts_until_the_epoch_ends():
    x = X.copy()
    x[:2] = np.nan
    model = linear()
    with pytest.raises(FloatingPointError, match="2 steps in a row"):
        model.fit(
            x,
            Y,
            batch_size=1,
            shuffle=False,
            verbose=0,
            callbacks=[GradientClipping(global_norm=1.0, max_skipped=2)],
        )
    same(model.get_weights(), START)


def test_an_epoch_without_a_step_has_no_loss():
    x = np.full_like(X, np.nan)
    model = linear()
    clip, early = GradientClipping(global_norm=1.0), EarlyStopping("loss", patience=5, restore_best_weights=True)
    history = model.fit(x, Y, batch_size=4, epochs=3, verbose=0, callbacks=[clip, early]).history
    assert np.isnan(history["loss"]).all()
    assert (history["skipped_steps"], early.stop_reason, early.best) == ([2], "diverged", None)


def test_weights_under_a_constraint_stay_in_a_bad_step():
    kernel = keras.layers.Dense(1, kernel_initializer="ones", kernel_constraint=keras.constraints.MaxNorm(0.1))
    model = keras.Sequential([keras.Input((3,)), kernel])
    model.compile(keras.optimizers.SGD(RATE), "mse", jit_compile=True)
    start = model.get_weights()
    model.fit(X * np.nan, Y, batch_size=8, verbose=0, callbacks=[GradientClipping(global_norm=1.0)])
    same(model.get_weights(), start)


def test_frozen_weights_are_not_copied(monkeypatch):
    frozen = keras.layers.Dense(3, trainable=False)
    model = keras.Sequential([keras.Input((3,)), frozen, keras.layers.Dense(1), keras.layers.BatchNormalization()])
    model.compile("sgd", "mse", run_eagerly=True)
    assigned, assign = [], keras.Variable.assign

    def noting(self, value):
        assigned.append(self.path)
        return assign(self, value)

    monkeypatch.setattr(keras.Variable, "assign", noting)
    fit(model, GradientClipping(global_norm=1.0))
    assert not any(variable.path in assigned for variable in frozen.weights)
    assert model.layers[-1].moving_mean.path in assigned


# === Logs of every step ===


def test_the_norm_of_every_step_goes_to_tensorboard_on_request(tmp_path):
    weights, sizes, _ = steps_by_hand(START, batches_of(2) * 2, [1.0] * 8)
    model = linear(steps_per_execution=4)
    fit(model, GradientClipping(global_norm=1.0, log_dir=tmp_path), batch_size=2, epochs=2)
    same(model.get_weights(), weights)
    events = EventAccumulator(str(tmp_path / "train")).Reload()
    written = [
        (event.step, float(tf.make_ndarray(event.tensor_proto))) for event in events.Tensors("batch_gradient_norm")
    ]
    assert [step for step, _ in written] == list(range(8))
    assert [value for _, value in written] == pytest.approx(sizes, rel=1e-5)


def test_it_is_written_also_beside_a_tensorboard_of_few_batches(tmp_path):
    board = keras.callbacks.TensorBoard(tmp_path, update_freq=3, write_graph=False)
    clip = GradientClipping(global_norm=1.0, log_dir=tmp_path / "norms")
    fit(linear(), board, clip, batch_size=2, epochs=2)
    events = EventAccumulator(str(tmp_path / "norms" / "train")).Reload()
    assert len(events.Tensors("batch_gradient_norm")) == 8


def test_nothing_is_written_unless_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(linear(), GradientClipping(global_norm=1.0))
    assert list(tmp_path.iterdir()) == []


# === Several optimizers ===


class Adversaries(keras.Model):
    """Two linear models, each with an optimizer of its own; the second learns the negative targets."""

    def __init__(self):
        super().__init__()
        self.generator, self.discriminator = (
            keras.layers.Dense(1, kernel_initializer="ones", name=name) for name in ("generator", "discriminator")
        )

    def build(self, shape):
        self.generator.build(shape)
        self.discriminator.build(shape)

    def call(self, x):
        return self.generator(x) + self.discriminator(x)

    def train_step(self, data):
        x, y = data
        losses = {}
        for name, sign in (("generator", 1.0), ("discriminator", -1.0)):
            layer = getattr(self, name)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((layer(x) - sign * y) ** 2)
            variables = layer.trainable_variables
            getattr(self, f"{name}_optimizer").apply(tape.gradient(loss, variables), variables)
            losses[f"{name}_loss"] = loss
        return losses


def test_each_optimizer_is_clipped_and_logged_by_itself():
    model = Adversaries()
    model.build((None, 3))
    model.compile(jit_compile=False)
    model.generator_optimizer, model.discriminator_optimizer = (keras.optimizers.SGD(RATE) for _ in range(2))
    g, d = gradients(START), gradients(START, X, -Y)
    threshold = float(norm(g) + norm(d)) / 2
    assert (norm(g) > threshold) != (norm(d) > threshold)
    history = fit(model, GradientClipping(global_norm=threshold)).history
    same(model.generator.get_weights(), after(START, clipped(g, global_norm=threshold)))
    same(model.discriminator.get_weights(), after(START, clipped(d, global_norm=threshold)))
    kinds = ("gradient_norm", "gradient_norm_max", "clipped_fraction", "skipped_steps")
    # `compile` gave the model an optimizer that nobody uses: it logs nothing.
    names = ("generator", "discriminator")
    assert set(history) == {f"{name}_{kind}" for name in names for kind in (*kinds, "loss")}
    assert history["generator_gradient_norm"] == pytest.approx([norm(g)], rel=1e-5)
    assert history["discriminator_gradient_norm"] == pytest.approx([norm(d)], rel=1e-5)
    assert history["generator_clipped_fraction"] != history["discriminator_clipped_fraction"]
    assert "apply" not in vars(model.generator_optimizer)


class Alternating(Adversaries):
    """The generator learns in every other batch only, and its gradient in the first one is NaN."""

    def build(self, shape):
        super().build(shape)
        self.tracker = keras.metrics.Mean("steps")

    def train_step(self, data):
        x, y = data
        number = self.discriminator_optimizer.iterations
        gradients = {}
        for name in ("generator", "discriminator"):
            layer = getattr(self, name)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((layer(x) - y) ** 2)
            gradients[name] = tape.gradient(loss, layer.trainable_variables)
        bad = tf.where(number == 0, np.float32(np.nan), 0.0)
        with_bad = [gradient + bad for gradient in gradients["generator"]]

        def apply():
            self.generator_optimizer.apply(with_bad, self.generator.trainable_variables)
            return True

        tf.cond(number % 2 == 0, apply, lambda: False)
        self.discriminator_optimizer.apply(gradients["discriminator"], self.discriminator.trainable_variables)
        self.tracker.update_state(1.0)
        return {"steps": self.tracker.result()}


def test_a_step_left_out_does_not_weigh_on_later_ones():
    model = Alternating()
    model.build((None, 3))
    model.compile(jit_compile=False)
    model.generator_optimizer, model.discriminator_optimizer = (keras.optimizers.SGD(1e-3) for _ in range(2))
    counts = []
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: counts.append(float(model.tracker.count)))
    history = fit(model, GradientClipping(global_norm=100.0), count, batch_size=2).history
    assert history["generator_skipped_steps"] == [1]
    assert history["discriminator_skipped_steps"] == [0]
    # Four batches; the metrics do not count the first.
    assert counts == [3.0]


# === What it is for ===


@pytest.mark.slow
def test_a_recurrent_network_whose_gradients_explode_trains_with_it():
    """Adds up the last 5 of 50 steps with recurrent weights of 1.1 times an orthogonal matrix: 1.1⁵⁰ = 117.

    Three seeds, none may fail: without clipping the loss ends NaN; with clipping it ends below a tenth of the targets'
    variance.
    """
    for seed in range(3):
        keras.utils.set_random_seed(seed)
        x = np.random.default_rng(seed).normal(size=(256, 50, 1)).astype("float32")
        y = x[:, -5:].sum(axis=1)

        def network(x=x):
            cell = keras.layers.SimpleRNN(
                16, activation="linear", recurrent_initializer=keras.initializers.Orthogonal(1.1, seed=1)
            )
            model = keras.Sequential([keras.Input(x.shape[1:]), cell, keras.layers.Dense(1)])
            model.compile(keras.optimizers.SGD(0.02), "mse", jit_compile=False)
            return model

        arguments = {"batch_size": 16, "epochs": 25, "verbose": 0}
        free = network().fit(x, y, **arguments).history["loss"][-1]
        clipped_loss = network().fit(x, y, **arguments, callbacks=[GradientClipping(global_norm=1.0)]).history["loss"]
        assert np.isnan(free)
        assert clipped_loss[-1] < 0.1 * y.var()


# === Other optimizers and other places ===


def test_norms_are_those_of_the_unscaled_loss():
    threshold = float(SIZE / 2)
    scaling = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE), initial_scale=1024.0)
    model = linear(scaling)
    history = fit(model, GradientClipping(global_norm=threshold)).history
    assert history["gradient_norm"] == pytest.approx([SIZE], rel=1e-4)
    assert history["clipped_fraction"] == [1.0]
    same(model.get_weights(), after(START, clipped(gradients(START), global_norm=threshold)), rtol=1e-4)


def test_a_factor_on_the_loss_is_undone_before():
    model = linear(keras.optimizers.SGD(RATE, loss_scale_factor=1024.0))
    history = fit(model, GradientClipping(global_norm=float(2 * SIZE))).history
    assert history["gradient_norm"] == pytest.approx([SIZE], rel=1e-4)
    assert history["clipped_fraction"] == [0.0]
    same(model.get_weights(), after(START, gradients(START)), rtol=1e-4)


def test_a_model_traced_anew_in_training_is_clipped_on():
    class Retraces(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.make_train_function(force=True)

    history = fit(linear(), Retraces(), GradientClipping(global_norm=1e-6), epochs=3).history
    assert history["clipped_fraction"] == [1.0] * 3


class Handing(keras.optimizers.SGD):
    """Lets another optimizer do the work."""

    def __init__(self, other):
        super().__init__()
        self.other = other

    def _backend_apply_gradients(self, grads, trainable_variables):
        self.other.apply(grads, trainable_variables)


def test_an_optimizer_made_of_others_is_refused():
    model = linear(Handing(keras.optimizers.SGD(RATE)))
    with pytest.raises(ValueError, match="GradientClipping cannot clip the gradients of Handing"):
        fit(model, GradientClipping(global_norm=1.0))


class Hidden(Adversaries):
    """Keeps its optimizer where nobody finds it."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.generator(x) - y) ** 2)
        variables = self.generator.trainable_variables
        self.hidden["optimizer"].apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}


def test_a_model_whose_optimizers_are_not_found_is_told():
    model = Hidden()
    model.build((None, 3))
    model.compile(jit_compile=False)
    model.hidden = {"optimizer": keras.optimizers.SGD(RATE)}
    with pytest.raises(ValueError, match="found no optimizer that takes part in the training"):
        fit(model, GradientClipping(global_norm=1.0))


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


class Contraction(keras.layers.Layer):
    """Features times a kernel, by a product whose gradient does not know its shape while it is traced."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 2))

    def call(self, inputs):
        return tf.tensordot(inputs, self.kernel, 1)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradients_that_do_not_know_their_shape_are_clipped(jit_compile):
    model = keras.Sequential([keras.Input((4, 3)), Contraction()])
    model.compile("sgd", "mse", jit_compile=jit_compile)
    history = model.fit(
        np.ones((4, 4, 3)), np.ones((4, 4, 2)), verbose=0, callbacks=[GradientClipping(global_norm=1e-6)]
    )
    assert history.history["clipped_fraction"] == [1.0]


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


@pytest.mark.slow
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


@pytest.mark.parametrize("mode", ["global_norm", "norm", "value", "percentile", "adaptive"])
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
    with pytest.raises(ValueError, match=rf"Exactly one of `global_norm`, .* must be given, got {named}: "):
        GradientClipping(**given)


@pytest.mark.parametrize("argument", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_an_optimizer_that_clips_itself_is_refused(argument):
    model = linear(keras.optimizers.SGD(RATE, **{argument: 0.5}))
    with pytest.raises(
        ValueError, match=rf"optimizer clips gradients itself: make it without {argument}=0\.5, or drop"
    ):
        fit(model, GradientClipping(global_norm=1.0))
    same(model.get_weights(), START)


def test_percentiles_and_numbers_of_steps_have_their_range():
    with pytest.raises(ValueError, match="`percentile` must be a percentile above 0 and up to 100, got 101"):
        GradientClipping(percentile=101)
    with pytest.raises(ValueError, match="`max_skipped` must be a positive integer, got 0"):
        GradientClipping(global_norm=1.0, max_skipped=0)


def test_schedules_where_they_mean_nothing_are_refused():
    schedule = keras.optimizers.schedules.CosineDecay(1.0, 10)
    for mode in ("percentile", "adaptive"):
        with pytest.raises(TypeError, match=f"`{mode}` must be a number: only `global_norm`, `norm` and `value` take"):
            GradientClipping(**{mode: schedule})
    clip = GradientClipping(global_norm=1.0)

    class Sets(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            clip.threshold = schedule

    with pytest.raises(TypeError, match="`threshold` must be a number"):
        fit(linear(), clip, Sets())


def test_two_of_them_are_refused_and_leave_nothing_behind():
    model = linear()
    with pytest.raises(ValueError, match="Another GradientClipping is at work"):
        fit(model, GradientClipping(global_norm=1.0), GradientClipping(norm=1.0))
    assert set(fit(model).history) == {"loss"}
    assert "apply" not in vars(model.optimizer)
