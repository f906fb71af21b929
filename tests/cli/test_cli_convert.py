"""`tinygpt convert`: a folder that opens as the model did, what it is in words, and errors in one line."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from command import command, error_line

from tinygpt.models import GPT, GPTConfig, load_model
from tinygpt.tokenizers import CharTokenizer, load_tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "pretrained"))
from gguf_writer import gguf, tiny_llama  # noqa: E402


@pytest.fixture
def saved(tmp_path):
    tokenizer = CharTokenizer.train("to be or not to be")
    tokenizer.chat_template = "{{ messages }}"
    config = GPTConfig(vocab_size=len(tokenizer), block_size=8, n_layer=1, n_head=2, n_embd=8, architecture="llama",
                       n_kv_head=1)
    GPT(config).save_pretrained(tmp_path / "model", tokenizer)
    return tmp_path / "model"


@pytest.mark.parametrize("option", [[], ["--out"]])
def test_a_folder_becomes_a_folder(capsys, saved, tmp_path, option):
    (saved / "README.md").write_text("---\ntags: x\nlicense: mit\n---\n# A model\n", encoding="utf-8")
    done = command(capsys, "convert", saved, *option, tmp_path / "out")
    assert done.code == 0 and done.err == ""
    first, again = load_model(saved), load_model(tmp_path / "out")
    for name, array in first.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)
    assert load_tokenizer(tmp_path / "out").chat_template == "{{ messages }}"
    lines = {line[:13].strip(): line[14:] for line in done.out.splitlines()}
    assert lines["architecture"] == f"llama, {first.n_parameters:,} parameters"
    assert "1 blocks, 2 heads (1 of keys and values), 8 channels" in lines["sizes"]
    assert lines["tokenizer"] == f"CharTokenizer of {len(load_tokenizer(saved))} tokens"
    assert (lines["template"], lines["licence"]) == ("a chat template of 14 characters", "mit")
    assert lines["written"] == str(tmp_path / "out")


def test_what_is_not_there_is_said(capsys, saved, tmp_path):
    (saved / "tokenizer.json").unlink()
    done = command(capsys, "convert", saved, tmp_path / "out")
    assert done.code == 0 and "tokenizer     none that is read\n" in done.out and "no tokenizer.json" in done.out
    assert "template      none\n" in done.out and "licence       not stated\n" in done.out


def test_nothing_is_overwritten(capsys, saved):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    assert "holds a model, which is not overwritten" in error_line(command(capsys, "convert", saved, saved))
    assert before == {path.name: path.read_bytes() for path in saved.iterdir()}


def test_errors_in_one_line(capsys, saved, tmp_path):
    assert "give one folder" in error_line(command(capsys, "convert", saved))
    assert "give one folder" in error_line(command(capsys, "convert", saved, tmp_path / "a", "--out", tmp_path / "b"))
    assert "no model folder" in error_line(command(capsys, "convert", tmp_path / "nowhere", tmp_path / "a"))
    (tmp_path / "m.gguf").write_bytes(gguf(n_settings=1 << 60))
    for arguments in (["convert", tmp_path / "m.gguf", tmp_path / "a"],
                      ["generate", "--model", tmp_path / "m.gguf", "--prompt", "x"],
                      ["chat", "--model", tmp_path / "m.gguf"]):
        assert "is not a valid GGUF file" in error_line(command(capsys, *arguments))


def test_a_gguf_file_in_every_command(capsys, tmp_path):
    model = tiny_llama(tmp_path / "m.gguf")
    done = command(capsys, "generate", "--model", model, "--prompt", "a b", "--max-new-tokens", 3, "--seed", 1)
    assert done.code == 0 and done.out.startswith("a b")
    (tmp_path / "x.txt").write_text("one two\n" * 30, encoding="utf-8")
    assert command(capsys, "evaluate", "--model", model, "--data", tmp_path / "x.txt").code == 0
    rows = [{"instruction": f"say {i}", "output": f"{i}"} for i in range(12)]
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    tuned = ["finetune", "--task", "instruction", "--model", model, "--data", tmp_path / "rows.json", "--steps", 2,
             "--threads", 1, "--batch-size", 2]
    done = command(capsys, *tuned, "--out", tmp_path / "tuned")
    assert done.code == 0 and load_model(tmp_path / "tuned").config.architecture == "llama"
    done = command(capsys, *tuned, "--lora", 2, "--out", tmp_path / "lora")
    assert done.code == 0 and isinstance(load_model(tmp_path / "lora"), GPT)
    done = command(capsys, "convert", model, tmp_path / "folder")
    assert done.code == 0 and "licence       cc0\n" in done.out and "weights       F32, written as F32\n" in done.out
    for name, array in load_model(model).state_dict().items():
        np.testing.assert_array_equal(load_model(tmp_path / "folder").state_dict()[name], array)
    assert load_tokenizer(tmp_path / "folder").encode("a b") == load_tokenizer(model).encode("a b")
