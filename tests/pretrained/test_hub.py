"""Folders by name: downloaded from a local server that speaks the Hub's protocol, cached, and clear errors."""

import http.server
import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from gguf_writer import gguf

from tinygpt.cli import main
from tinygpt.models import GPT, GPTConfig, load_model
from tinygpt.pretrained import read_folder, resolve_folder, resolve_tokenizer, write_safetensors
from tinygpt.tokenizers import ByteBPE, load_tokenizer

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
            if self.path.startswith("/api/models/somebody/model"):
                names = [path.relative_to(served).as_posix() for path in served.rglob("*") if path.is_file()]
                body = json.dumps({"id": "somebody/model", "sha": COMMIT, "private": False, "downloads": 0, "tags": [],
                                   "siblings": [{"rfilename": name} for name in names]}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                return
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


@pytest.fixture
def whole(hub):
    """A repository with a model, a tokenizer, and what stands beside it."""
    served, requests = hub
    tokenizer = ByteBPE.train("to be or not to be", 260, special_tokens=["<|endoftext|>"])
    GPT(GPTConfig(vocab_size=262, block_size=16, n_layer=1, n_head=2, n_embd=8)).save_pretrained(served, tokenizer)
    (served / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    (served / "added_tokens.json").write_text(json.dumps({"<|more|>": 261}), encoding="utf-8")
    return served, requests


def test_a_tokenizer_by_name_without_the_weights(whole):
    _, requests = whole
    tokenizer = load_tokenizer("somebody/model")
    assert tokenizer.chat_template == "{{ messages }}" and tokenizer.special_tokens.keys() >= {"<|endoftext|>"}
    assert tokenizer.encode("a<|more|>")[-1] == 261
    assert not [path for _, path in requests if "safetensors" in path]


def test_a_name_in_a_command_and_offline_from_the_cache(whole, monkeypatch, capsys):
    served, _ = whole
    arguments = ["generate", "--model", "somebody/model", "--prompt", "to be", "--max-new-tokens", "2", "--seed", "1"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert load_model("somebody/model").config == load_model(served).config
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(arguments) == 0 and capsys.readouterr().out == first
    assert resolve_tokenizer("somebody/model") == resolve_folder("somebody/model")


def test_a_repository_of_one_gguf_file(hub, monkeypatch):
    served, requests = hub
    (served / "m.gguf").write_bytes(gguf({"a": 1}))
    (served / "mmproj-m.gguf").write_bytes(gguf())
    path = resolve_folder("somebody/model")
    assert path.name == "m.gguf" and path == resolve_tokenizer("somebody/model")
    assert path.read_bytes() == gguf({"a": 1})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert resolve_folder("somebody/model") == path
    assert not any("mmproj" in name for _, name in requests)


def test_a_repository_of_several_gguf_files(hub):
    served, _ = hub
    (served / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (served / "sub").mkdir()
    for name in ("m-Q8_0.gguf", "sub/m-Q4_0.gguf"):
        (served / name).write_bytes(gguf({"name": name}))
    with pytest.raises(ValueError, match="several GGUF files; name one of them, as somebody/model/m-Q8_0.gguf"):
        resolve_folder("somebody/model")
    assert resolve_folder("somebody/model/sub/m-Q4_0.gguf").read_bytes() == gguf({"name": "sub/m-Q4_0.gguf"})
    with pytest.raises(FileNotFoundError, match="the Hugging Face Hub has no such model"):
        load_tokenizer("somebody/model/other.gguf")


def test_no_tokenizer(hub):
    with pytest.raises(FileNotFoundError, match="Hub has no such model"):
        load_tokenizer("somebody/model")


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
