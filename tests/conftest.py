"""What all tests share: which cases of a test a person runs, no seed, and that small graphs are not optimized."""

from collections import Counter

import pytest
import tensorflow as tf


@pytest.hookimpl(tryfirst=True)  # Before those marked slow are left out.
def pytest_collection_modifyitems(items):
    """Marks as slow, of a test with `@pytest.mark.cases(n)`, what comes after its first n cases."""
    seen = Counter()
    for item in items:
        mark = item.get_closest_marker("cases")
        if mark:
            seen[item.path, item.originalname] += 1
            if seen[item.path, item.originalname] > mark.args[0]:
                item.add_marker(pytest.mark.slow)


def pytest_runtest_setup(item):
    """Has TensorFlow rewrite graphs only in long trainings and new processes: elsewhere that is a sixth of the time."""
    in_short = "learning" not in item.path.parts
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": in_short})
    tf.random.set_seed(None)  # What another test has set would make this one's luck depend on their order.
