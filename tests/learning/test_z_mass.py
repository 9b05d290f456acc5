"""The invariant mass of two muons from their eight four-vector components, on real collisions of CMS."""

import keras
import pytest

from kphys import evaluate_regressor, mlp_regressor
from kphys.datasets import cms_zmumu

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_mass_is_learnt(seed, real_data, scale, falling):
    """8,681 events to train, 2,170 to test, a split for each of three seeds; none may exceed an RMSE of 2 GeV.

    Always the mean is off by 8.5 GeV, scikit-learn's gradient boosting by 4.4 GeV.
    """
    (x_train, y_train), (x_test, y_test) = cms_zmumu.load_data(seed=seed)
    keras.utils.set_random_seed(seed)
    model = mlp_regressor(
        8,
        hidden_units=(128, 128, 128),
        activation="silu",
        normalization=scale(x_train),
        target_normalization=scale(y_train),
        optimizer="adamw",
        learning_rate=falling(2e-3, x_train, 64, 80),
        seed=seed,
    )
    model.fit(x_train, y_train, batch_size=64, epochs=80, verbose=0)
    assert evaluate_regressor(model, x_test, y_test, num_bootstrap=0)["rmse"].value <= 2.0
