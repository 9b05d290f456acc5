"""`LearningRateFinder`: losses and stability by hand, and everything put back to the last bit."""

import math
import signal

import keras
import numpy as np
import pytest

from kphys import mlp_regressor
from kphys.callbacks.learning_rate_finder import LearningRateFinder, steepest

# A few batches of four are too noisy for a suggestion, which most tests do not need.
pytestmark = pytest.mark.filterwarnings("ignore:The loss never fell")

SGD = keras.optimizers.SGD
X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
Y = X @ np.array([[3.0], [-2.0], [1.0]], "float32") + 0.5


class Watch(keras.callbacks.Callback):
    """Calls `look(model)` after every batch."""

    def __init__(self, look):
        super().__init__()
        self.look, self.seen = look, []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(self.look(self.model))


def state(model, *optimizers):
    """Copies every variable of the model and of its optimizers."""
    variables = [*model.variables]
    for optimizer in optimizers or (model.optimizer,):
        variables += optimizer.variables
    return [variable.numpy() for variable in variables]


def same(left, right):
    return len(left) == len(right) and all(
        a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in zip(left, right, strict=True)
    )


def linear(optimizer=None, **compiled):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer or SGD(0.05), "mse", **{"jit_compile": False, **compiled})
    return model


def fit(model, *callbacks, **arguments):
    return model.fit(X, Y, **{"batch_size": 4, "shuffle": False, "verbose": 0, **arguments}, callbacks=[*callbacks])


# === What it measures ===


def test_each_batch_has_its_rate_and_its_own_loss():
    finder = LearningRateFinder(lowest=1e-3, highest=0.1, num_steps=16)
    fit(linear(), finder)
    rates = 1e-3 * 100 ** (np.arange(16) / 15)
    w, b, losses = np.ones((3, 1)), 0.0, []
    for rate, start in zip(rates, range(0, 64, 4), strict=True):
        x, residual = X[start : start + 4], X[start : start + 4] @ w + b - Y[start : start + 4]
        losses.append((residual**2).mean())
        w, b = w - rate * 2 * x.T @ residual / 4, b - rate * 2 * residual.mean()
    assert finder.learning_rates == pytest.approx(list(rates), rel=1e-12)
    assert finder.losses == pytest.approx(losses, rel=1e-4)


def test_the_regularization_is_in_the_loss():
    penalty = keras.regularizers.L2(10.0)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(1, "linear", True, "ones", kernel_regularizer=penalty)]
    )
    model.compile(SGD(), "mse", jit_compile=False)
    finder, plain = LearningRateFinder(num_steps=16), LearningRateFinder(num_steps=16)
    fit(model, finder)
    fit(linear(), plain)
    # Weights of one: 10 (1 + 1 + 1).
    assert finder.losses[0] - plain.losses[0] == pytest.approx(30, rel=1e-5)


class Told(keras.Model):
    """Logs the losses that it was told."""

    def __init__(self, losses, name_of_loss="loss"):
        super().__init__()
        self.told, self.name_of_loss = iter(losses), name_of_loss
        self.scale = self.add_weight(shape=(), initializer="zeros")
        self.compile(SGD(), run_eagerly=True)

    def call(self, inputs):
        return inputs

    def train_step(self, data):
        self.scale.assign_add(1.0)
        return {self.name_of_loss: next(self.told)}


def told(losses, name_of_loss="loss", **arguments):
    """Gives the finder after a fit with these losses."""
    finder = LearningRateFinder(**{"num_steps": 10, **arguments})
    model = Told(losses, name_of_loss)
    model(X)
    model.fit(X, epochs=1, batch_size=1, verbose=0, callbacks=[finder])
    return finder


def test_the_smoothed_loss_is_an_exponential_mean():
    losses = [5.0, 3.0, 4.0, 1.0, 2.0, 2.0, 1.0, 0.5, 2.0, 1.0]
    finder = told(losses)
    for i, smoothed in enumerate(finder.smoothed_losses):
        weights = 0.9 ** np.arange(i, -1, -1)
        assert smoothed == pytest.approx(np.average(losses[: i + 1], weights=weights), rel=1e-12)
    assert finder.losses == losses


@pytest.mark.parametrize(
    ("losses", "steps"),
    [
        ([1.0] * 10, 10),
        # (0.81 + 0.9 + L) / 2.71 is above 4 for L > 9.13.
        ([1.0, 1.0, 9.1, *[1.0] * 7], 10),
        ([1.0, 1.0, 9.2, *[1.0] * 7], 3),
        # A lucky first batch is no minimum, while S is little more than it.
        ([0.01, *[1.0] * 9], 10),
        ([2.0, 1.0, math.nan, *[1.0] * 7], 3),
        ([2.0, 1.0, math.inf, *[1.0] * 7], 3),
        ([math.nan, *[1.0] * 9], 1),
        # Below zero: (−0.81 − 0.9 + L) / 2.71 is above −1 + 3 for L > 7.13.
        ([-1.0, -1.0, 7.1, *[-1.0] * 7], 10),
        ([-1.0, -1.0, 7.2, *[-1.0] * 7], 3),
        # S fell from 5 to −4.2, and may rise by three times that, as up to L = 91.
        ([5.0, 5.0, -20.0, 90.0, *[0.0] * 6], 10),
        ([5.0, 5.0, -20.0, 92.0, *[0.0] * 6], 4),
    ],
)
def test_when_it_ends(losses, steps):
    finder = told(losses)
    assert len(finder.losses) == len(finder.learning_rates) == len(finder.smoothed_losses) == steps


def test_the_fit_ends_with_the_range_test():
    watch = Watch(lambda model: float(model.optimizer.learning_rate))
    finder = LearningRateFinder(lowest=1e-4, highest=1e-2, num_steps=20)
    history = fit(linear(), watch, finder, epochs=9).history
    assert len(history["loss"]) == 2
    assert watch.seen == pytest.approx(finder.learning_rates, rel=1e-6)


# === What it suggests ===

RATES = list(np.geomspace(1e-4, 1e-1, 40))


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_suggestion_is_where_the_loss_falls_most_steeply(noise):
    # A logistic fall around step 20, and a rise from step 32 on that does not count.
    steps = np.arange(40)
    losses = 10 / (1 + np.exp((steps - 20) / 2)) + 1 + np.maximum(0, steps - 32) ** 2
    losses += noise * (-1) ** steps
    assert steepest(RATES, losses) == RATES[20]


def test_what_follows_the_minimum_does_not_count():
    losses = np.concatenate([np.linspace(5, 1, 20), [90.0] * 10, np.linspace(90, 2, 10)])
    assert steepest(RATES, losses) < RATES[20]


@pytest.mark.parametrize(
    "losses",
    [
        [],
        [1.0],
        [math.nan],
        [1.0] * 40,
        list(range(1, 41)),
        # The minimum is within the first window.
        [3.0, 2.0, *range(3, 41)],
    ],
)
def test_there_is_no_suggestion_without_a_fall(losses):
    assert steepest(RATES[: len(losses)], losses) is None


def test_a_loss_that_never_falls_is_said():
    with pytest.warns(UserWarning, match=r"never fell between the learning rates 1e-06 and 1, .* try another range"):
        finder = told(range(1, 11))
    assert finder.suggestion is None


@pytest.mark.slow
def test_the_limit_of_stability_of_gradient_descent():
    # The loss of w is Σ λ_k w_k² / 2 with λ = (4, 0.25): stable up to η = 2 / 4.
    x = np.array([[2, 0], [-2, 0], [0, 0.5], [0, -0.5]], "float32")
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(9.0))]
    )
    model.compile(SGD(), "mse", jit_compile=False)
    finder = LearningRateFinder(lowest=1e-3, highest=100.0, num_steps=60)
    model.fit(x, np.zeros((4, 1)), epochs=60, verbose=0, callbacks=[finder])
    rates, losses = np.array(finder.learning_rates), np.array(finder.losses)
    # The step at rates[i] leads from losses[i] to losses[i + 1].
    assert np.all(np.diff(losses)[rates[:-1] < 0.5] < 0)
    assert 0.5 < rates[-1] < 100
    assert losses[-1] > losses[0]
    assert 0.01 < finder.suggestion < 0.5
    # It helps: ten steps at the suggestion do more than ten at a tenth of it.
    assert after_ten_steps(model, x, finder.suggestion) < after_ten_steps(model, x, finder.suggestion / 10)
    assert after_ten_steps(model, x, 0.55) > after_ten_steps(model, x, 0.45)


def after_ten_steps(model, x, rate):
    start = model.get_weights()
    model.optimizer.learning_rate = rate
    model.fit(x, np.zeros((4, 1)), epochs=10, verbose=0)
    loss = model.evaluate(x, np.zeros((4, 1)), verbose=0)
    model.set_weights(start)
    return loss


# === What it leaves ===


def small(optimizer):
    """A model with batch normalization, dropout and two metrics."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(8, "relu", kernel_initializer=keras.initializers.HeNormal(0)),
            layers.BatchNormalization(),
            layers.Dropout(0.3, seed=1),
            layers.Dense(1, dtype="float32", kernel_initializer=keras.initializers.HeNormal(2)),
        ]
    )
    model.compile(optimizer, "mse", metrics=["mae"], jit_compile=False)
    return model


def of_kphys():
    return mlp_regressor(3, hidden_units=8, dropout=0.2, batch_normalization=True, seed=0)


MODELS = {
    "momentum": lambda: small(SGD(0.01, momentum=0.9)),
    "adam": lambda: small(keras.optimizers.Adam(0.01)),
    "averages of weights": lambda: small(SGD(0.01, use_ema=True)),
    "accumulated gradients": lambda: small(SGD(0.01, gradient_accumulation_steps=3)),
    "float16": lambda: small(keras.optimizers.Adam(0.01)),
    "kphys": of_kphys,
}


@pytest.fixture(params=MODELS)
def build(request):
    """Gives a function that makes the same model each time."""
    policy = keras.mixed_precision.dtype_policy()
    if request.param == "float16":
        keras.mixed_precision.set_dtype_policy("mixed_float16")
    yield MODELS[request.param]
    keras.mixed_precision.set_dtype_policy(policy)


@pytest.mark.slow
@pytest.mark.parametrize("trained_before", [False, True])
def test_everything_is_put_back_to_the_last_bit(build, trained_before):
    tested, plain = build(), build()
    for model in (tested, plain):
        if trained_before:
            fit(model)
        elif not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
    before = state(tested)
    watch = Watch(state)
    # Up to rates at which everything moves, and gradients overflow in half precision.
    fit(tested, watch, LearningRateFinder(highest=1e6, num_steps=20), epochs=2)
    moved = [len({values.tobytes() for values in history}) > 1 for history in zip(*watch.seen, strict=True)]
    assert np.mean(moved) > 0.8
    assert same(state(tested), before)
    # And training goes on as if there had been no range test.
    first, second = (fit(model, epochs=2).history for model in (tested, plain))
    assert first == second
    assert same(state(tested), state(plain))


def test_an_optimizer_starts_from_nothing_as_it_would_have():
    tested, plain = (small(keras.optimizers.Adam(0.01)) for _ in range(2))
    fit(tested, LearningRateFinder(highest=10.0, num_steps=10))
    for model in (tested, plain):
        fit(model)
    assert same(state(tested), state(plain))


def test_half_precision_gets_its_loss_scale_back():
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        model = small(keras.optimizers.Adam(0.01))
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    scales = Watch(lambda model: float(model.optimizer.dynamic_scale.numpy()))
    rates = Watch(lambda model: float(model.optimizer.inner_optimizer.learning_rate))
    finder = LearningRateFinder(highest=1e6, num_steps=20)
    fit(model, scales, rates, finder, epochs=2)
    assert scales.seen[-1] < 2**15
    assert float(model.optimizer.dynamic_scale.numpy()) == 2**15
    assert rates.seen == pytest.approx(finder.learning_rates, rel=1e-6)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


def test_metrics_keep_what_they_showed():
    model = small(SGD(0.01))
    # Keras makes those of `compile` in the first batch: they are as new.
    fit(model, LearningRateFinder(num_steps=10))
    assert [float(np.sum(variable)) for variable in model.metrics_variables] == [0.0] * 4
    fit(model)
    model.evaluate(X, Y, verbose=0)
    shown = {name: float(value) for name, value in model.get_metrics_result().items()}
    assert set(shown) == {"loss", "mae"}
    fit(model, LearningRateFinder(num_steps=10))
    assert {name: float(value) for name, value in model.get_metrics_result().items()} == shown


def test_what_is_evaluated_at_its_end_is_the_untouched_model():
    model = linear()
    loss = model.evaluate(X, Y, verbose=0)
    history = fit(model, LearningRateFinder(num_steps=10), validation_data=(X, Y)).history
    assert history["val_loss"] == [loss]
    assert history["loss"] != [loss]


class Breaks(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 7:
            raise RuntimeError("broken")


class PressesCtrlC(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 7:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_puts_everything_back_and_goes_on_to_the_caller():
    model = small(SGD(0.01, momentum=0.9))
    fit(model)
    before, handler = state(model), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(model, LearningRateFinder(num_steps=10), PressesCtrlC())
    assert same(state(model), before)
    assert signal.getsignal(signal.SIGINT) == handler


def test_a_range_test_that_broke_off_can_be_put_back():
    model = small(SGD(0.01, momentum=0.9))
    fit(model)
    before, finder = state(model), LearningRateFinder(num_steps=10)
    with pytest.raises(RuntimeError, match="broken"):
        fit(model, finder, Breaks())
    assert not same(state(model), before)
    for _ in range(2):
        finder.restore()
        assert same(state(model), before)


def test_a_range_test_that_is_over_changes_nothing_more():
    model, finder = linear(), LearningRateFinder(num_steps=10)
    fit(model, finder)
    fit(model)
    trained = state(model)
    finder.restore()
    assert same(state(model), trained)


def test_an_instance_serves_twice():
    finder, runs = LearningRateFinder(lowest=1e-3, highest=0.1, num_steps=12), []
    for _ in range(2):
        fit(linear(), finder)
        runs.append((finder.learning_rates, finder.losses, finder.smoothed_losses, finder.suggestion))
    assert runs[0] == runs[1]
    assert len(runs[0][1]) == 12


# === Other models ===


class TwoOptimizers(keras.Model):
    """Trains matrix and bias of a linear model with an optimizer each."""

    def __init__(self, build=True):
        super().__init__()
        self.dense = keras.layers.Dense(1, kernel_initializer="ones")
        self.dense.build((None, 3))
        self.matrix_optimizer, self.bias_optimizer = keras.optimizers.Adam(0.1), SGD(0.1, momentum=0.9)
        if build:
            self.matrix_optimizer.build([self.dense.kernel])
            self.bias_optimizer.build([self.dense.bias])
        self.compile(SGD(0.1), "mse", run_eagerly=True)

    def call(self, inputs):
        return self.dense(inputs)

    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x))
        matrix, bias = tape.gradient(loss, [self.dense.kernel.value, self.dense.bias.value])
        self.matrix_optimizer.apply([matrix], [self.dense.kernel])
        self.bias_optimizer.apply([bias], [self.dense.bias])
        return {"loss": loss}


def test_all_optimizers_get_the_rate_and_their_state_back():
    model = TwoOptimizers()
    optimizers = (model.matrix_optimizer, model.bias_optimizer)
    fit(model)
    before = state(model, *optimizers)
    watch = Watch(lambda model: [float(optimizer.learning_rate) for optimizer in optimizers])
    finder = LearningRateFinder(num_steps=10)
    fit(model, watch, finder)
    assert np.array(watch.seen) == pytest.approx(np.array([finder.learning_rates] * 2).T, rel=1e-6)
    assert same(state(model, *optimizers), before)


def test_a_model_of_built_parts_needs_no_call():
    finder = LearningRateFinder(num_steps=10)
    fit(TwoOptimizers(), finder)
    assert len(finder.losses) == 10


def test_a_further_optimizer_without_variables_is_refused():
    with pytest.raises(ValueError, match=r"`model.matrix_optimizer` would make its variables .* call its `build`"):
        fit(TwoOptimizers(build=False), LearningRateFinder(num_steps=10))


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_data_of_unknown_length_may_run_out():
    def batches():
        yield from ((X, Y) for _ in range(6))

    model, finder = linear(), LearningRateFinder(num_steps=10)
    before = model.get_weights()
    with pytest.warns(UserWarning, match="ended after 6 of 10 steps"):
        model.fit(batches(), shuffle=False, verbose=0, callbacks=[finder])
    assert len(finder.losses) == 6
    assert same(model.get_weights(), before)


# === The plot ===


def test_the_plot_shows_losses_and_suggestion(tmp_path):
    finder = LearningRateFinder(lowest=1e-4, highest=10.0, num_steps=40)
    fit(linear(), finder, epochs=3)
    figure = finder.plot(tmp_path / "new" / "range.png")
    assert (tmp_path / "new" / "range.png").read_bytes().startswith(b"\x89PNG")
    (panel,) = figure.axes
    assert panel.get_xscale() == "log"
    raw, smoothed, suggestion = panel.get_lines()
    assert list(raw.get_xdata()) == list(smoothed.get_xdata()) == finder.learning_rates
    assert list(raw.get_ydata()) == finder.losses
    assert list(smoothed.get_ydata()) == finder.smoothed_losses
    assert list(suggestion.get_xdata()) == [finder.suggestion] * 2
    # The last value, which ended the test, does not flatten the rest.
    assert panel.get_ylim()[1] < 2 * max(finder.smoothed_losses[:-1]) < finder.losses[-1]
    # A figure of pyplot has a window to manage.
    assert figure.canvas.manager is None


@pytest.mark.parametrize("losses", [[math.nan] * 10, [1.0] * 10])
def test_a_plot_without_a_suggestion(losses):
    assert len(told(losses).plot().axes[0].get_lines()) == 2


def test_before_a_fit_there_is_nothing_to_plot():
    finder = LearningRateFinder()
    assert finder.suggestion is None
    with pytest.raises(RuntimeError, match="nothing to plot yet: pass the LearningRateFinder to `fit`"):
        finder.plot()


# === Bad input ===


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"lowest": 0}, ValueError, "`lowest` must be a positive number, got 0"),
        ({"lowest": -1e-3}, ValueError, "`lowest` must be a positive number, got -0.001"),
        ({"highest": math.inf}, ValueError, "`highest` must be a positive number, got inf"),
        ({"highest": "1"}, TypeError, "`highest` must be a positive number, got '1'"),
        ({"lowest": 0.1, "highest": 0.01}, ValueError, r"`lowest` must be below `highest`, got 0\.1 and 0\.01"),
        ({"lowest": 1, "highest": 1}, ValueError, "`lowest` must be below `highest`, got 1 and 1"),
        ({"num_steps": 9}, ValueError, "`num_steps` must be an integer of at least 10, got 9"),
        ({"num_steps": 10.5}, ValueError, r"`num_steps` must be an integer of at least 10, got 10\.5"),
    ],
)
def test_it_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        LearningRateFinder(**arguments)


@pytest.mark.parametrize(
    ("arguments", "batches", "enough"),
    [({}, 16, 3), ({"epochs": 2}, 32, 3), ({"initial_epoch": 5, "epochs": 6}, 16, 8), ({"batch_size": 64}, 1, 33)],
)
def test_too_few_batches_are_refused_before_training(arguments, batches, enough):
    model, finder = linear(), LearningRateFinder(highest=1e-3, num_steps=33)
    start = model.get_weights()
    with pytest.raises(ValueError, match=rf"fit` has only {batches} batches, .* pass epochs={enough} to `fit`"):
        fit(model, finder, **arguments)
    assert same(model.get_weights(), start)
    fit(model, finder, **{**arguments, "epochs": enough})
    assert len(finder.losses) == 33


def test_a_schedule_is_refused():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    for rate in (schedule, lambda: 0.1):
        with pytest.raises(ValueError, match=r"`model.optimizer` is a schedule, .* compile the model with a number"):
            fit(linear(SGD(rate)), LearningRateFinder(num_steps=10))


def test_several_steps_an_execution_are_refused():
    with pytest.raises(ValueError, match="the model runs 4 in one execution: compile it with steps_per_execution=1"):
        fit(linear(steps_per_execution=4), LearningRateFinder(num_steps=10))


def test_a_model_without_weights_yet_is_refused():
    model = keras.Sequential([keras.layers.Dense(1, name="lazy")])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"lazy would make weights in the first batch, .* call the model once"):
        fit(model, LearningRateFinder(num_steps=10))
    model(X[:1])
    fit(model, LearningRateFinder(highest=0.1, num_steps=10))


def test_a_model_that_logs_no_loss_is_refused_and_put_back():
    model = Told([1.0] * 10, "generator_loss")
    model(X)
    with pytest.raises(ValueError, match="follows 'loss', and the model logs only generator_loss: "):
        model.fit(X, batch_size=1, verbose=0, callbacks=[LearningRateFinder(num_steps=10)])
    assert float(model.scale) == 0
