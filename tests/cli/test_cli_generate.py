"""`tinygpt generate`: prompt and continuation on stdout, and what goes wrong in one line on stderr."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command import command, error_line

from tinygpt.backend import cuda_available, manual_seed
from tinygpt.models import BERT, BERTConfig, GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE, CharTokenizer

TEXT = "the quick brown fox jumps over the lazy dog\n" * 4


def saved(folder: Path, tokenizer) -> Path:
    manual_seed(1)
    GPT(GPTConfig(vocab_size=len(tokenizer), block_size=24, n_layer=1, n_head=2, n_embd=8, initializer_range=0.3,
                  eos_token_id=tokenizer.eos_token_id)).save_pretrained(folder, tokenizer)
    return folder


@pytest.fixture(scope="module")
def char(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("char"), CharTokenizer.train(TEXT))


@pytest.fixture(scope="module")
def bpe(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("bpe"), ByteBPE.train(TEXT, vocab_size=280, special_tokens=["<|endoftext|>"]))


@pytest.mark.parametrize("model", ["char", "bpe"])
def test_prompt_and_continuation_and_nothing_else(capsys, request, model):
    folder = request.getfixturevalue(model)
    done = command(capsys, "generate", "--model", folder, "--prompt", "the fox", "--seed", 1, "--max-new-tokens", 40)
    assert done.code == 0 and done.err == "" and done.out.startswith("the fox") and len(done.out) > 9
    again = command(capsys, "generate", "--model", folder, "--prompt", "the fox", "--seed", 1, "--max-new-tokens", 40)
    other = command(capsys, "generate", "--model", folder, "--prompt", "the fox", "--seed", 2, "--max-new-tokens", 40)
    assert again.out == done.out != other.out


def test_the_text_is_what_the_library_generates(capsys, char):
    model, tok = GPT.from_pretrained(char), CharTokenizer.load(char)
    ids = tok.encode("the ")
    for options, arguments in (({"temperature": 0.0}, ["--temperature", 0]),
                               ({"temperature": 0.8, "seed": 3}, ["--seed", 3]),
                               ({"temperature": 2.0, "seed": 3, "top_k": 4, "top_p": 0.9, "min_p": 0.05,
                                 "repetition_penalty": 1.3},
                                ["--temperature", 2, "--seed", 3, "--top-k", 4, "--top-p", 0.9, "--min-p", 0.05,
                                 "--repetition-penalty", 1.3])):
        expected = tok.decode(model.generate([ids], 50, **options)[0].tolist())
        done = command(capsys, "generate", "--model", char, "--prompt", "the ", "--max-new-tokens", 50, *arguments)
        assert done.out == expected + "\n"


def test_a_template_may_begin_the_prompt_but_not_end_it(capsys, tmp_path):
    tok = ByteBPE.train(TEXT, vocab_size=280, special_tokens=["<s>", "</s>"])
    tok.set_template(["<s>"], ["</s>"])
    folder = saved(tmp_path, tok)
    model, ids = GPT.from_pretrained(folder), [tok.token_id("<s>"), *tok.encode("the fox", add_special_tokens=False)]
    new = model.generate([ids], 20, temperature=0.0)[0, len(ids):]
    done = command(capsys, "generate", "--model", folder, "--prompt", "the fox", "--temperature", 0,
                   "--max-new-tokens", 20)
    assert done.out == "the fox" + tok.decode(new) + "\n"


def test_no_new_tokens_and_stop_texts(capsys, char):
    def run(*arguments):
        return command(capsys, "generate", "--model", char, "--prompt", "the ", "--temperature", 0, *arguments).out

    assert run("--max-new-tokens", 0) == "the \n"
    free = run("--max-new-tokens", 20)[4:-1]
    stop = free[5:7]
    assert run("--max-new-tokens", 20, "--stop", "never", "--stop", stop) == f"the {free[:free.index(stop)]}\n"


def test_the_prompt_may_come_from_standard_input(capsys, char, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("lazy\n"))
    done = command(capsys, "generate", "--model", char, "--prompt", "-", "--max-new-tokens", 1)
    assert done.code == 0 and done.out.startswith("lazy\n") and len(done.out) == 7


def test_an_empty_prompt_begins_a_text_where_there_is_a_token_for_that(capsys, char, bpe):
    done = command(capsys, "generate", "--model", bpe, "--prompt", "", "--seed", 0, "--max-new-tokens", 5)
    assert done.code == 0 and done.err == ""
    assert "the prompt is empty" in error_line(command(capsys, "generate", "--model", char, "--prompt", ""))


def test_a_long_prompt_may_be_cropped(capsys, char):
    prompt = "the quick brown fox jumps over the lazy dog"
    done = command(capsys, "generate", "--model", char, "--prompt", prompt, "--crop", "--max-new-tokens", 2)
    assert done.code == 0 and done.out.startswith(prompt) and len(done.out) == len(prompt) + 3
    assert done.err == ("tinygpt: warning: the prompt has 43 tokens, but the model's context holds 24: the model sees "
                        "only the last 24 of them\n")


@pytest.mark.parametrize("arguments, message", [
    (["--prompt", "the Ω and ß"], "lacks the characters 'ß', 'Ω'"),
    (["--prompt", "a\udcff"], "lacks the character"),
    (["--prompt", "the quick brown fox jumps over"], "the prompt has 30 tokens, but the model's context holds 24"),
    (["--prompt", "a", "--temperature", -1], "temperature is -1.0"),
    (["--prompt", "a", "--temperature", "nan"], "temperature is nan"),
    (["--prompt", "a", "--top-k", -1], "top_k is -1"),
    (["--prompt", "a", "--top-p", 1.5], "top_p is 1.5"),
    (["--prompt", "a", "--min-p", -0.1], "min_p is -0.1"),
    (["--prompt", "a", "--repetition-penalty", 0], "repetition_penalty is 0.0"),
    (["--prompt", "a", "--max-new-tokens", -1], "max_new_tokens is -1"),
    (["--prompt", "a", "--seed", -1], "--seed must be at least 0, got -1"),
    (["--prompt", "a", "--stop", ""], "a stop string is empty"),
    (["--prompt", "a", "--device", "tpu"], "unknown device 'tpu'"),
])
def test_bad_prompts_and_settings(capsys, char, arguments, message):
    assert message in error_line(command(capsys, "generate", "--model", char, *arguments))


@pytest.mark.skipif(cuda_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(capsys, char):
    assert 'device "cuda" was asked for' in error_line(
        command(capsys, "generate", "--model", char, "--prompt", "a", "--device", "cuda"))


def damaged(change):
    def apply(folder: Path) -> None:
        path = folder / change[0]
        if change[1] is None:
            path.unlink()
        else:
            path.write_bytes(change[1](path.read_bytes()))
    return apply


@pytest.mark.parametrize("change, message", [
    (("tokenizer.json", None), "tokenizer.json"),
    (("tokenizer.json", lambda content: content[:100]), "tokenizer.json"),
    (("config.json", None), "config.json"),
    (("config.json", lambda content: b"{"), "config.json"),
    (("config.json", lambda content: b"[]"), "config.json"),
    (("config.json", lambda content: content.replace(b'"gpt2"', b'"mamba"')), "mamba"),
    (("model.safetensors", None), "model.safetensors"),
    (("model.safetensors", lambda content: content[:-50]), "is not a valid safetensors file"),
    (("model.safetensors", lambda content: b""), "is not a valid safetensors file"),
    (("model.safetensors", lambda content: b"GGUF" * 50), "is not a valid safetensors file"),
])
def test_a_folder_that_is_damaged(capsys, char, tmp_path, change, message):
    folder = Path(shutil.copytree(char, tmp_path / "model"))
    damaged(change)(folder)
    line = error_line(command(capsys, "generate", "--model", folder, "--prompt", "a"))
    assert message in line and "Errno" not in line


def test_folders_that_hold_no_decoder(capsys, tmp_path, char):
    assert "no folder" in error_line(command(capsys, "generate", "--model", tmp_path / "nowhere", "--prompt", "a"))
    assert "no tokenizer.json" in error_line(command(capsys, "generate", "--model", tmp_path, "--prompt", "a"))
    tok = CharTokenizer.load(char)
    BERT(BERTConfig(vocab_size=len(tok), block_size=8, n_layer=1, n_head=1, n_embd=4)).save_pretrained(tmp_path, tok)
    assert "holds a BERT, which does not continue texts" in error_line(
        command(capsys, "generate", "--model", tmp_path, "--prompt", "a"))


def test_the_tokenizer_of_another_model(capsys, char, bpe, tmp_path):
    folder = Path(shutil.copytree(char, tmp_path / "mixed"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(bpe / name, folder)
    line = error_line(command(capsys, "generate", "--model", folder, "--prompt", "zzz"))
    assert "the tokenizer in" in line and "is of another model" in line


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_and_a_full_disk(char, unbuffered):
    def run(**streams):
        return subprocess.Popen([sys.executable, "-m", "tinygpt", "generate", "--model", str(char), "--prompt", "the ",
                                 "--seed", "1"], stderr=subprocess.PIPE,
                                env=os.environ | {"PYTHONUNBUFFERED": unbuffered}, **streams)

    process = run(stdout=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(60) == 0
    process.stderr.close()
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w", encoding="utf-8") as full:
        process = run(stdout=full)
        _, err = process.communicate(timeout=60)
    assert err.startswith(b"tinygpt: error: No space left on device") and err.count(b"\n") == 1
    assert process.returncode == 1
