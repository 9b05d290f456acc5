"""The examples in the docstrings run as they stand."""

import doctest
import importlib

import pytest

MODULES = (
    "kphys.agents._agent",
    "kphys.agents._dqn",
    "kphys.agents._dueling",
    "kphys.agents._reinforce",
    "kphys.agents._sum_tree",
    "kphys.agents._table_learning",
    "kphys.agents.policy_gradient",
    "kphys.agents.q_learning",
    "kphys.agents.replay",
    "kphys.agents.returns",
    "kphys.agents.tabular",
    "kphys.callbacks.backup_and_restore",
    "kphys.callbacks.early_stopping",
    "kphys.callbacks.gradient_clipping",
    "kphys.callbacks.image_logger",
    "kphys.callbacks.learning_rate_finder",
    "kphys.callbacks.model_checkpoint",
    "kphys.callbacks.training_record",
    "kphys.distribute",
    "kphys.environments.random_walk",
    "kphys.environments.spin_chain",
    "kphys.environments.treasure_map",
    "kphys.environments.walker_target",
    "kphys.files",
    "kphys.models._char_rnn",
    "kphys.models._characters",
    "kphys.models._coverage",
    "kphys.models._forecast",
    "kphys.models._gan",
    "kphys.models._guards",
    "kphys.models._pretraining",
    "kphys.models._reconstruction",
    "kphys.models._sampling",
    "kphys.models._seq2seq",
    "kphys.models._vae",
    "kphys.models._word_vectors",
    "kphys.models.adversarial",
    "kphys.models.autoencoders",
    "kphys.models.convolutional",
    "kphys.models.dense",
    "kphys.models.inference",
    "kphys.models.recurrent",
    "kphys.models.sequences",
    "kphys.models.texts",
    "kphys.models.variational",
    "kphys.models.words",
    "kphys.records",
)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_run(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
