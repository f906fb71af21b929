"""Folders by name: downloaded from a local server that speaks the Hub's protocol, cached, and clear errors."""

import http.server
import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tinygpt.pretrained import read_folder, resolve_folder, write_safetensors

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = {"model_type": "gpt2", "vocab_size": 5, "n_positions": 3, "n_layer": 0, "n_head": 1, "n_embd": 2}
TENSORS = {"wte.weight": np.ones((5, 2), np.float32), "wpe.weight": np.ones((3, 2), np.float32),
           "ln_f.weight": np.ones(2, np.float32), "ln_f.bias": np.zeros(2, np.float32)}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Serves the folder tmp_path/served as the repository somebody/model; yields (folder, list of requests)."""
    constants = pytest.importorskip("huggingface_hub.constants")
    served, requests = tmp_path / "served", []
    served.mkdir()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            requests.append((self.command, self.path))
            prefix = "/somebody/model/resolve/"
            name = self.path.removeprefix(prefix).partition("/")[2]
            file = served / name
            found = self.path.startswith(prefix) and name and file.is_file()
            body = file.read_bytes() if found else b""
            self.send_response(200 if found else 404)
            if not found:
                self.send_header("X-Error-Code", "EntryNotFound" if self.path.startswith(prefix) else "RepoNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hash(body) & 0xffffffff:x}"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_HEAD

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    yield served, requests
    server.shutdown()
    server.server_close()
    thread.join()


def test_one_file(hub):
    served, requests = hub
    (served / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (served / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    (served / "pytorch_model.bin").write_bytes(b"a pickle")
    write_safetensors(served / "model.safetensors", TENSORS)
    folder = resolve_folder("somebody/model")
    fields, state = read_folder(folder)
    assert fields["n_embd"] == 2 and np.array_equal(state["token_embedding.weight"], TENSORS["wte.weight"])
    assert (folder / "merges.txt").is_file()
    assert not any("pytorch_model.bin" in path for _, path in requests)
    downloads = sum(method == "GET" for method, _ in requests)
    assert resolve_folder("somebody/model") == folder
    assert sum(method == "GET" for method, _ in requests) == downloads      # the second time from the cache


def test_shards(hub):
    served, _ = hub
    (served / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    files = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(TENSORS)}
    for file in set(files.values()):
        write_safetensors(served / file, {name: TENSORS[name] for name in TENSORS if files[name] == file})
    (served / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}), encoding="utf-8")
    assert len(read_folder(resolve_folder("somebody/model"))[1]) == 4


def test_a_repository_that_is_not_there(hub):
    with pytest.raises(FileNotFoundError, match="no folder 'nobody/model'.*Hub has no such model"):
        resolve_folder("nobody/model")


def test_a_repository_without_safetensors(hub):
    served, _ = hub
    (served / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="safetensors"):
        resolve_folder("somebody/model")


def test_a_hub_out_of_reach(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="cannot be reached"):
        resolve_folder("somebody/model")


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'tinygpt\[hub\]'"):
        resolve_folder("somebody/model")


def test_a_folder_is_itself(tmp_path):
    assert resolve_folder(tmp_path) == tmp_path


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "../x/y", "/tmp/none", "a b/c"])
def test_neither_folder_nor_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no model folder"):
        resolve_folder(name)


def test_no_name_is_the_current_folder():
    assert resolve_folder("") == Path(".")
