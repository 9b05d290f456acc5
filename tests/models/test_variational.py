"""Variational autoencoders: bound, likelihood and codes against exact answers, then the promises of the house."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from new_process import run_python, saved_arrays
from scipy import stats

from kphys.callbacks import EarlyStopping, GradientClipping
from kphys.models import _code_space
from kphys.models._heads import bounded
from kphys.models._likelihoods import bernoulli_loss, gaussian_loss, kl_divergence
from kphys.models.variational import VAE, Sampling, conv_vae, vae


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def binary(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2, size=shape).astype("float32")


def linear(units, weights, inputs):
    """A linear layer with given kernel and bias."""
    layer = keras.layers.Dense(units)
    outputs = layer(inputs)
    layer.set_weights([np.asarray(weight, "float32") for weight in weights])
    return outputs


def raw(log_variance):
    """What an encoder must give for this log-variance."""
    return 20 * np.arctanh(np.asarray(log_variance) / 20)


def uncompiled(model):
    """The same model without XLA, whose compilation takes seconds."""
    model.jit_compile = False
    return model


class PrincipalComponents:
    """Probabilistic PCA, x = W z + m + s ε: likelihood and posterior are known (Tipping and Bishop, 1999)."""

    def __init__(self, pixels=6, latent_dim=2, noise=0.5):
        generator = np.random.default_rng(1)
        basis = np.linalg.qr(generator.normal(size=(pixels, latent_dim)))[0]
        # Orthogonal columns: the dimensions of the posterior are independent, as those of an encoder.
        self.w = basis * np.array([2.0, 0.7])[:latent_dim]
        self.mean, self.variance = generator.normal(size=pixels), noise**2
        self.precision = (self.w**2).sum(axis=0) + self.variance  # (latent_dim,)
        codes = generator.normal(size=(300, latent_dim))
        self.x = (codes @ self.w.T + self.mean + noise * generator.normal(size=(300, pixels))).astype("float32")

    def log_likelihood(self):
        covariance = self.w @ self.w.T + self.variance * np.eye(len(self.mean))
        return stats.multivariate_normal(self.mean, covariance).logpdf(self.x)

    def model(self, shift=0.0, wider=0.0, **settings):
        """The VAE with this decoder; its encoder is the posterior, moved by `shift` and with `wider` in ln σ²."""
        pixels, latent_dim = self.w.shape
        inputs = keras.Input((pixels,))
        back = self.w / self.precision
        mean = linear(latent_dim, [back, shift - self.mean @ back], inputs)
        log_variance = np.log(self.variance / self.precision) + wider
        encoder = keras.Model(inputs, [mean, linear(latent_dim, [0 * back, raw(log_variance)], inputs)])
        codes = keras.Input((latent_dim,))
        decoder = keras.Model(codes, linear(pixels, [self.w.T, self.mean], codes))
        settings = {"likelihood": "gaussian", "variance": self.variance, "seed": 0, **settings}
        model = VAE(encoder, decoder, **settings)
        model.compile(keras.optimizers.SGD(0.0))
        return model


@pytest.fixture(scope="module")
def components():
    return PrincipalComponents()


# === The parts of the bound ===


def test_the_divergence_is_that_of_the_formula_and_of_tensorflow_probability():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Its own, of distutils.
        import tensorflow_probability as tfp
    mean, log_variance = 2 * random((50, 3)), 2 * random((50, 3), 1)
    by_hand = 0.5 * (mean.astype(float) ** 2 + np.exp(log_variance.astype(float)) - 1 - log_variance).sum(axis=1)
    np.testing.assert_allclose(kl_divergence(mean, log_variance), by_hand, rtol=1e-5)
    normal = tfp.distributions.MultivariateNormalDiag
    reference = tfp.distributions.kl_divergence(
        normal(mean, np.exp(0.5 * log_variance)), normal(np.zeros(3, "float32"))
    )
    np.testing.assert_allclose(kl_divergence(mean, log_variance), reference, rtol=1e-4)


def test_the_divergence_keeps_its_digits_near_the_prior():
    small = np.full((1, 1), 1e-4, "float32")
    assert float(kl_divergence(0 * small, small)[0]) == pytest.approx(0.25e-8, rel=0.02, abs=0)
    assert float(kl_divergence(0 * small, 0 * small)[0]) == 0


def test_the_bernoulli_loss_is_the_sum_of_cross_entropies():
    x, logits = np.random.default_rng(0).random((7, 4, 3)).astype("float32"), 3 * random((7, 4, 3))
    p = 1 / (1 + np.exp(-logits.astype(float)))
    expected = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=(1, 2))
    np.testing.assert_allclose(bernoulli_loss(x, logits), expected, rtol=1e-5)


def test_the_bernoulli_loss_stands_large_logits():
    x, logits = np.array([[1.0, 0.0], [0.0, 1.0]], "float32"), np.array([[1e4, -1e4], [1e4, -1e4]], "float32")
    np.testing.assert_allclose(bernoulli_loss(x, logits), [0, 2e4])


@pytest.mark.parametrize("variance", [1e-6, 0.3, 1e6])
def test_the_gaussian_loss_is_the_sum_of_negative_log_densities(variance):
    x, mean = random((7, 4, 3)), random((7, 4, 3), 1)
    expected = -stats.norm(mean, np.sqrt(variance)).logpdf(x).sum(axis=(1, 2))
    np.testing.assert_allclose(gaussian_loss(x, mean, np.float32(np.log(variance))), expected, rtol=1e-4)


def test_the_log_variance_is_itself_near_zero_and_bounded_far_away():
    np.testing.assert_allclose(bounded(np.array([-0.5, 0.1, 0.5], "float32")), [-0.5, 0.1, 0.5], rtol=1e-3)
    np.testing.assert_allclose(bounded(np.array([-1e30, 1e30], "float32")), [-20, 20])


# === Sampling ===


def test_sampling_draws_from_the_distribution_it_is_given():
    mean, log_variance = np.full((100_000, 1), 3.0, "float32"), np.full((100_000, 1), np.log(4.0), "float32")
    codes = np.asarray(Sampling(seed=0)((mean, log_variance)))
    # Five standard errors.
    assert codes.mean() == pytest.approx(3, abs=5 * 2 / np.sqrt(1e5))
    assert codes.std() == pytest.approx(2, abs=5 * 2 / np.sqrt(2e5))
    assert stats.kstest(((codes - 3) / 2).ravel(), "norm").pvalue > 0.001


def test_gradients_pass_through_the_draw():
    mean, log_variance = tf.constant(random((5, 2))), tf.constant(random((5, 2), 1))
    with tf.GradientTape() as tape:
        tape.watch([mean, log_variance])
        codes = Sampling(seed=0)((mean, log_variance))
    by_mean, by_log_variance = tape.gradient(codes, [mean, log_variance])
    np.testing.assert_array_equal(by_mean, np.ones((5, 2)))
    np.testing.assert_allclose(by_log_variance, (codes - mean) / 2, rtol=1e-4, atol=1e-6)


def test_sampling_draws_anew_each_time_and_the_same_for_the_same_seed():
    zeros = (np.zeros((4, 2), "float32"),) * 2
    one, same, other = Sampling(seed=1), Sampling(seed=1), Sampling(seed=2)
    first, second = np.asarray(one(zeros)), np.asarray(one(zeros))
    assert (first != second).all()
    np.testing.assert_array_equal(same(zeros), first)
    assert (np.asarray(other(zeros)) != first).all()


def test_sampling_in_a_model_of_ones_own_keeps_its_state_in_the_file(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Sampling(seed=5)((inputs, inputs)))
    x = random((4, 3))
    model(x)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))


# === The bound in training and in evaluation ===


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
def test_a_step_minimizes_the_two_terms_with_the_noise_of_its_layer(components, beta):
    model, x = components.model(shift=0.3, beta=beta), components.x[:40]
    mean, log_variance = model.encode(x)
    codes = np.asarray(Sampling(seed=0)((mean, log_variance)))
    residual = x - codes @ components.w.T - components.mean
    reconstruction = 0.5 * (residual**2 / components.variance + np.log(2 * np.pi * components.variance)).sum(axis=1)
    kl = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1)
    logs = model.train_on_batch(x, return_dict=True)
    assert set(logs) == {"loss", "reconstruction_loss", "kl_loss"}
    assert logs["reconstruction_loss"] == pytest.approx(reconstruction.mean(), rel=1e-4)
    assert logs["kl_loss"] == pytest.approx(kl.mean(), rel=1e-4)
    assert logs["loss"] == pytest.approx(reconstruction.mean() + beta * kl.mean(), rel=1e-4)


def test_with_the_exact_posterior_the_bound_is_the_likelihood_for_every_noise(components):
    # −ln p(x | z) + KL only in the mean over z: its spread over 300 images of two dimensions is 1/√300.
    loss = components.model().evaluate(components.x, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(-components.log_likelihood().mean(), abs=5 / np.sqrt(300))


def test_the_step_descends_along_the_gradient_of_the_bound():
    """One step of gradient descent on a decoder that is a single number b: b − η d/db mean ½ (x − b)²."""
    inputs, codes = keras.Input((1,)), keras.Input((1,))
    encoder = keras.Model(inputs, [linear(1, [[[0.0]], [0.0]], inputs), linear(1, [[[0.0]], [0.0]], inputs)])
    decoder = keras.Model(codes, linear(1, [[[0.0]], [0.5]], codes))
    model = VAE(encoder, decoder, likelihood="gaussian", variance=2.0, seed=0)
    model.compile(keras.optimizers.SGD(0.1))
    x = np.array([[1.0], [3.0], [4.0]], "float32")
    model.train_on_batch(x)
    assert float(decoder.layers[-1].bias[0]) == pytest.approx(0.5 - 0.1 * (0.5 - x.mean()) / 2, rel=1e-5)


def test_a_huge_log_variance_does_not_overflow(components):
    model = components.model()
    model.encoder.layers[-1].set_weights([np.zeros((6, 2)), np.array([1e30, -1e30])])
    assert np.isfinite(model.train_on_batch(components.x, return_dict=True)["loss"])
    np.testing.assert_allclose(model.encode(components.x[:1])[1], [[20, -20]])


@pytest.mark.slow
def test_the_learnt_variance_becomes_that_of_the_pixels():
    x = 3 * random((256, 5))
    model = vae(5, 1, hidden_units=2, likelihood="gaussian", beta=1e3, learning_rate=0.05, seed=0)
    model.decoder.layers[-1].trainable = False
    model.decoder.layers[-1].set_weights([np.zeros((2, 5)), np.zeros(5)])
    model.compile(keras.optimizers.Adam(0.05))
    model.fit(x, batch_size=256, epochs=150, verbose=0)
    assert float(np.exp(model._log_variance())) == pytest.approx((x**2).mean(), rel=0.02)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_evaluate_gives_the_mean_over_images_and_the_same_each_time(components, jit_compile):
    model = components.model(shift=0.2)
    model.compile("adam", jit_compile=jit_compile)
    one, two = (model.evaluate(components.x, batch_size=37, verbose=0, return_dict=True) for _ in range(2))
    assert one == two
    mean, log_variance = model.encode(components.x)
    assert one["kl_loss"] == pytest.approx(float(np.mean(kl_divergence(mean, log_variance))), rel=1e-5)
    assert one["loss"] == pytest.approx(one["reconstruction_loss"] + one["kl_loss"], rel=1e-5)


def test_evaluate_draws_other_noise_for_every_batch(components):
    model = components.model()
    same = np.repeat(components.x[:1], 32, axis=0)
    first = model.evaluate(same, batch_size=32, verbose=0, return_dict=True)["loss"]
    both = model.evaluate(np.concatenate([same, same]), batch_size=32, verbose=0, return_dict=True)["loss"]
    assert first != pytest.approx(both, rel=1e-6)


def test_weights_count_images(components):
    x, weights = components.x[:60], np.repeat([2.0, 0.0], 30).astype("float32")
    model = components.model()
    logs = model.evaluate(x, sample_weight=weights, batch_size=60, verbose=0, return_dict=True)
    mean, log_variance = model.encode(x[:30])
    assert logs["kl_loss"] == pytest.approx(float(np.mean(kl_divergence(mean, log_variance))), rel=1e-5)
    # As Keras has it: the sum over the batch, divided by its size.
    assert logs["loss"] == pytest.approx(logs["kl_loss"] + logs["reconstruction_loss"], rel=1e-5)
    trained = model.fit(x, sample_weight=weights, batch_size=60, verbose=0).history
    assert trained["kl_loss"][0] == pytest.approx(logs["kl_loss"], rel=1e-5)
    validated = model.fit(x, validation_data=(x, None, weights), validation_batch_size=60, verbose=0).history
    assert validated["val_loss"][0] == pytest.approx(logs["loss"], rel=1e-5)
    ones = model.evaluate(x, sample_weight=weights / 2, batch_size=60, verbose=0, return_dict=True)
    assert ones["loss"] == pytest.approx(logs["loss"] / 2, rel=1e-5)
    assert ones["reconstruction_loss"] == pytest.approx(logs["reconstruction_loss"], rel=1e-5)


# === β ===


def test_beta_can_be_changed_without_a_new_trace(components):
    model, x = components.model(beta=1.0), components.x
    model.fit(x, verbose=0)
    traced, losses = model.train_function, []
    for beta in (0.0, 3.0):
        model.beta = beta
        assert model.beta == beta
        logs = model.fit(x, verbose=0).history
        assert model.train_function is traced
        losses.append(logs["loss"][0] - logs["reconstruction_loss"][0] - beta * logs["kl_loss"][0])
    np.testing.assert_allclose(losses, 0, atol=1e-3)


def test_a_schedule_anneals_beta_by_the_optimizers_iterations(components):
    rising = keras.optimizers.schedules.PolynomialDecay(0.0, 4, 2.0)
    model = components.model(beta=rising)
    for beta in (0.0, 0.5, 1.0, 1.5, 2.0, 2.0):
        logs = model.train_on_batch(components.x, return_dict=True)
        assert logs["loss"] == pytest.approx(logs["reconstruction_loss"] + beta * logs["kl_loss"], rel=1e-5)
    assert model.beta is rising
    with pytest.raises(ValueError, match="`beta` can be changed from one number to another"):
        model.beta = 1.0


def test_beta_is_no_weight():
    assert vae(4, 2, hidden_units=3, seed=0).count_params() == (4 + 1) * 3 + 2 * (3 + 1) * 2 + (2 + 1) * 3 + (3 + 1) * 4


# === The likelihood by importance sampling ===


@pytest.mark.parametrize("num_samples", [1, 7])
def test_with_the_exact_posterior_the_likelihood_is_exact_image_by_image(components, num_samples):
    found = components.model().log_likelihood(components.x, num_samples, seed=0)
    np.testing.assert_allclose(found, components.log_likelihood(), atol=1e-3)


def test_with_another_encoder_bound_estimate_and_exact_answer_stand_in_this_order(components):
    model = components.model(shift=0.3, wider=0.5)
    exact = components.log_likelihood()
    found = model.log_likelihood(components.x, 2000, seed=0)
    assert np.abs(found - exact).mean() < 0.1
    bound = model.log_likelihood(components.x, 1, seed=1).mean()
    few, many = (model.log_likelihood(components.x, k, seed=2).mean() for k in (5, 500))
    assert bound < few - 0.1 < many - 0.1
    assert many <= exact.mean() + 0.01
    # One sample is the bound itself, in the mean over its noise.
    assert bound == pytest.approx(-model.evaluate(components.x, verbose=0, return_dict=True)["loss"], abs=0.5)


def test_the_bernoulli_likelihood_of_an_independent_decoder_is_that_of_its_logits():
    model = vae((2, 3), 2, hidden_units=4, seed=0)
    logits = random(6)
    model.decoder.get_layer("outputs").set_weights([np.zeros((4, 6)), logits])
    for layer in ("mean", "log_variance"):
        model.encoder.get_layer(layer).set_weights([np.zeros((4, 2)), np.zeros(2)])
    x = binary((5, 2, 3))
    expected = -np.asarray(bernoulli_loss(x.reshape(5, 6), np.tile(logits, (5, 1))))
    np.testing.assert_allclose(model.log_likelihood(x, 3), expected, rtol=1e-5)


@pytest.mark.parametrize("elements", [1, 40, 400])
def test_memory_bounds_do_not_change_the_likelihood(components, monkeypatch, elements):
    monkeypatch.setattr(_code_space, "_ELEMENTS_AT_ONCE", elements)
    model = components.model()
    found = model.log_likelihood(components.x[:11], 5, seed=0)
    np.testing.assert_allclose(found, components.log_likelihood()[:11], atol=1e-3)
    np.testing.assert_allclose(
        model.reconstruct(components.x[:11]), model.predict(components.x[:11], verbose=0), rtol=1e-5
    )


def test_the_seed_fixes_the_estimate(components):
    model = components.model(shift=1.0)
    one, same, other = (model.log_likelihood(components.x[:9], 3, seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


# === Codes and images ===


@pytest.fixture(scope="module")
def identity():
    """A model whose codes are its images, of two pixels; its second unit has collapsed."""
    inputs, codes = keras.Input((2,)), keras.Input((2,))
    mean = linear(2, [np.diag([1.0, 0.05]), np.zeros(2)], inputs)
    encoder = keras.Model(inputs, [mean, linear(2, [np.zeros((2, 2)), np.zeros(2)], inputs)])
    decoder = keras.Model(codes, linear(2, [np.eye(2), np.zeros(2)], codes))
    model = VAE(encoder, decoder, likelihood="gaussian", variance=1.0, seed=0)
    model.compile("adam")
    return model


def test_encode_and_reconstruct(identity):
    x = random((6, 2))
    mean, log_variance = identity.encode(x)
    np.testing.assert_allclose(mean, x * [1, 0.05], rtol=1e-6)
    np.testing.assert_array_equal(log_variance, np.zeros((6, 2)))
    np.testing.assert_allclose(identity.reconstruct(x), x * [1, 0.05], rtol=1e-6)
    np.testing.assert_allclose(identity.predict(x, verbose=0), x * [1, 0.05], rtol=1e-6)


def test_only_units_that_vary_are_active(identity):
    x = random((1000, 2))
    assert identity.active_units(x).tolist() == [True, False]
    assert identity.active_units(x, threshold=0.002).tolist() == [True, True]


def test_interpolate_goes_straight_from_one_to_the_other(identity):
    x1, x2 = np.array([[0.0, 0], [8, 0]]), np.array([[4.0, 0], [0, 40]])
    lines = identity.interpolate(x1, x2, 5)
    np.testing.assert_allclose(lines[0], [[0, 0], [1, 0], [2, 0], [3, 0], [4, 0]])
    np.testing.assert_allclose(lines[1], [[8, 0], [6, 0.5], [4, 1], [2, 1.5], [0, 2]], atol=1e-6)


def test_the_grid_holds_equal_shares_of_the_prior(identity):
    grid = identity.latent_grid(4)
    quantiles = stats.norm.ppf([0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(grid[1, 3], quantiles[[1, 3]], rtol=1e-6)
    np.testing.assert_allclose(grid[:, 0, 0], quantiles, rtol=1e-6)
    assert grid.shape == (4, 4, 2)


def test_samples_are_the_images_of_codes_from_the_prior(identity):
    images = identity.sample(5000, seed=0)
    np.testing.assert_allclose([images.mean(axis=0), images.std(axis=0)], [[0, 0], [1, 1]], atol=0.07)
    np.testing.assert_array_equal(images, identity.sample(5000, seed=0))
    assert (images[0] != identity.sample(1)[0]).all()


def test_bernoulli_images_are_probabilities():
    model = vae((3, 2), 2, hidden_units=4, seed=0)
    logits = random(6)
    model.decoder.get_layer("outputs").set_weights([np.zeros((4, 6)), logits])
    np.testing.assert_allclose(model.sample(2), np.tile(1 / (1 + np.exp(-logits)), (2, 1)).reshape(2, 3, 2), rtol=1e-5)


@pytest.mark.slow
def test_no_question_disturbs_the_training():
    asked, left = (uncompiled(vae((4, 4), 2, hidden_units=5, seed=3)) for _ in range(2))
    x, before = binary((32, 4, 4)), None
    for model in (asked, left):
        keras.utils.set_random_seed(7)
        model.fit(x, batch_size=8, verbose=0)
        if model is asked:
            before = np.random.get_state()[1].copy()
            for ask in (model.encode, model.reconstruct, model.log_likelihood, model.active_units):
                ask(x)
            model.sample(2), model.latent_grid(3), model.interpolate(x, x)
            model.evaluate(x, verbose=0), model.predict(x, verbose=0)
            np.testing.assert_array_equal(np.random.get_state()[1], before)
        model.fit(x, batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(asked.get_weights(), left.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# === Builders ===


def test_the_dense_network_is_the_encoder_and_its_mirror_image():
    model = vae((28, 28, 1), 40, hidden_units=(500, 400))
    shapes = [tuple(weight.shape) for weight in model.weights if "kernel" in weight.name]
    encoder, decoder = [(784, 500), (500, 400), (400, 40), (400, 40)], [(40, 400), (400, 500), (500, 784)]
    assert shapes == encoder + decoder
    assert (model.name, model.latent_dim, model.input_shape) == ("vae", 40, (None, 28, 28, 1))
    assert vae(4, 2, hidden_units=2, name="events").name == "events"


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    ("shape", "kernel"), [((8, 2), 3), ((8, 12, 1), 3), ((8, 4, 4, 1), 3), ((8, 8, 3), 5)], ids=str
)
def test_the_convolutional_network_has_the_weights_of_its_layers(shape, kernel):
    model = conv_vae(shape, 3, filters=(4, 6), kernel_size=kernel, seed=0)
    *space, channels = shape
    window, small = kernel ** len(space), int(np.prod(space)) // 4 ** len(space) * 6
    encoder = (window * channels + 1) * 4 + (window * 4 + 1) * 6 + 2 * (small + 1) * 3
    decoder = (3 + 1) * small + (window * 6 + 1) * 4 + (window * 4 + 1) * channels
    assert (model.encoder.count_params(), model.decoder.count_params()) == (encoder, decoder)
    x = binary((5, *shape))
    assert model.predict(x, verbose=0).shape == x.shape
    start = [weight.numpy() for weight in model.trainable_weights]
    model.train_on_batch(x)
    assert all((a != b.numpy()).any() for a, b in zip(start, model.trainable_weights, strict=True))


@pytest.mark.slow
def test_it_learns_the_two_images_that_there_are():
    images = np.repeat(np.eye(2), 12, axis=1).astype("float32")
    keras.utils.set_random_seed(0)
    model = uncompiled(vae(24, 1, hidden_units=16, learning_rate=0.03, seed=0))
    model.fit(np.tile(images, (64, 1)), batch_size=32, epochs=40, verbose=0)
    np.testing.assert_allclose(model.reconstruct(images), images, atol=0.01)
    # No model falls below the entropy of a fair coin; one that had learnt nothing would be at 24 ln 2.
    assert np.log(2) - 0.05 < -model.log_likelihood(images, 2000, seed=0).mean() < 2


@pytest.mark.cases(1)
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_fits_data_sets_and_arrays_with_and_without_validation(likelihood):
    x = binary((24, 4, 4))
    results = []
    for data, validation in (
        ({"x": x, "batch_size": 8}, x),
        ({"x": tf.data.Dataset.from_tensor_slices(x).batch(8)}, tf.data.Dataset.from_tensor_slices(x).batch(8)),
        ({"x": x.astype(bool), "batch_size": 8}, (x,)),
    ):
        model = uncompiled(vae((4, 4), 2, hidden_units=5, likelihood=likelihood, seed=0))
        history = model.fit(**data, shuffle=False, validation_data=validation, epochs=2, verbose=0).history
        assert set(history) == {f"{a}{b}loss" for a in ("", "val_") for b in ("", "reconstruction_", "kl_")}
        results.append([history[key] for key in sorted(history)])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-4)


@pytest.mark.slow
def test_works_with_the_callbacks_and_compiles_again(tmp_path):
    model, x = conv_vae((4, 4, 1), 2, filters=4, seed=0), binary((24, 4, 4, 1))
    callbacks = [
        GradientClipping(global_norm=1.0),
        EarlyStopping("val_loss", patience=5, restore_best_weights=True),
        keras.callbacks.TensorBoard(tmp_path, write_graph=False),
    ]
    history = model.fit(x, validation_data=x, epochs=2, callbacks=callbacks, verbose=0).history
    assert np.isfinite(history["val_loss"]).all()
    assert history["clipped_fraction"][0] > 0
    assert list(tmp_path.glob("train/events*"))
    model.compile(keras.optimizers.SGD(1e-3))
    assert np.isfinite(model.fit(x, verbose=0).history["loss"][0])


def test_runs_as_fast_as_the_house_found():
    dense, images = vae(4, 2, hidden_units=3), conv_vae((4, 4, 1), 2, filters=3)
    assert (dense.jit_compile, dense.steps_per_execution) == (False, 32)
    assert (images.jit_compile, images.steps_per_execution) == (False, 32)


def test_half_precision_keeps_the_bound_finite():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = uncompiled(vae((8, 8), 2, hidden_units=16, seed=0))
    finally:
        keras.config.set_dtype_policy("float32")
    x = binary((64, 8, 8))
    assert np.isfinite(model.fit(x, epochs=2, verbose=0).history["loss"]).all()
    assert model.predict(x, verbose=0).dtype == np.float32


# === Files, processes, devices ===

SETTINGS = (
    "dict(hidden_units=5, likelihood='gaussian', seed=3, beta=keras.optimizers.schedules.PolynomialDecay(0.0, 20, 2.0))"
)


def new_process(code, *arguments, **environment):
    lines = [
        "import sys, keras, numpy as np, tensorflow as tf",
        "from kphys.models.variational import vae",
        f"settings = {SETTINGS}",
        "x = np.random.default_rng(0).integers(0, 2, size=(32, 4, 4)).astype('float32')",
        *code,
    ]
    run_python("-c", "\n".join(lines), *arguments, **environment)


@pytest.mark.slow
def test_a_new_process_builds_the_same_and_goes_on_as_if_nothing_had_happened(tmp_path):
    x = binary((32, 4, 4))
    model = vae((4, 4), 2, **eval(SETTINGS))
    start = model.get_weights()
    model.fit(x, batch_size=8, epochs=3, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    new_process(
        [
            "folder = sys.argv[1]",
            "np.savez(folder + '/built.npz', *vae((4, 4), 2, **settings).get_weights())",
            "model = keras.models.load_model(folder + '/model.keras')",
            "answers = [model.predict(x, verbose=0), model.log_likelihood(x, 5, seed=0)]",
            "np.savez(folder + '/answers.npz', *answers, model.evaluate(x, verbose=0))",
            "model.fit(x, batch_size=8, epochs=2, shuffle=False, verbose=0)",
            "np.savez(folder + '/resumed.npz', *model.get_weights())",
        ],
        tmp_path,
    )
    for a, b in zip(start, saved_arrays(tmp_path / "built.npz"), strict=True):
        np.testing.assert_array_equal(a, b)
    expected = model.predict(x, verbose=0), model.log_likelihood(x, 5, seed=0), model.evaluate(x, verbose=0)
    for a, b in zip(expected, saved_arrays(tmp_path / "answers.npz"), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)
    model.fit(x, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), saved_arrays(tmp_path / "resumed.npz"), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)


def test_a_file_keeps_settings_optimizer_and_noise(tmp_path):
    x = binary((32, 4, 4, 1))
    model = conv_vae((4, 4, 1), 2, filters=3, beta=0.7, check_data=False, optimizer="rmsprop", seed=0)
    model.beta = 0.3
    model.fit(x, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.beta, loaded.likelihood, loaded.check_data, loaded.name) == (0.3, "bernoulli", False, "conv_vae")
    state, again = (m.sampling.seed_generator.state.numpy() for m in (model, loaded))
    np.testing.assert_array_equal(again, state)
    assert len(model.optimizer.variables) > 2
    for a, b in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(b.numpy(), a.numpy())
    for going_on in (model, loaded):
        going_on.train_on_batch(x)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-7)


def test_a_file_of_weights_keeps_the_noise(tmp_path):
    x, (one, other) = binary((16, 4)), (uncompiled(vae(4, 2, hidden_units=3, seed=seed)) for seed in (0, 1))
    one.train_on_batch(x)
    one.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    for model in (one, other):
        model.train_on_batch(x)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_file_keeps_the_state_of_dropout_in_parts_of_ones_own(tmp_path):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dropout(0.5, seed=1)(keras.layers.Dense(8, "tanh")(inputs))
    encoder = keras.Model(inputs, [keras.layers.Dense(2)(hidden), keras.layers.Dense(2)(hidden)])
    model = VAE(encoder, keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)]), seed=0)
    model.compile("adam", jit_compile=False)
    x = binary((16, 4))
    model.fit(x, batch_size=16, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for going_on in (model, loaded):
        going_on.fit(x, batch_size=16, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_trains_on_two_devices(tmp_path):
    new_process(
        [
            "device = tf.config.list_physical_devices('CPU')[0]",
            "tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)",
            "settings.update(beta=0.5, optimizer='sgd', learning_rate=1e-3)",
            "with tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1']).scope():",
            "    model = vae((4, 4), 2, **settings)",
            "model.fit(x, batch_size=32, shuffle=False, validation_data=x, verbose=0)",
            "np.savez(sys.argv[1], *model.get_weights())",
        ],
        tmp_path / "weights.npz",
        TF_ENABLE_ONEDNN_OPTS="0",
    )
    model = vae((4, 4), 2, hidden_units=5, likelihood="gaussian", seed=3, beta=0.5, optimizer="sgd", learning_rate=1e-3)
    start = model.get_weights()
    model.fit(binary((32, 4, 4)), batch_size=32, shuffle=False, verbose=0)
    together = saved_arrays(tmp_path / "weights.npz")
    # The bias of the last layer hardly sees the noise: its step tells whether the replicas were summed or averaged.
    steps = [weights[-1] - start[-1] for weights in (model.get_weights(), together)]
    np.testing.assert_allclose(steps[1], steps[0], rtol=0.25, atol=1e-3)
    assert all((a != b).any() for a, b in zip(start, together, strict=True))


def test_the_same_seed_starts_alike_and_another_does_not():
    one, same, other = (conv_vae((4, 4, 1), 2, filters=3, seed=seed) for seed in (1, 1, 2))
    kernels = [index for index, weight in enumerate(one.weights) if "kernel" in weight.name]
    for index, (a, b, c) in enumerate(zip(*(m.get_weights() for m in (one, same, other)), strict=True)):
        np.testing.assert_array_equal(a, b)
        assert index not in kernels or (a != c).all()
    assert one.sampling.seed == same.sampling.seed != other.sampling.seed


# === Bad input ===


def small(**settings):
    return uncompiled(vae((4, 4), 2, hidden_units=3, **settings))


X = binary((8, 4, 4))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: vae((4, 4), 0), "`latent_dim` must be a positive integer, got 0"),
        (lambda: vae((0, 4), 2), r"`input_shape\[0\]` must be a positive integer, got 0"),
        (lambda: small(beta=-1.0), r"`beta` must be a number that is not negative, got -1\.0"),
        (lambda: small(beta=float("nan")), "`beta` must be a number that is not negative, got nan"),
        (lambda: small(likelihood="bernouli"), "`likelihood` must be one of .* Did you mean 'bernoulli'?"),
        (lambda: small(variance=1.0), "`variance` must be None with likelihood='bernoulli'"),
        (lambda: small(likelihood="gaussian", variance=0.0), "`variance` must be a positive number, got 0"),
        (lambda: small(likelihood="gaussian", variance=1e-12), "`variance` must be from 1e-8 to 1e8"),
        (lambda: small(seed=-1), "`seed` must be None or an integer"),
        (lambda: conv_vae((28, 30, 1), 2), r"`input_shape` \(28, 30, 1\) cannot be halved 2 times.* multiple of 4"),
        (lambda: conv_vae((28, 28, 1), 2, filters=(1, 2, 3)), "cannot be halved 3 times.* multiple of 8"),
        (lambda: conv_vae((4, 4, 1), 2, kernel_size=1), "`kernel_size` must be an integer of at least 2, got 1"),
    ],
)
def test_builders_refuse(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X * 255, ValueError, r"`x` must lie in \[0, 1\] .* first is x\[0, .*\] = 255\.0\. Divide by 255"),
        (X - 0.5, ValueError, r"`x` must lie in \[0, 1\] .* Rescale it, or build with likelihood=\"gaussian\""),
        (np.where(X == 1, np.nan, X), ValueError, "`x` must be finite in float32"),
        (X[:0], ValueError, "`x` must hold at least one sample"),
        (X[0], ValueError, r"`x` must have the shape \(samples, 4, 4\), got \(4, 4\): one sample needs a batch axis"),
        (X[..., :3], ValueError, r"`x` must have the shape \(samples, 4, 4\), got \(8, 4, 3\)"),
        (X.astype(str), TypeError, "`x` must hold real numbers"),
    ],
    ids=["bytes", "negative", "nan", "empty", "one image", "narrow", "text"],
)
def test_bad_images_are_refused_before_anything_is_trained(x, error, message):
    model = small(seed=0)
    start = model.get_weights()
    asks = (model.fit, model.evaluate, model.encode, model.reconstruct, model.log_likelihood, model.active_units)
    for ask in asks:
        with pytest.raises(error, match=message):
            ask(x)
    with pytest.raises(error, match=message.replace("`x`", "`validation_data`").replace(r"x\[", r"validation_data\[")):
        model.fit(X, validation_data=x, verbose=0)
    begins = message.split(" first is")[0].split(" got")[0]
    with pytest.raises(error, match=begins.replace("`x`", r"`validation_data\[0\]`")):
        model.fit(X, validation_data=(x,), verbose=0)
    for a, b in zip(start, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def data_set(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(4)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: m.fit(X, X), "learns from images alone: give `x` without `y`"),
        (lambda m: m.fit(X, validation_data=(X, X)), r"give `validation_data\[0\]` without `validation_data\[1\]`"),
        (lambda m: m.fit(data_set(X, X), shuffle=False), "learns from images alone: give x without y"),
        (lambda m: m.fit(X, class_weight={0: 1.0}), "`class_weight` needs labels"),
        (lambda m: m.fit(X, sample_weight=np.ones(7)), "`x` and `sample_weight` must have the same length"),
        (lambda m: m.fit(X, sample_weight=np.ones((8, 4))), "`sample_weight` must hold one weight for every sample"),
        (lambda m: m.fit(X, sample_weight=np.full(8, np.nan)), "`sample_weight` must be finite"),
        (lambda m: (m.compile("adam", "mse"), m.fit(X)), "brings its own loss and metrics"),
        (lambda m: (m.compile("adam", metrics=["mae"]), m.evaluate(X)), "brings its own loss and metrics"),
        (lambda m: setattr(m, "beta", -0.1), "`beta` must be a number that is not negative"),
        (lambda m: m.decode(np.zeros((3, 4))), r"`codes` must have the shape \(samples, 2\), got \(3, 4\)"),
        (lambda m: m.decode(np.full((3, 2), np.nan)), "`codes` must be finite"),
        (lambda m: m.sample(0), "`n` must be a positive integer, got 0"),
        (lambda m: m.sample(2, seed=-1), "`seed` must be None or an integer"),
        (lambda m: m.interpolate(X, X, 1), "`steps` must be an integer of at least 2, got 1"),
        (lambda m: m.interpolate(X, X[:2]), "`x1` and `x2` must have the same length, got 8 and 2"),
        (lambda m: m.interpolate(X, 2 * X), r"`x2` must lie in \[0, 1\]"),
        (lambda m: vae(4, 3, hidden_units=2).latent_grid(), "two dimensions, got latent_dim=3"),
        (lambda m: m.log_likelihood(X, 0), "`num_samples` must be a positive integer, got 0"),
        (lambda m: m.active_units(X[:1]), "`x` must hold at least two samples"),
    ],
)
def test_the_model_refuses(ask, message):
    with pytest.raises(ValueError, match=message):
        ask(small())


def test_without_check_data_arrays_are_not_looked_through():
    assert np.isfinite(small(check_data=False).fit(X * 2, verbose=0).history["loss"][0])


def network(shape, *outputs, **settings):
    inputs = keras.Input(shape)
    layers = [keras.layers.Dense(units, **settings)(inputs) for units in outputs]
    return keras.Model(inputs, layers if len(layers) > 1 else layers[0])


@pytest.mark.parametrize(
    ("encoder", "decoder", "error", "message"),
    [
        ("encoder", network((2,), 4), TypeError, "`encoder` must be a Keras model, got str"),
        (keras.Sequential(), network((2,), 4), ValueError, "`encoder` must be a functional or Sequential model"),
        (network((4,), 2), network((2,), 4), ValueError, r"two outputs .* got the shapes \(None, 2\)\."),
        (network((4,), 2, 3), network((2,), 4), ValueError, r"two outputs .* \(None, 2\), \(None, 3\)"),
        (network((4,), 2, 2), network((3,), 4), ValueError, r"`decoder` must take the codes .*\(None, 2\), got .* 3\)"),
        (network((4,), 2, 2), network((2,), 5), ValueError, r"must give the shape .*\(None, 4\), got \(None, 5\)"),
        (network((4,), 2, 2), network((2,), 4, activation="sigmoid"), ValueError, "must give logits"),
    ],
)
def test_networks_that_do_not_fit_are_refused(encoder, decoder, error, message):
    with pytest.raises(error, match=message):
        VAE(encoder, decoder)


def test_asking_many_models_is_no_retracing(caplog):
    for _ in range(7):
        small(seed=0).sample(1)
    assert "retracing" not in caplog.text
