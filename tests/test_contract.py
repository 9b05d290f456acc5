"""Every builder with every option keeps the house's promises: one table (`contract_table`), one test a promise."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract_kinds import BATCH, Kind
from contract_table import ROWS
from new_process import run_python, saved_arrays

import kphys
from kphys.callbacks import EarlyStopping, GradientClipping, ImageLogger, LearningRateFinder, TrainingRecord

ALL = pytest.mark.parametrize("name", [pytest.param(name) for name in ROWS])
# One row a builder for everybody.
FIRST = {row.builder: name for name, row in reversed(ROWS.items()) if row.every_check}
LONGER = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if FIRST[row.builder] == name else pytest.mark.slow) for name, row in ROWS.items()],
)

# What takes longer: one row for everybody, one a kind of output and of layer with the slow tests.
EVERYBODY = "mlp_classifier[binary]"
SOME = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == EVERYBODY else pytest.mark.slow)
        for name, row in ROWS.items()
        if row.every_check or "dropout" in row.options
    ],
)


def _of(rows: pytest.MarkDecorator, holds: Callable[[Kind], bool]) -> pytest.MarkDecorator:
    """Gives those of `rows` whose kind is such."""
    return pytest.mark.parametrize("name", [row for row in rows.args[1] if holds(ROWS[row.values[0]].kind)])


def _new_process(task: str, folder: Path, names: list[str], **environment: str) -> None:
    run_python(Path(__file__).with_name("contract_process.py"), task, folder, *names, **environment)


def _arrays(folder: Path, name: str) -> list[np.ndarray]:
    return saved_arrays(folder / f"{name}.npz")


def _asked_for(request: pytest.FixtureRequest) -> list[str]:
    """Gives the rows whose tests of this file use the fixture in this session."""
    tests = [item for item in request.session.items if item.path == Path(__file__)]
    names = {item.callspec.params["name"] for item in tests if request.fixturename in item.fixturenames}
    return [name for name in ROWS if name in names]


@pytest.fixture(scope="session")
def models(request: pytest.FixtureRequest) -> dict[str, keras.Model]:
    """The rows, each built once."""
    return {name: ROWS[name].build() for name in _asked_for(request)}


@pytest.fixture(scope="session")
def built_elsewhere(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the rows' weights as another process builds them."""
    folder = tmp_path_factory.mktemp("built")
    _new_process("build", folder, _asked_for(request))
    return folder


@pytest.fixture(scope="session")
def loaded_elsewhere(
    request: pytest.FixtureRequest, models: dict[str, keras.Model], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the rows' files and with what another process, which loads them, predicts."""
    folder, names = tmp_path_factory.mktemp("saved"), _asked_for(request)
    for name in names:
        models[name].save(folder / f"{name}.keras")
    _new_process("load", folder, names)
    return folder


@LONGER
def test_has_the_shape_and_the_number_of_weights(name, models):
    row, model = ROWS[name], models[name]
    assert model.count_params() == row.weights
    assert model.predict(row.inputs(), verbose=0).shape == (BATCH, *row.outputs)


@LONGER
def test_is_keras_own_class_and_compiled(name, models):
    row, model = ROWS[name], models[name]
    if row.kind.model is None:
        assert type(model).__module__.startswith("keras.")
    else:
        assert type(model) is getattr(kphys, row.kind.model)
    assert model.compiled
    assert model.name == row.builder


@LONGER
def test_same_seed_same_weights_also_in_a_new_process(name, models, built_elsewhere):
    first = models[name].get_weights()
    for again in (ROWS[name].build().get_weights(), _arrays(built_elsewhere, name)):
        for a, b in zip(first, again, strict=True):
            np.testing.assert_array_equal(a, b)


@LONGER
def test_another_seed_gives_other_weights(name, models):
    row = ROWS[name]
    pairs = zip(models[name].trainable_weights, row.build(seed=4).trainable_weights, strict=True)
    drawn = [(a.numpy(), b.numpy()) for a, b in pairs if re.search(row.kind.drawn, a.path)]
    assert drawn
    assert all((a != b).any() for a, b in drawn)


@LONGER
def test_loads_in_a_new_process_with_the_same_predictions(name, models, loaded_elsewhere):
    expected = models[name].predict(ROWS[name].inputs(), verbose=0)
    np.testing.assert_allclose(_arrays(loaded_elsewhere, name)[0], expected, rtol=1e-5, atol=1e-6)


@LONGER
def test_a_step_moves_every_weight_and_resuming_equals_going_on(name, tmp_path):
    row = ROWS[name]
    model = row.build()
    start = [weight.numpy() for weight in model.trainable_weights]
    row.step(model)
    for before, weight in zip(start, model.trainable_weights, strict=True):
        assert (before != weight.numpy()).any(), weight.path
    model.save(tmp_path / "model.keras")
    # Keras' own steps of a table of words are others, and those through its batch normalization are rounded otherwise.
    normalizes = any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    as_here = normalizes or row.builder == "text_classifier"
    load_model = kphys.load_model if as_here else keras.models.load_model
    resumed = load_model(tmp_path / "model.keras")
    for a, b in zip(model.optimizer.variables, resumed.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    if "dropout" in row.options and row.kind.model is None:
        return  # Keras does not save the state of its dropout layers: other masks come next.
    for going_on in (model, resumed):
        row.step(going_on)
    for a, b in zip(model.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


THROUGH_XLA = (
    *("mlp_classifier[binary]", "mlp_classifier[multiclass]"),
    *("mlp_regressor[mse]", "mlp_regressor[huber]", "mlp_regressor[gaussian_nll]"),
    *("rnn_classifier[lstm]", "rnn_classifier[gru]", "rnn_regressor[mse]"),
    *("char_rnn[lstm]", "seq2seq[attention]"),
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == EVERYBODY else pytest.mark.slow) for name in THROUGH_XLA]
)
def test_xla_trains_the_same_weights(name):
    row = ROWS[name]
    compiled, plain = (row.build(xla=xla) for xla in (True, False))
    assert compiled.jit_compile
    for model in (compiled, plain):
        row.fit(model, batches=2, epochs=2)
    for a, b in zip(compiled.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


CLIPPING = ("gradient_norm", "gradient_norm_max", "clipped_fraction", "skipped_steps")


@pytest.mark.parametrize(
    ("name", "xla"),
    [
        *(pytest.param(*row.values, False, marks=row.marks) for row in LONGER.args[1]),
        *(pytest.param(name, True, marks=pytest.mark.slow) for name in THROUGH_XLA),
    ],
)
def test_fits_under_tensorboard_and_the_callbacks(name, xla, tmp_path):
    row = ROWS[name]
    model = row.build(xla=xla)
    callbacks = [
        EarlyStopping(row.kind.loss, patience=5, restore_best_weights=True),
        keras.callbacks.TensorBoard(tmp_path, write_graph=False),
        TrainingRecord(tmp_path / "record", seed=3),
    ]
    if row.kind.optimizers:
        callbacks.insert(0, GradientClipping(global_norm=1.0))
    if any(isinstance(layer, keras.layers.Conv2D) for layer in model._flatten_layers()):
        callbacks.append(ImageLogger(tmp_path))
    history = row.fit(model, batches=2, epochs=2, validate=True, callbacks=callbacks).history
    validation = {f"val_{key}" for key in row.kind.logs}
    clipping = {optimizer + key for optimizer in row.kind.optimizers for key in CLIPPING}
    assert set(history) == row.kind.logs | row.kind.training_logs | validation | clipping
    assert all(np.isfinite(values).all() for values in history.values())
    assert list(tmp_path.glob("train/events*"))
    assert list(tmp_path.glob("validation/events*"))
    record = kphys.records.read(tmp_path / "record")
    assert (record.status, record.seed) == ("finished", 3)
    for key, values in history.items():
        np.testing.assert_array_equal(record.history[key], values)


@_of(LONGER, lambda kind: not kind.optimizers)
@pytest.mark.parametrize("callback", [GradientClipping(global_norm=1.0), LearningRateFinder(num_steps=10)])
def test_callbacks_of_gradients_are_refused_where_no_optimizer_takes_them(name, callback):
    row = ROWS[name]
    model = row.build()
    before = model.get_weights()
    with pytest.raises(ValueError, match=f"{type(callback).__name__} works through .* leave the callback out"):
        row.fit(model, epochs=10, callbacks=[callback])
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@_of(SOME, lambda kind: kind.loss == "loss" and kind.optimizers)  # A search follows that one.
@pytest.mark.filterwarnings("ignore:The loss never fell")  # Made-up data, and dropout.
def test_a_search_for_the_learning_rate_leaves_everything_as_it_was(name):
    row = ROWS[name]
    searched, untouched = (row.build(xla=False) for _ in range(2))
    row.fit(searched, epochs=10, callbacks=[LearningRateFinder(num_steps=10)])
    for model in (searched, untouched):
        row.fit(model)
    for a, b in zip(searched.weights, untouched.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6, err_msg=a.path)


class _Killed(keras.callbacks.Callback):
    """Ends training after one epoch, like a batch job at its time limit."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


@SOME
def test_a_killed_fit_goes_on_from_its_backup_as_if_nothing_had_happened(name, tmp_path):
    row = ROWS[name]

    def fit(folder, *callbacks):
        model = row.build(xla=name == EVERYBODY)
        callbacks = [keras.callbacks.BackupAndRestore(tmp_path / folder), *callbacks]
        return model, row.fit(model, epochs=3, callbacks=callbacks)

    with pytest.raises(KeyboardInterrupt):
        fit("killed", _Killed())
    resumed, history = fit("killed")
    uninterrupted, _ = fit("another")
    assert history.epoch == [1, 2]
    for kind in ("weights", "optimizer.variables"):
        for a, b in zip(*(operator.attrgetter(kind)(model) for model in (resumed, uninterrupted)), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6, err_msg=a.path)


@SOME
def test_the_best_checkpoint_is_the_model_of_its_epoch(name, tmp_path):
    row = ROWS[name]
    loss, file = row.kind.loss, tmp_path / "best.keras"
    checkpoint = keras.callbacks.ModelCheckpoint(file, monitor=f"val_{loss}", mode="min", save_best_only=True)
    model = row.build(xla=False)
    losses = row.fit(model, epochs=3, validate=True, callbacks=[checkpoint]).history[f"val_{loss}"]
    loaded = keras.models.load_model(file)
    loaded.jit_compile = False  # As `model`: XLA draws other numbers from the same state.
    best = row.evaluate(loaded)
    assert best[loss] == pytest.approx(min(losses), rel=1e-4)


@_of(SOME, lambda kind: kind.several_devices)
def test_trains_on_two_devices(name, tmp_path):
    # With oneDNN, TensorFlow 2.21 at times frees memory twice under two logical devices and convolutions.
    _new_process("mirror", tmp_path, [name], TF_ENABLE_ONEDNN_OPTS="0")
    loss, *weights = _arrays(tmp_path, name)
    assert np.isfinite(loss).all()
    assert all(np.isfinite(weight).all() for weight in weights)
    row = ROWS[name]
    model = row.build()
    start = model.get_weights()
    row.fit(model, batches=2)
    for alone, together, before in zip(model.get_weights(), weights, start, strict=True):
        if row.stochastic:
            # Each device draws its own masks and normalizes its own part of the batch.
            assert alone.shape == together.shape
        else:
            np.testing.assert_allclose(together - before, alone - before, rtol=2e-3, atol=2e-5)


@_of(ALL, lambda kind: not kind.several_devices)
def test_two_devices_are_refused_where_one_trains(name):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope(), pytest.raises(ValueError, match="train on one device"):
        ROWS[name].build()
