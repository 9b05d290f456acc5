"""The stops of the tour: of networks of numbers and images here, of text in `_text_stops`, agents in `_agent_stops`."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

import kphys
from kphys._agent_stops import AGENT_STOPS
from kphys._figures import draw_images
from kphys._text_stops import TEXT_STOPS
from kphys._tour import Data, Part, Stop, judge_classifier, judge_regressor, mean_and_error
from kphys.datasets import digits, double_pendulum, ising, mackey_glass, recall


def _digits(quick: bool) -> Data:
    return digits.load_data()


def _spins(quick: bool) -> Data:
    return ising.load_data(size=16, num_samples=1500 if quick else 4000)


def _energies(quick: bool) -> Data:
    (x_train, _), (x_test, _) = _spins(quick)
    return (x_train, ising.energy(x_train)[:, None]), (x_test, ising.energy(x_test)[:, None])


def _swings(quick: bool) -> Data:
    return double_pendulum.load_data(num_steps=2000 if quick else 5000, timesteps=5, step=0.05)


def _series(quick: bool) -> Data:
    return mackey_glass.load_data(num_steps=1500 if quick else 4000, timesteps=30, horizon=6)


def _memories(quick: bool) -> Data:
    return recall.load_data(num_samples=2500 if quick else 7500, timesteps=10 if quick else 20)


def _unlabelled(quick: bool) -> Data:
    (x_train, _), (x_test, _) = _digits(quick)
    return (x_train, None), (x_test, None)


def _black_and_white(quick: bool) -> Data:
    return tuple(((x > 0.5).astype("float32"), None) for x, _ in _unlabelled(quick))


def _scale(values: np.ndarray) -> keras.layers.Normalization:
    layer = keras.layers.Normalization()
    layer.adapt(values)
    return layer


def _logistic(data: Data) -> tuple[str, float]:
    from sklearn.linear_model import LogisticRegression

    (x_train, y_train), (x_test, y_test) = data
    model = LogisticRegression(max_iter=1000).fit(x_train.reshape(len(x_train), -1), y_train)
    return "logistic regression", model.score(x_test.reshape(len(x_test), -1), y_test)


def _most_frequent(data: Data) -> tuple[str, float]:
    (_, y_train), (_, y_test) = data
    return "always the most frequent", float(np.mean(y_test == np.bincount(y_train.ravel()).argmax()))


def _mean(data: Data) -> tuple[str, float]:
    (_, y_train), (_, y_test) = data
    return "always the mean", float(np.sqrt(np.mean((y_test - y_train.mean(axis=0)) ** 2)))


def _persistence(data: Data) -> tuple[str, float]:
    _, (x_test, y_test) = data
    last = x_test[:, -1, : y_test.shape[-1]]
    return "as the last value", float(np.sqrt(np.mean((y_test - last) ** 2)))


def _principal_components(data: Data) -> tuple[str, float]:
    from sklearn.decomposition import PCA

    x_train, x_test = (x.reshape(len(x), -1) for x, _ in data)
    components = PCA(8).fit(x_train)
    return "8 principal components", float(
        np.mean((components.inverse_transform(components.transform(x_test)) - x_test) ** 2)
    )


def _independent_pixels(data: Data) -> tuple[str, float]:
    (x_train, _), (x_test, _) = data
    black = (x_train.sum(axis=0) + 1) / (len(x_train) + 2)
    return "independent pixels", -float(np.log(np.where(x_test > 0.5, black, 1 - black)).sum() / len(x_test))


def _entropy_of_labels(data: Data) -> tuple[str, float]:
    (_, labels), _ = digits.load_data()
    shares = np.bincount(labels) / len(labels)
    return "the digits themselves", -float(shares @ np.log(shares))


def _mlp_regressor(data: Data) -> keras.Model:
    (x, y), _ = data
    return kphys.mlp_regressor(
        x.shape[1:],
        y.shape[1],
        hidden_units=(128, 128),
        activation="silu",
        normalization=_scale(x),
        target_normalization=_scale(y),
        seed=0,
    )


def _rnn_regressor(data: Data) -> keras.Model:
    (x, y), _ = data
    scaling = {"normalization": _scale(x), "target_normalization": _scale(y)}
    return kphys.rnn_regressor(x.shape[1:], cell="gru", units=32, learning_rate=5e-3, seed=0, **scaling)


def _rnn_classifier(data: Data) -> keras.Model:
    (x, y), _ = data
    return kphys.rnn_classifier(
        (None, x.shape[-1]), int(y.max()) + 1, units=64, return_sequences=True, learning_rate=1e-2, seed=0
    )


def _dcgan(data: Data) -> keras.Model:
    adams = [keras.optimizers.Adam(1e-3, beta_1=0.5) for _ in range(2)]
    return kphys.dcgan(
        (8, 8, 1),
        20,
        filters=(32, 64),
        kernel_size=3,
        mode_collapse_guard="minibatch_stddev",
        generator_optimizer=adams[0],
        discriminator_optimizer=adams[1],
        seed=0,
    )


def _judge_autoencoder(model: keras.Model, test: Part, picture: Path) -> tuple[float, float]:
    x_test, _ = test
    draw_images([("digits", x_test[:12]), ("from 8 numbers", model.predict(x_test[:12], verbose=0))], picture)
    return mean_and_error(model.anomaly_score(x_test))


def _judge_vae(model: keras.Model, test: Part, picture: Path) -> tuple[float, float]:
    draw_images([("", images) for images in model.latent_grid(12)], picture)
    return mean_and_error(-model.log_likelihood(test[0], seed=0))


def _judge_dcgan(model: keras.Model, test: Part, picture: Path) -> tuple[float, float]:
    draw_images([("digits", test[0][:12]), *(("made up", model.sample(12, seed=row)) for row in (1, 2))], picture)
    data, stop = digits.load_data(), STOPS["mlp_classifier"]
    classifier = stop.build(data)
    classifier.fit(*data[0], epochs=stop.epochs, verbose=0)
    parts = model.sample(1000, seed=0).reshape(5, 200, 8, 8, 1)
    return mean_and_error(np.array([kphys.mode_coverage(part, classifier).entropy for part in parts]))


STOPS = {
    "mlp_classifier": Stop(
        "handwritten digits, 8×8",
        _digits,
        lambda data: kphys.mlp_classifier((8, 8, 1), 10, dropout=0.2, seed=0),
        epochs=40,
        score="accuracy",
        threshold=0.96,
        simple=_logistic,
        judge=judge_classifier,
    ),
    "mlp_regressor": Stop(
        "double pendulum, 0.05 s ahead",
        _swings,
        _mlp_regressor,
        epochs=40,
        score="rmse",
        threshold=0.05,
        simple=_mean,
        judge=judge_regressor,
        higher_is_better=False,
    ),
    "cnn_classifier": Stop(
        "Ising configurations, ordered or not",
        _spins,
        lambda data: kphys.cnn_classifier((16, 16, 1), 2, filters=(8, 16), periodic=True, seed=0),
        epochs=6,
        score="accuracy",
        threshold=0.90,
        simple=_most_frequent,
        judge=judge_classifier,
    ),
    "cnn_regressor": Stop(
        "Ising configurations, energy per site",
        _energies,
        lambda data: kphys.cnn_regressor((16, 16, 1), filters=(8, 16), periodic=True, learning_rate=3e-3, seed=0),
        epochs=10,
        score="rmse",
        threshold=0.1,
        simple=_mean,
        judge=judge_regressor,
        higher_is_better=False,
    ),
    "rnn_classifier": Stop(
        "recall of a marked symbol",
        _memories,
        _rnn_classifier,
        epochs=4,
        score="accuracy",
        threshold=0.98,
        simple=_most_frequent,
        judge=judge_classifier,
    ),
    "rnn_regressor": Stop(
        "Mackey–Glass series, 6 steps ahead",
        _series,
        _rnn_regressor,
        epochs=15,
        score="rmse",
        threshold=0.03,
        simple=_persistence,
        judge=judge_regressor,
        higher_is_better=False,
    ),
    "autoencoder": Stop(
        "handwritten digits in 8 numbers each",
        _unlabelled,
        lambda data: kphys.autoencoder((8, 8, 1), 8, hidden_units=(64,), learning_rate=2e-3, seed=0),
        epochs=60,
        score="mse",
        threshold=0.021,
        simple=_principal_components,
        judge=_judge_autoencoder,
        higher_is_better=False,
    ),
    "vae": Stop(
        "black and white digits in 2 numbers each",
        _black_and_white,
        lambda data: kphys.vae((8, 8, 1), 2, hidden_units=(128,), learning_rate=2e-3, seed=0),
        epochs=60,
        score="nats",
        threshold=21.0,
        simple=_independent_pixels,
        judge=_judge_vae,
        higher_is_better=False,
    ),
    "dcgan": Stop(
        "new digits, how evenly of all ten",
        _unlabelled,
        _dcgan,
        epochs=40,
        score="entropy",
        threshold=2.1,
        simple=_entropy_of_labels,
        judge=_judge_dcgan,
        takes={"batch_size": 64},
    ),
    **TEXT_STOPS,
    **AGENT_STOPS,
}
