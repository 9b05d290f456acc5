"""What TensorBoard's page shows of the callbacks, in a browser without a screen, where there is one."""

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import keras
import numpy as np
import pytest

from kphys import conv_autoencoder
from kphys.callbacks import GradientClipping, ImageLogger

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Nothing of the browser's own goes to the network.
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where TensorBoard shows the logs of a training with both callbacks."""
    logs = tmp_path_factory.mktemp("logs")
    x = np.random.default_rng(0).random((64, 8, 8, 1), np.float32)
    model = conv_autoencoder((8, 8, 1), filters=(4,), seed=0)
    callbacks = [GradientClipping(global_norm=1.0), ImageLogger(logs, x[:4]), keras.callbacks.TensorBoard(logs)]
    model.fit(x, epochs=2, verbose=0, callbacks=callbacks)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logs, "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen([*command, "--load_fast", "false"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield wait_for(f"http://127.0.0.1:{port}/", server)
    finally:
        server.terminate()
        server.wait()


def wait_for(page, server, seconds=120):
    """Gives the address of `page` once `server` answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(page, timeout=10):
            return page
        time.sleep(0.5)
    raise TimeoutError(f"{page} did not answer within {seconds} s, TensorBoard ended with {server.poll()}.")


def test_the_page_shows_gradient_norms_and_images(address, tmp_path):
    browser = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", *QUIET, f"--user-data-dir={tmp_path}"]
    looked = [*browser, "--window-size=1400,3000", "--virtual-time-budget=20000", "--dump-dom"]
    page = subprocess.run([*looked, f"{address}#timeseries"], capture_output=True, text=True, timeout=300, check=True)
    names = ("epoch_gradient_norm", "epoch_gradient_norm_max", "epoch_clipped_fraction", "reconstructions")
    assert [name for name in names if not re.search(rf"\b{name}\b", page.stdout)] == []
