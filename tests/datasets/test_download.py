"""Downloads against a server on this machine: wrong, cut, stalled, missing, cached, and two at once."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import keras
import pytest

from kphys.datasets import _download

CONTENT = bytes(range(256)) * 800
SHA256 = hashlib.sha256(CONTENT).hexdigest()

FETCH = (
    "import sys; from kphys.datasets import _download; "
    "file = _download.RemoteFile('data.bin', sys.argv[1], sys.argv[2]); "
    "print(_download.sha256_of(_download.fetch(file)))"
)


@dataclass
class Server:
    """Serves CONTENT in the way its path says, and counts."""

    requests: int = 0
    half_sent: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    both_here: threading.Barrier = field(default_factory=lambda: threading.Barrier(2, timeout=60))
    port: int = 0

    def file(self, path):
        return _download.RemoteFile("data.bin", f"http://127.0.0.1:{self.port}/{path}", SHA256)

    def answer(self, handler):
        self.requests += 1
        way = handler.path.strip("/")
        handler.send_response(404 if way == "missing" else 200)
        if way != "cut_without_length":
            handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        if way == "together":
            self.both_here.wait()
        half = len(CONTENT) // 2
        first = b"x" + CONTENT[1:half] if way == "wrong" else CONTENT[:half]
        handler.wfile.write(first)
        handler.wfile.flush()
        self.half_sent.set()
        if way == "stalled":
            self.go_on.wait(timeout=60)
        if not way.startswith("cut") and way != "stalled":
            handler.wfile.write(CONTENT[half:])


@pytest.fixture
def server():
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.answer(self)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.port = http.server_port
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.shut_down = http.shutdown
        yield state
        state.go_on.set()
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, no KPHYS_DATA, no proxy."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("KPHYS_DATA", raising=False)
    return tmp_path / "home" / "datasets" / "kphys"


def test_a_download_is_checked_and_kept(server, cache):
    path = _download.fetch(server.file("good"))
    assert path == cache / "data.bin"
    assert path.read_bytes() == CONTENT
    assert os.listdir(cache) == ["data.bin"]


def test_a_second_call_needs_no_network(server):
    file = server.file("good")
    first = _download.fetch(file)
    server.shut_down()
    assert _download.fetch(file) == first
    assert server.requests == 1


def test_a_spoilt_file_in_the_cache_is_replaced(server):
    path = _download.fetch(server.file("good"))
    path.write_bytes(CONTENT[:100])
    assert _download.fetch(server.file("good")).read_bytes() == CONTENT
    assert server.requests == 2


def test_a_wrong_checksum_is_refused_and_leaves_no_file(server, cache):
    file = server.file("wrong")
    with pytest.raises(ValueError, match=rf"{file.url} gave 204800 bytes .* expected {SHA256}; nothing was kept"):
        _download.fetch(file)
    assert os.listdir(cache) == []


def test_a_cut_connection_leaves_no_file_and_says_so(server, cache):
    file = server.file("cut")
    message = f"{file.url} could not be downloaded .*only 102400 out of 204800 bytes.*Try again.*KPHYS_DATA"
    with pytest.raises(OSError, match=message):
        _download.fetch(file)
    assert os.listdir(cache) == []


def test_a_cut_connection_is_noticed_without_a_length(server, cache):
    with pytest.raises(ValueError, match=r"gave 102400 bytes .*nothing was kept"):
        _download.fetch(server.file("cut_without_length"))
    assert os.listdir(cache) == []


def test_a_stalled_connection_ends(server, cache, monkeypatch):
    monkeypatch.setattr(_download, "_STALLED_AFTER", 0.3)
    with pytest.raises(OSError, match=r"could not be downloaded .*timed out.*Try again"):
        _download.fetch(server.file("stalled"))
    assert os.listdir(cache) == []


def test_a_missing_file_says_so(server, cache):
    with pytest.raises(OSError, match=r"missing could not be downloaded .*Not Found"):
        _download.fetch(server.file("missing"))
    assert os.listdir(cache) == []


def test_no_server_at_all_says_so(server):
    file = server.file("good")
    nobody = _download.RemoteFile(file.name, "http://127.0.0.1:9/data.bin", SHA256)
    with pytest.raises(OSError, match=r"127.0.0.1:9/data.bin could not be downloaded .*refused"):
        _download.fetch(nobody)


def fetch_in_a_new_process(file):
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, file.url, file.sha256],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_at_once_do_not_spoil_it(server, cache):
    """The server answers neither before both have asked, so that both write at the same time."""
    file = server.file("together")
    processes = [fetch_in_a_new_process(file) for _ in range(2)]
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert output.split()[-1] == SHA256
    assert server.requests == 2
    assert os.listdir(cache) == ["data.bin"]
    assert (cache / "data.bin").read_bytes() == CONTENT


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a process that can be killed outright")
def test_a_killed_process_leaves_no_half_file(server, cache):
    with fetch_in_a_new_process(server.file("stalled")) as process:
        assert server.half_sent.wait(timeout=120)
        process.kill()
    assert not (cache / "data.bin").exists()
    assert _download.fetch(server.file("good")).read_bytes() == CONTENT


def test_an_interruption_leaves_no_file(server, cache, monkeypatch):
    def interrupted(name, origin, cache_subdir):
        with open(os.path.join(cache_subdir, name), "wb") as half:
            half.write(CONTENT[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.utils, "get_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _download.fetch(server.file("good"))
    assert os.listdir(cache) == []


def test_a_full_disk_says_where(server, cache, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(keras.utils, "get_file", full)
    with pytest.raises(OSError, match=rf"could not be written to {cache} .*No space left.*KERAS_HOME"):
        _download.fetch(server.file("good"))
    assert os.listdir(cache) == []


def test_a_cache_that_cannot_be_made_says_so(server, tmp_path, monkeypatch):
    (tmp_path / "a_file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "a_file" / "home"))
    with pytest.raises(OSError, match=r"data.bin could not be written to .*KERAS_HOME"):
        _download.fetch(server.file("good"))
    assert server.requests == 0


def test_kphys_data_is_looked_at_first(server, tmp_path, monkeypatch):
    monkeypatch.setenv("KPHYS_DATA", str(tmp_path))
    (tmp_path / "data.bin").write_bytes(CONTENT)
    assert _download.fetch(server.file("good")) == tmp_path / "data.bin"
    (tmp_path / "other.bin").write_bytes(b"part")
    part = _download.RemoteFile("data.bin", "", SHA256, "other.bin", hashlib.sha256(b"part").hexdigest())
    assert _download.fetch(part) == tmp_path / "other.bin"
    assert server.requests == 0


def test_a_file_that_kphys_data_lacks_is_downloaded(server, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("KPHYS_DATA", str(tmp_path))
    assert _download.fetch(server.file("good")) == cache / "data.bin"


def test_a_wrong_file_in_kphys_data_is_refused_and_left_alone(server, tmp_path, monkeypatch):
    monkeypatch.setenv("KPHYS_DATA", str(tmp_path))
    (tmp_path / "data.bin").write_bytes(b"something else")
    with pytest.raises(ValueError, match=rf"data.bin has the sha256 .* expected {SHA256}: replace the file"):
        _download.fetch(server.file("good"))
    assert (tmp_path / "data.bin").read_bytes() == b"something else"
    assert server.requests == 0


def test_kphys_data_must_be_a_folder(server, tmp_path, monkeypatch):
    monkeypatch.setenv("KPHYS_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"`KPHYS_DATA` must name a folder"):
        _download.fetch(server.file("good"))


def test_addresses_are_pinned_to_a_commit():
    from kphys.datasets import cms_zmumu, sunspots, tinyshakespeare

    for module in (cms_zmumu, sunspots, tinyshakespeare):
        host, commit = "https://raw.githubusercontent.com/", module.FILE.url.split("/")[5]
        assert module.FILE.url.startswith(host)
        assert len(commit) == 40
        assert len(module.FILE.sha256) == 64
