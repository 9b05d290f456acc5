"""What `fit` refuses before anything is trained, and what it lets through."""

import copy
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from kphys import cnn_classifier, cnn_regressor, mlp_classifier, mlp_regressor, rnn_classifier, rnn_regressor
from kphys.models import _arrays
from kphys.models._arrays import check_arrays
from kphys.models._heads import classifier_head, regressor_head

NAN, INF = float("nan"), float("inf")


def changed(array, place, value, dtype=None):
    array = np.array(array, dtype=dtype)
    array[place] = value
    return array


def sample(shape, targets, number=10):
    """Gives fine inputs and targets: integer labels below `targets`, or real numbers of that shape."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(number, *shape)).astype("float32")
    if isinstance(targets, tuple):
        return x, generator.normal(size=(number, *targets)).astype("float32")
    return x, np.arange(number) % targets


SMALL_IMAGES = {"filters": 2, "hidden_units": 2}
SMALL_CELLS = {"units": 2, "cell": "simple"}
# name: (how it is built, its input shape, its targets)
MODELS = {
    "mlp_classifier": (lambda: mlp_classifier(4, 3, hidden_units=2), (4,), 3),
    "mlp_regressor": (lambda: mlp_regressor(4, 2, hidden_units=2), (4,), (2,)),
    "cnn_classifier": (lambda: cnn_classifier((6, 6, 1), 3, **SMALL_IMAGES), (6, 6, 1), 3),
    "cnn_regressor": (lambda: cnn_regressor((6, 6, 1), 2, **SMALL_IMAGES), (6, 6, 1), (2,)),
    "rnn_classifier": (lambda: rnn_classifier((5, 4), 3, **SMALL_CELLS), (5, 4), 3),
    "rnn_regressor": (lambda: rnn_regressor((None, 4), 2, **SMALL_CELLS), (5, 4), (2,)),
}
CLASSIFIERS, REGRESSORS = ([name for name in MODELS if kind in name] for kind in ("classifier", "regressor"))


@pytest.fixture(scope="module")
def models():
    return {name: build() for name, (build, _, _) in MODELS.items()}


def refuses(model, error, message, *arguments, **named):
    """Holds that `fit` raises `error` with `message`, and that nothing was trained."""
    before = copy.deepcopy(model.get_weights())
    with pytest.raises(error, match=message):
        model.fit(*arguments, verbose=0, **named)
    assert model.optimizer.iterations == 0
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


# === Every builder ===

# name: (how the fine arrays are changed, error, message)
FOR_ALL = {
    "NaN in x": (
        lambda x, y: (changed(x, 3, NAN), y),
        ValueError,
        r"`x` must be finite in float32: \d+ of its \d+ values are NaN or infinite, the first is x\[3, 0.*\] = nan\. "
        "Drop or repair",
    ),
    "infinity in x": (
        lambda x, y: (changed(x, (7, ..., 0), -INF), y),
        ValueError,
        r"`x` .* the first is x\[7, .* = -inf",
    ),
    "beyond float32": (lambda x, y: (changed(x, 2, 1e39, "float64"), y), ValueError, r"`x` .* x\[2, .*\] = 1e\+39"),
    "squares beyond float32": (
        lambda x, y: (changed(x, (4, ..., 0), -1e19), y),
        ValueError,
        r"`x` must lie within ±1e\+15, as squares of larger numbers leave float32: \d+ of its \d+ values do not, "
        r"the first is x\[4, .*\] = -1e\+19\. Change the units",
    ),
    "a mask": (
        lambda x, y: (np.ma.masked_array(x, x == x[2]), y),
        ValueError,
        r"`x` must not have masked values, got \d+ of \d+: .*x\.filled",
    ),
    "a mask over targets": (
        lambda x, y: (x, np.ma.masked_array(y, y == y[2])),
        ValueError,
        r"`y` must not have masked values, got \d+ of \d+",
    ),
    "80 bits": (
        lambda x, y: (x.astype("longdouble"), y),
        TypeError,
        r"`x` must hold .* 64 bits: .*astype\('float64'\)",
    ),
    "fields": (lambda x, y: (np.zeros(10, [("a", "f4")]), y), TypeError, "`x` must hold real numbers, got dtype"),
    "bytes": (lambda x, y: (np.zeros(10, "V4"), y), TypeError, r"`x` must hold real numbers, got dtype \|V4"),
    "nothing": (lambda x, y: (None, y), ValueError, "`x` is missing: give an array of samples, or a data set"),
    "a number": (lambda x, y: (3.0, y), TypeError, r"`x` must be an array or a data set, got 3\.0 \(float\)"),
    "a text": (lambda x, y: ("x.npy", y), TypeError, r"`x` must be an array or a data set, got 'x\.npy' \(str\)"),
    "a set": (lambda x, y: ({1}, y), TypeError, r"`x` must be an array or a data set, got \{1\} \(set\)"),
    "a function": (lambda x, y: (len, y), TypeError, "`x` must be an array or a data set, got <built-in"),
    "no samples": (lambda x, y: (x[:0], y[:0]), ValueError, r"`x` must hold at least one sample, got .* shape \(0, "),
    "lengths": (lambda x, y: (x, y[:7]), ValueError, "`x` and `y` must have the same length, got 10 and 7 samples"),
    "a list": (lambda x, y: (x.tolist(), y), TypeError, r"`x` must be an array, got list: pass np\.asarray\(x\)"),
    "a list of targets": (
        lambda x, y: (x, y.tolist()),
        TypeError,
        r"`y` must be an array, got list: pass np\.asarray\(y\)",
    ),
    "words": (
        lambda x, y: (x.astype(str), y),
        TypeError,
        r"`x` must hold real numbers, got dtype <U\d+: .* x\.astype\('float32'\)",
    ),
    "words as targets": (lambda x, y: (x, y.astype(str)), TypeError, r"`y` must hold real numbers, got dtype <U\d+"),
    "objects": (lambda x, y: (x.astype(object), y), TypeError, "`x` must hold real numbers, got dtype object"),
    "complex": (lambda x, y: (x.astype(complex), y), TypeError, "`x` must hold real numbers, got dtype complex128"),
    "no targets": (
        lambda x, y: (x, None),
        ValueError,
        "`y` is missing: give one target for each of the 10 samples of `x`",
    ),
    "one axis more": (
        lambda x, y: (x[..., None], y),
        ValueError,
        r"`x` must have the shape \(samples, .*\), got \(10, ",
    ),
    "one sample": (lambda x, y: (x[0], y[:1]), ValueError, r"`x` must have the shape \(samples, "),
    "other features": (lambda x, y: (np.concatenate([x, x], axis=-1), y), ValueError, r"`x` must have the shape"),
}


@pytest.mark.parametrize("case", FOR_ALL)
@pytest.mark.parametrize("name", MODELS)
def test_fit_refuses(models, name, case):
    _, shape, targets = MODELS[name]
    change, error, message = FOR_ALL[case]
    refuses(models[name], error, message, *change(*sample(shape, targets)))


@pytest.mark.parametrize("name", MODELS)
def test_fit_refuses_bad_weights_and_bad_validation_data(models, name):
    _, shape, targets = MODELS[name]
    x, y = sample(shape, targets)
    bad, model = changed(x, (4, ..., 1 if shape[-1] > 1 else 0), NAN), models[name]
    weight = changed(np.ones(10), [2, 5], [NAN, INF])
    finite = r"`sample_weight` must be finite .*: 2 of its 10 values .* sample_weight\[2\] = nan"
    refuses(model, ValueError, finite, x, y, sample_weight=weight)
    refuses(model, ValueError, "`x` and `sample_weight` .* got 10 and 3", x, y, sample_weight=np.ones(3))
    validation = r"`validation_data\[0\]` must be finite .* the first is validation_data\[0\]\[4, .*\] = nan"
    refuses(model, ValueError, validation, x, y, validation_data=(bad, y))
    both = r"`validation_data\[0\]` and `validation_data\[1\]` must have the same length, got 10 and 9"
    refuses(model, ValueError, both, x, y, validation_data=(x, y[:9]))
    third = r"`validation_data\[2\]` must be finite .*: 2 of its 10"
    refuses(model, ValueError, third, x, y, validation_data=(x, y, weight))


# === Targets ===

LABELS = {
    "too high": (
        lambda y: changed(y, 1, 7),
        r"`num_classes` is 3, but the labels `y` hold class 7: .* 0 to 2, .*num_classes=8",
    ),
    "from one": (lambda y: y + 1, "`num_classes` is 3, but the labels `y` hold class 3: .* or pass num_classes=4"),
    "negative": (lambda y: y - 1, r"`num_classes` is 3, but the labels `y` hold class -1: relabel them 0 to 2\.$"),
    "one-hot": (
        lambda y: np.eye(3)[y],
        r"`y` must hold integer labels .* got \(10, 3\), which looks one-hot: pass y\.argmax",
    ),
    "halves": (lambda y: changed(y, 6, 0.5, float), r"`y` must hold integer labels, got 0\.5 at y\[6\]: .* regressor"),
    "NaN": (lambda y: changed(y, 6, NAN, float), r"`y` must be finite .*: 1 of its 10 .* y\[6\] = nan"),
    "two columns": (
        lambda y: np.stack([y, y], axis=1),
        r"`y` must hold one integer label each, shape \(10,\), got \(10, 2\)",
    ),
}


@pytest.mark.parametrize("case", LABELS)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_refuses_labels(models, name, case):
    change, message = LABELS[case]
    x, y = sample(*MODELS[name][1:])
    refuses(models[name], ValueError, message, x, change(y))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_refuses_labels_to_validate_with(models, name):
    x, y = sample(*MODELS[name][1:])
    message = r"`num_classes` is 3, but the labels `validation_data\[1\]` hold class 7"
    refuses(models[name], ValueError, message, x, y, validation_data=(x, changed(y, 1, 7)))


REALS = {
    "NaN": (lambda y: changed(y, (2, 1), NAN), r"`y` must be finite .*: 1 of its 20 values .* y\[2, 1\] = nan"),
    "beyond float32": (
        lambda y: changed(y, (9, 0), -1e300, float),
        r"`y` must be finite in float32: .* y\[9, 0\] = -1e\+300",
    ),
    "wider": (
        lambda y: np.concatenate([y, y], axis=1),
        r"`y` must have the shape \(10, 2\), got \(10, 4\): .*num_outputs=4",
    ),
    "one column": (lambda y: y[:, 0], r"`y` must have the shape \(10, 2\), got \(10,\)\."),
}


@pytest.mark.parametrize("case", REALS)
@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_refuses_targets(models, name, case):
    change, message = REALS[case]
    x, y = sample(*MODELS[name][1:])
    refuses(models[name], ValueError, message, x, change(y))


INDICATORS = {
    "integers": (
        np.arange(10) % 3,
        r"`y` must hold 0 or 1 for each label, shape \(10, 3\), got \(10,\): .*np\.eye\(3\)\[y\.reshape\(\(10,\)\)\]",
    ),
    "a column": (
        (np.arange(10) % 3)[:, None],
        r"got \(10, 1\): .*np\.eye\(3\)\[y\.reshape.* without multilabel",
    ),
    "twos": (np.full((10, 3), 2), r"`y` must hold 0 or 1 for each label, got 2 at y\[0, 0\]"),
    "signs": (changed(np.zeros((10, 3)), (4, 2), -1), r"`y` must hold 0 or 1 for each label, got -1\.0 at y\[4, 2\]"),
    "too few": (np.zeros((10, 2)), r"shape \(10, 3\), got \(10, 2\)"),
}


@pytest.mark.parametrize("case", INDICATORS)
def test_several_labels_are_indicators(case):
    y, message = INDICATORS[case]
    model = mlp_classifier(4, 3, hidden_units=2, multilabel=True)
    refuses(model, ValueError, message, sample((4,), 3)[0], y)


def test_two_classes_are_zero_and_one():
    model = mlp_classifier(4, 2, hidden_units=2)
    x, y = sample((4,), 2)
    refuses(
        model, ValueError, "`num_classes` is 2, but the labels `y` hold class -1: relabel them 0 to 1", x, 2 * y - 1
    )
    refuses(model, ValueError, "`y` must hold integer labels .* looks one-hot", x, np.eye(2)[y])


def test_a_channel_axis_left_out_is_asked_for(models):
    x, y = sample((6, 6), 3)
    refuses(
        models["cnn_classifier"],
        ValueError,
        r"`x` must have the shape \(samples, 6, 6, 1\), got \(10, 6, 6\): .*x\[\.\.\., None\]",
        x,
        y,
    )
    validation = r"`validation_data\[0\]` .* add the last axis with validation_data\[0\]\[\.\.\., None\]"
    refuses(models["cnn_classifier"], ValueError, validation, x[..., None], y, validation_data=(x, y))


def test_one_sample_without_its_axis_is_told_so(models):
    refuses(
        models["cnn_classifier"],
        ValueError,
        r"one sample needs a batch axis, x\[None\]",
        np.zeros((6, 6, 1)),
        np.zeros(1),
    )


# === The check itself, without a model ===


def fine(head, shape, x, y, weight=None):
    check_arrays(head, shape, x, y, weight)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64"])
def test_every_kind_of_real_number_is_taken(dtype):
    x, y = sample((4,), 2)
    fine(classifier_head(2), (4,), x.astype(dtype), y.astype(dtype), np.ones(10, dtype))
    fine(classifier_head(2), (4,), tf.constant(x), tf.constant(y))
    fine(classifier_head(2), (4,), x, y[:, None])


def test_steps_have_targets_of_their_own():
    x = np.zeros((10, 5, 4), "float32")
    labels, open_shape = np.ones((10, 5), int), (None, 4)
    for y in (labels, labels[..., None]):
        fine(classifier_head(3, sequences=True), open_shape, x, y)
    with pytest.raises(ValueError, match=r"`y` must hold one integer label each, shape \(10, 5\), got \(10,\)"):
        fine(classifier_head(3, sequences=True), open_shape, x, labels[:, 0])
    fine(regressor_head(2, "mse", 1.0, None, sequences=True), open_shape, x, np.zeros((10, 5, 2)))
    with pytest.raises(ValueError, match=r"`y` must have the shape \(10, 5, 2\), got \(10, 2\)"):
        fine(regressor_head(2, "mse", 1.0, None, sequences=True), open_shape, x, np.zeros((10, 2)))
    with pytest.raises(ValueError, match=r"class 9: .*num_classes=10"):
        fine(classifier_head(3, sequences=True), open_shape, x, changed(labels, (3, 4), 9))


def test_weights_are_one_a_sample_or_one_a_step():
    x, y, head = np.zeros((10, 4)), np.ones(10, int), classifier_head(3)
    fine(head, (4,), x, y, np.ones((10, 1)))
    message = r"`sample_weight` must hold one weight for every sample, shape \(10,\), got \(10, 3\)\."
    with pytest.raises(ValueError, match=message):
        fine(head, (4,), x, y, np.ones((10, 3)))
    x, y, head = np.zeros((10, 5, 4)), np.ones((10, 5), int), classifier_head(3, sequences=True)
    fine(head, (None, 4), x, y, np.ones((10, 5)))
    message = r"every time step, shape \(10, 5\), got \(10,\): .*np\.repeat\(sample_weight\[:, None\], 5, axis=1\)"
    with pytest.raises(ValueError, match=message):
        fine(head, (None, 4), x, y, np.ones(10))


def test_soft_indicators_and_negative_weights_are_physics():
    x = np.zeros((10, 4))
    fine(classifier_head(3, multilabel=True), (4,), x, np.full((10, 3), 0.25), -np.ones(10))
    fine(classifier_head(1, multilabel=True), (4,), x, np.ones(10))


def test_one_feature_needs_no_axis():
    fine(regressor_head(1, "mse", 1.0, None), (1,), np.zeros(10), np.zeros(10))
    fine(regressor_head(1, "mse", 1.0, None), (1,), np.zeros((10, 1)), np.zeros((10, 1)))


@pytest.mark.parametrize("elements", [1, 7, 40, 41, 4_194_304])
def test_the_message_is_the_same_in_pieces(elements, monkeypatch):
    monkeypatch.setattr(_arrays, "_ELEMENTS_AT_ONCE", elements)
    x = changed(np.zeros((100, 4)), ([13, 13, 57, 99], [2, 3, 0, 3]), [NAN, INF, 1e39, -INF])
    expected = "`x` must be finite in float32: 4 of its 400 values are NaN or infinite, the first is x[13, 2] = nan. "
    with pytest.raises(ValueError, match=re.escape(expected)):
        fine(regressor_head(1, "mse", 1.0, None), (4,), x, np.zeros(100))


def test_integers_are_not_copied_to_look_for_nan(monkeypatch):
    monkeypatch.setattr(_arrays.np, "isfinite", lambda array: pytest.fail("looked for NaN among integers"))
    fine(classifier_head(3), (4,), np.zeros((10, 4), "uint8"), np.ones(10, int))


# === What is let through ===


@pytest.fixture
def trained(monkeypatch):
    """A small model, and the list of what reached Keras' own `fit`."""
    reached = []

    def keras_fit(self, x=None, y=None, sample_weight=None, validation_data=None, verbose=None, callbacks=None):
        reached.append(x)

    monkeypatch.setattr(keras.Model, "fit", keras_fit)
    return lambda **arguments: mlp_classifier(4, 3, hidden_units=2, **arguments), reached


def test_the_check_can_be_turned_off(trained):
    build, reached = trained
    x, y = sample((4,), 3)
    with pytest.raises(ValueError, match="class 7"):
        build().fit(x, changed(y, 0, 7))
    assert reached == []
    build(check_data=False).fit(x, changed(y, 0, 7))
    assert len(reached) == 1


def test_data_sets_and_generators_are_not_read(trained):
    build, reached = trained
    x, y = sample((4,), 3)

    def batches():
        yield pytest.fail("read the generator")

    class Sequence(keras.utils.PyDataset):
        def __getitem__(self, index):
            pytest.fail("read the sequence")

        def __len__(self):
            return 2

    data_set = tf.data.Dataset.from_tensor_slices((changed(x, 0, NAN), y + 5)).batch(5)
    for data in (data_set, batches(), Sequence()):
        build().fit(data)
        assert reached.pop() is data
        build().fit(x, y, validation_data=data)
        reached.pop()


def test_another_loss_may_take_other_targets_but_no_nan(trained):
    build, reached = trained
    x, y = sample((4,), 3)
    model = build()
    model.compile("adam", "categorical_crossentropy")
    model.fit(x, np.eye(3)[y])
    assert len(reached) == 1
    with pytest.raises(ValueError, match="`y` must be finite"):
        model.fit(x, changed(np.eye(3)[y], 0, NAN))
    with pytest.raises(ValueError, match="`x` must be finite"):
        model.fit(changed(x, 0, NAN), np.eye(3)[y])
    assert len(reached) == 1


def test_the_check_takes_arguments_in_their_places(trained):
    build, reached = trained
    x, y = sample((4,), 3)
    build().fit(x, y)
    with pytest.raises(ValueError, match="class 7"):
        build().fit(x, y=changed(y, 0, 7))
    assert len(reached) == 1


def test_a_list_of_the_one_input_is_unpacked(trained):
    build, reached = trained
    x, y = sample((4,), 3)
    model = build()
    model.fit([x], y)
    assert reached[0] is x
    x, y = sample((4,), 3)
    model.jit_compile = False
    model.evaluate([x], y, verbose=0)


def test_a_list_of_the_one_input_to_validate_with_is_unpacked():
    x, y = sample((4,), 3)
    model = mlp_classifier(4, 3, hidden_units=2)
    model.jit_compile = False
    # Keras would warn, and warnings are errors here.
    assert "val_loss" in model.fit([x], y, validation_data=([x], y), verbose=0).history


def test_a_mask_that_covers_nothing_hides_nothing():
    x, y = sample((4,), 2)
    fine(classifier_head(2), (4,), np.ma.masked_array(x), np.ma.masked_array(y, np.zeros(10, bool)))


def test_a_table_of_another_library_is_an_array(trained):
    class Table:
        """What has a shape, a length and an array inside, as a pandas DataFrame does."""

        def __init__(self, values):
            self.values = values
            self.shape = values.shape

        def __len__(self):
            return len(self.values)

        def __array__(self, dtype=None, copy=None):
            return np.asarray(self.values, dtype)

    build, reached = trained
    x, y = sample((4,), 3)
    build().fit(Table(x), y)
    assert len(reached) == 1
    with pytest.raises(ValueError, match=r"x\[3, 0\] = nan"):
        build().fit(Table(changed(x, 3, NAN)), y)
