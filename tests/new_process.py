"""A new process, for tests of what must not depend on this one."""

import os
import subprocess
import sys

import numpy as np


def run_python(*arguments, **environment):
    """Runs Python with these arguments, and more environment variables; it must end well."""
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, **environment}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert finished.returncode == 0, finished.stderr[-4000:]


def saved_arrays(path):
    """Gives the arrays of an `.npz` file, in their order."""
    with np.load(path) as saved:
        return [saved[key] for key in saved.files]
