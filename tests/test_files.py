"""Files that `kphys.load_model` refuses in one clear sentence, and what it gives back of those that it takes."""

import io
import json
import os
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest
from agent_worlds import Line
from contract_table import ROWS, WORDS
from new_process import run_python

import kphys

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
SMALL = {"hidden_units": 3, "seed": 0}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The file of a small model."""
    path = tmp_path_factory.mktemp("good") / "good.keras"
    kphys.mlp_classifier(4, 3, **SMALL).save(path)
    return path


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.keras"


def parts(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, contents, **settings):
    with zipfile.ZipFile(path, "w", **settings) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def edited(good, file, change):
    """Writes the good file with its configuration changed."""
    contents = parts(good)
    config = json.loads(contents[CONFIG])
    change(config)
    write(file, {**contents, CONFIG: json.dumps(config)})


def layer(config, name):
    return next(layer for layer in config["config"]["layers"] if layer["name"] == name)


def refused(path, *words):
    """Gives the sentence with which a file is refused: one, which names the argument, the file and these words."""
    with pytest.raises(ValueError, match="`path` ") as raised:
        kphys.load_model(path)
    text = str(raised.value)
    assert repr(str(path)) in text
    assert text.endswith(".")
    assert "\n" not in text
    for word in words:
        assert word in text, text
    return raised.value


# === Files that are no models, or not whole ones ===


def test_what_is_not_there_is_refused(tmp_path):
    refused(tmp_path / "none.keras", "there is no such file; look for a wrong folder or ending")
    refused(tmp_path, "it is a folder; give a file in it")
    with pytest.raises(TypeError, match=r"`path` must be a path such as 'model\.keras', got 3"):
        kphys.load_model(3)
    with pytest.raises(ValueError, match="`path` must be a path in a file system"):
        kphys.load_model("hf://somebody/model")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_anywhere_is_refused(good, file, share):
    content = good.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    error = refused(file, "it ends early, or is no .keras file at all; copy it again")
    assert error.__cause__ is not None


def test_a_damaged_byte_is_found(good, file):
    content = bytearray(good.read_bytes())
    weights = keras.saving.load_model(good).get_weights()[0]
    place = content.index(weights.tobytes())
    content[place + 2] ^= 0xFF
    file.write_bytes(content)
    refused(file, f"its {WEIGHTS!r} is damaged; copy it again, or take an earlier one")


@pytest.mark.parametrize("seed", range(3))
def test_whatever_has_become_of_a_file_it_is_loaded_or_refused(good, file, seed):
    """Bytes changed in the archive, and in configuration and weights under checksums that are right."""
    generator, contents = np.random.default_rng(seed), parts(good)
    for _ in range(8):
        for name in ("the archive", CONFIG, WEIGHTS):
            content = bytearray(good.read_bytes() if name == "the archive" else contents[name])
            for place in generator.integers(len(content), size=3):
                content[place] = generator.integers(256)
            if name == "the archive":
                file.write_bytes(content)
            else:
                write(file, {**contents, name: bytes(content)})
            try:
                kphys.load_model(file)
            except ValueError as error:
                assert str(error).startswith("`path` '")  # noqa: PT017 - Either will do.


OTHERS = {
    "text": (b"hello", "no .keras file at all"),
    "empty": (b"", "no .keras file at all"),
    "noise": (bytes(range(256)) * 40, "no .keras file at all"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "it is an HDF5 file"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_another_kind_of_file_is_refused(file, kind):
    content, words = OTHERS[kind]
    file.write_bytes(content)
    refused(file, words)


def test_another_ending_is_refused(good, tmp_path):
    path = tmp_path / "model.zip"
    path.write_bytes(good.read_bytes())
    refused(path, "its name does not end in .keras; rename it")


def test_a_legacy_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "model.h5", "w") as old:
        old.attrs["model_config"] = "{}"
    refused(tmp_path / "model.h5", "it is an HDF5 file; of a whole model save a .keras file")


def test_another_zip_is_refused(good, file):
    write(file, {"data.csv": "1,2"})
    refused(file, "it is a zip archive without config.json; give a file that model.save has written")
    contents = parts(good)
    write(file, {name: contents[name] for name in contents if name != WEIGHTS})
    refused(file, "it is a zip archive without model.weights.h5")


@pytest.mark.parametrize(
    "config", ["", "{", "[]", "{}", "3", '"x"', '{"class_name": "Dense", "config": 3}', "[" * 9999]
)
def test_a_configuration_that_is_none_is_refused(good, file, config):
    write(file, {**parts(good), CONFIG: config})
    refused(file, f"its {CONFIG} ", "damaged" if config in ("", "{", "[" * 9999) else "describes no model")


def test_weights_that_are_cut_inside_the_archive_are_refused(good, file):
    contents = parts(good)
    for length in (0, 100, len(contents[WEIGHTS]) // 2):
        write(file, {**contents, WEIGHTS: contents[WEIGHTS][:length]})
        refused(file)


def test_weights_of_another_model_are_refused(good, file):
    kphys.mlp_classifier(4, 3, hidden_units=5).save(file)
    write(file, {**parts(good), WEIGHTS: parts(file)[WEIGHTS]})
    error = refused(file, "Keras cannot make a model of it (", "; copy it again, or take an earlier one")
    assert error.__cause__ is not None


def test_what_grows_a_hundredfold_and_what_lies_outside_is_refused(good, file, monkeypatch):
    write(file, {**parts(good), "../evil": "x"})
    refused(file, "'../evil' lies outside of it")
    monkeypatch.setattr("kphys.files._MEMBER_TO_WATCH", 1_000)
    write(file, {**parts(good), "assets/zeros": bytes(10**6)}, compression=zipfile.ZIP_DEFLATED)
    refused(file, "its 'assets/zeros' would grow a hundredfold")


# === Files with code in them ===


def without_numbers(value):
    """A configuration without the addresses of objects, which Keras writes into it."""
    if isinstance(value, dict):
        return {key: without_numbers(part) for key, part in value.items() if key != "shared_object_id"}
    return [without_numbers(part) for part in value] if isinstance(value, list) else value


def replaced(**entry):
    """A configuration whose hidden layer is this instead."""

    def change(config):
        layer(config, "hidden_1").update(entry)

    return change


def setting(name, key, value):
    def change(config):
        layer(config, name)["config"][key] = value

    return change


def compiled_with(key, value):
    def change(config):
        config["compile_config"][key] = value

    return change


COMMAND = {"class_name": "function", "config": "system", "module": "os", "registered_name": "system"}
FOREIGN = {
    "a function": (replaced(class_name="system", module="os", registered_name=None), "'os.system'"),
    "a class": (replaced(class_name="Popen", module="subprocess", registered_name="Popen"), "'subprocess.Popen'"),
    "an unknown class": (replaced(class_name="Mine", module="mine", registered_name="mine>Mine"), "'mine.Mine'"),
    "a hidden class": (replaced(class_name="Mine", module=None, registered_name="mine>Mine"), "'mine>Mine'"),
    "a stock name": (replaced(class_name="Dense", module="os.path", registered_name="Dense"), "'os.path.Dense'"),
    "an activation": (setting("hidden_1_relu", "activation", COMMAND), "'os.system'"),
    "an initializer": (setting("hidden_1", "kernel_initializer", COMMAND), "'os.system'"),
    "a loss": (compiled_with("loss", COMMAND), "'os.system'"),
    "an optimizer": (compiled_with("optimizer", COMMAND), "'os.system'"),
    "the model": (lambda config: config.update(module="os", class_name="system"), "'os.system'"),
    "a loader": (
        replaced(class_name="function", config="get_file", module="keras.utils", registered_name="get_file"),
        "'keras.utils.get_file'",
    ),
    "a hidden loader": (
        replaced(class_name="function", config="get_file", module="keras.src.utils.file_utils", registered_name=None),
        "'keras.src.utils.file_utils.get_file'",
    ),
    "the mark": (lambda config: config["config"]["kphys"].update(weighted_metrics=[COMMAND]), "'os.system'"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_nobody_has_registered_is_refused(good, file, case, monkeypatch):
    change, named = FOREIGN[case]
    called = []
    monkeypatch.setattr("os.system", called.append)
    edited(good, file, change)
    refused(file, f"it names {named}, which is no registered class; import the module that registers it")
    assert called == []


def test_a_built_in_under_a_false_name_is_refused(good, file):
    edited(good, file, replaced(registered_name="kphys>NoSuchLayer"))
    refused(file, "Keras cannot make a model of it (")


def test_a_damaged_setting_is_refused_with_what_keras_says(good, file):
    edited(good, file, setting("hidden_1", "units", -3))
    error = refused(file, "Keras cannot make a model of it (", "units")
    assert error.__cause__ is not None
    edited(good, file, lambda config: config["config"]["kphys"].update(task="nonsense"))
    refused(file, "`task` must be one of 'binary'")


def test_a_lambda_is_refused_and_not_run(file, monkeypatch):
    inputs = keras.Input((4,))
    code = keras.layers.Lambda(lambda x: [x, __import__("os").environ.update(KPHYS_CANARY="1")][0])(inputs)
    monkeypatch.delenv("KPHYS_CANARY")
    keras.Model(inputs, code).save(file)
    refused(file, "it holds a Lambda, which may run any code", "registered with keras.saving", "safe_mode=False")
    assert "KPHYS_CANARY" not in os.environ


def test_a_lambda_is_found_wherever_it_is(good, file):
    code = {"class_name": "__lambda__", "config": {"value": "4wAAAAA="}}
    for change in (
        setting("hidden_1_relu", "activation", code),
        compiled_with("loss", code),
        replaced(class_name="Lambda", module=None),
        setting("hidden_1", "kernel_regularizer", {"class_name": "X", "module": "keras.layers", "config": [code]}),
        lambda config: config.update(build_config={"input_shape": [code]}),
    ):
        edited(good, file, change)
        refused(file, "it holds a ", "ambda, which may run any code")


@pytest.mark.parametrize("name", ["TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"])
def test_layers_that_run_other_programs_are_refused(good, file, name):
    edited(good, file, replaced(class_name=name, module="keras.layers", config={"filepath": "/elsewhere"}))
    refused(file, f"it holds a {name}, which may run any code")


def test_a_vocabulary_in_another_file_is_not_read(tmp_path, file):
    (tmp_path / "secret.txt").write_text("one\ntwo\n")
    model = kphys.text_classifier(keras.layers.TextVectorization(vocabulary=list(WORDS), name="words"), 2, units=2)
    model.save(tmp_path / "fine.keras")
    edited(tmp_path / "fine.keras", file, setting("words", "vocabulary", str(tmp_path / "secret.txt")))
    refused(file, "its TextVectorization reads the vocabulary from another file")


@pytest.mark.parametrize("link", ["external link", "soft link", "external data", "virtual data"])
def test_weights_in_another_file_are_not_read(good, file, tmp_path, link):
    contents = parts(good)
    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["values"] = np.zeros((4, 3), "float32")
    (tmp_path / "secret.bin").write_bytes(bytes(48))
    stream = io.BytesIO(contents[WEIGHTS])
    with h5py.File(stream, "r+") as weights:
        places = []
        weights.visititems(lambda name, item: places.append(name) if getattr(item, "shape", None) == (4, 3) else None)
        place = places[0]
        del weights[place]
        if link == "external link":
            weights[place] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "values")
        elif link == "soft link":
            weights[place] = h5py.SoftLink("/elsewhere")
        elif link == "external data":
            weights.create_dataset(place, (4, 3), "f4", external=[(str(tmp_path / "secret.bin"), 0, 48)])
        else:
            layout = h5py.VirtualLayout((4, 3), "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "values", shape=(4, 3))
            weights.create_virtual_dataset(place, layout)
    write(file, {**contents, WEIGHTS: stream.getvalue()})
    refused(file, "are a link to elsewhere; model.save does not write that, so ask who did")


def test_a_class_of_ones_own_is_loaded_once_it_is_registered(good, file):
    @keras.saving.register_keras_serializable("test_files")
    class Twice(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    inputs = keras.Input((4,))
    keras.Model(inputs, Twice()(inputs)).save(file)
    assert np.array_equal(kphys.load_model(file)(np.ones((1, 4))), 2 * np.ones((1, 4)))
    del keras.saving.get_custom_objects()["test_files>Twice"]
    refused(file, "Twice', which is no registered class; import the module")


# === What is loaded ===


def step_by_step(model):
    """The same model without XLA, whose compilation takes seconds."""
    model.jit_compile = False
    return model


def data(row):
    return ROWS[row].data()


@pytest.mark.cases(3)
@pytest.mark.parametrize(
    "name",
    [
        "mlp_classifier[dropout]",
        "mlp_regressor[huber]",
        "mlp_regressor[gaussian_nll-normalized]",
        "cnn_classifier[periodic]",
        "rnn_classifier[masked-sequences]",
        "text_classifier[binary]",
    ],
)
def test_a_stock_model_comes_back_as_its_builder_gave_it(name, file):
    row = ROWS[name]
    model = step_by_step(row.build())
    row.fit(model)
    model.save(file)
    loaded = step_by_step(kphys.load_model(file))
    assert type(loaded) is type(model)
    assert loaded.steps_per_execution == model.steps_per_execution == 32
    assert loaded.get_config()["kphys"] == model.get_config()["kphys"]
    assert loaded.get_compile_config() == model.get_compile_config()
    # It goes on as if it had not stopped, dropout included, with the same logs.
    histories = [row.fit(each, epochs=2).history for each in (model, loaded)]
    assert list(histories[0]) == list(histories[1])
    for log, values in histories[0].items():
        np.testing.assert_allclose(histories[1][log], values, rtol=1e-6, err_msg=log)
    with pytest.raises((ValueError, TypeError), match="`x` must"):
        loaded.fit(row.inputs()[:0], verbose=0)


@pytest.mark.parametrize(
    "name", ["autoencoder[noise]", "vae[beta]", "dcgan[replay]", "char_rnn[dropout]", "seq2seq[gru]"]
)
def test_a_model_of_a_class_comes_back_with_as_many_batches_a_call(name, file):
    model = ROWS[name].build()
    model.save(file)
    loaded = kphys.load_model(file)
    assert loaded.steps_per_execution == model.steps_per_execution == 32
    assert loaded.jit_compile == model.jit_compile
    model.steps_per_execution = 5
    model.save(file)
    assert keras.saving.load_model(file).steps_per_execution == 5


@pytest.mark.parametrize("name", ["mlp_classifier[dropout]", "vae[beta]"])
def test_a_file_that_a_callback_on_batches_writes_holds_as_many_batches_a_call(name, file):
    # Such a callback has `fit` take one batch a call; that is not what the next process shall do.
    row = ROWS[name]
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: model.save(file))
    model = row.build(xla=False)
    row.fit(model, callbacks=[callback])
    assert kphys.load_model(file).steps_per_execution == model.steps_per_execution == 32


def test_metrics_that_keras_leaves_out_come_back(file):
    model = step_by_step(kphys.mlp_classifier(4, 3, **SMALL))
    model.save(file)
    x, y = data("mlp_classifier[multiclass]")
    evaluated = [
        step_by_step(each).evaluate(x, y, verbose=0, return_dict=True)
        for each in (model, kphys.load_model(file), keras.saving.load_model(file))
    ]
    assert evaluated[0] == evaluated[1]
    assert sorted(evaluated[0].keys() - evaluated[2].keys()) == ["auc"]


def test_what_the_user_has_chosen_stays(file):
    model = kphys.mlp_classifier(4, 3, check_data=False, **SMALL)
    model.compile("sgd", "kl_divergence", metrics=["accuracy"], jit_compile=False)
    model.save(file)
    loaded = kphys.load_model(file)
    assert loaded.get_compile_config() == model.get_compile_config()
    assert loaded.steps_per_execution == 1
    assert not hasattr(loaded, "check_arrays")
    history = loaded.fit(np.zeros((3, 4)), np.eye(3), verbose=0).history
    assert sorted(history) == ["accuracy", "loss"]


def test_without_compiling_it_is_a_plain_model(good):
    loaded = kphys.load_model(good, compile=False)
    assert not loaded.compiled
    assert "fit" not in vars(loaded)


def test_saved_again_it_is_the_same_file(good, file):
    kphys.load_model(good).save(file)
    before, after = (without_numbers(json.loads(parts(path)[CONFIG])) for path in (good, file))
    assert before == after
    with h5py.File(io.BytesIO(parts(good)[WEIGHTS])) as a, h5py.File(io.BytesIO(parts(file)[WEIGHTS])) as b:
        names = []
        a.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        assert names
        assert all(np.array_equal(a[name], b[name]) for name in names)


def test_a_file_loads_where_kphys_is_not_installed(good):
    code = f"""
import sys
sys.modules["kphys"] = None
import keras, numpy as np
model = keras.saving.load_model({str(good)!r})
assert model.predict(np.zeros((2, 4)), verbose=0).shape == (2, 3)
assert keras.models.clone_model(model).count_params() == model.count_params()
"""
    run_python("-c", code)


def test_a_model_with_a_mark_can_be_cloned():
    model = kphys.mlp_classifier(4, 3, **SMALL)
    assert keras.models.clone_model(model).count_params() == model.count_params()
    assert type(model).from_config(model.get_config()).count_params() == model.count_params()


@pytest.mark.parametrize(
    "name", ["autoencoder[tied]", "vae[bernoulli]", "dcgan[replay]", "char_rnn[gru]", "seq2seq[gru]"]
)
def test_classes_of_kphys_come_back(name, file):
    row = ROWS[name]
    model = row.build()
    model.save(file)
    loaded = kphys.load_model(file)
    assert type(loaded) is type(model)
    for before, after in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", ["autoencoder[tied]", "vae[bernoulli]", "dcgan[replay]"])
def test_classes_of_kphys_come_back_with_their_checks(name, file):
    ROWS[name].build().save(file)
    loaded = kphys.load_model(file)
    x = ROWS[name].data()[0].astype("float32")
    x.flat[0] = np.nan
    with pytest.raises(ValueError, match="`x` must be finite"):
        loaded.fit(x, verbose=0)


def test_a_model_that_has_made_no_step_comes_back(file):
    model = kphys.mlp_classifier(4, 3, **SMALL)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save(file)
    x, y = np.zeros((8, 4), "float32"), np.arange(8) % 3
    assert kphys.load_model(file).fit(x, y, verbose=0).epoch == [0]


def test_a_file_whose_optimizer_knows_other_weights_is_refused(file):
    model = kphys.mlp_classifier(4, 3, **SMALL)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(np.zeros((8, 4), "float32"), np.arange(8) % 3, verbose=0)
    model.layers[-1].trainable = False
    model.save(file)
    refused(file, "Keras cannot make a model of it (", "Adam")


def test_word_vectors_come_back(file):
    vectors = kphys.word_vectors(len(WORDS), 2, seed=0)
    vectors.set_vocabulary(WORDS)
    vectors.save(file)
    np.testing.assert_array_equal(kphys.load_model(file)["charm"], vectors["charm"])
    contents = parts(file)
    contents[next(name for name in contents if name.endswith("vocabulary.json"))] = b"{"
    write(file, contents)
    refused(file, "Keras cannot make a model of it (")


@pytest.mark.parametrize("name", ["dqn[double]", "reinforce[value]"])
def test_agents_come_back(name, file):
    agent = step_by_step(ROWS[name].build())
    ROWS[name].fit(agent)
    agent.save(file)
    loaded = kphys.load_model(file)
    assert type(loaded) is type(agent)
    assert loaded.num_steps == agent.num_steps
    assert loaded.evaluate(Line()) == agent.evaluate(Line())
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    refused(file, "it ends early")


def test_no_file_of_the_table_is_warned_of(good):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "__array__ implementation")
        assert kphys.load_model(good).name == "mlp_classifier"
