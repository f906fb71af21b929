"""`tinygpt tokenizer train|encode|decode|inspect`."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from command import command, error_line

from tinygpt.tokenizers import ByteBPE, CharTokenizer, load_tokenizer

TEXT = "the cat sat on the mat. the end: caféß 日本 <|endoftext|>\n" * 20


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path):
    ByteBPE.train(TEXT, 280, ["<|endoftext|>", "<s>"]).save(tmp_path / "bpe")
    return tmp_path / "bpe"


@pytest.fixture
def stdin(monkeypatch):
    """Give the command something on standard input."""
    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
    return give


def test_train_writes_what_the_library_learns(capsys, tmp_path, text_file):
    done = command(capsys, "tokenizer", "train", "--data", text_file, "--out", tmp_path / "new" / "out", "--vocab-size",
                   280)
    size = len(TEXT.encode())
    assert done.code == 0 and done.err == ""
    assert re.fullmatch(rf"280 tokens from {size:,} bytes in \d+\.\d s, written to .*out\n", done.out)
    tok = load_tokenizer(tmp_path / "new" / "out")
    assert tok.merges == ByteBPE.train(TEXT, 280, ["<|endoftext|>"]).merges
    assert tok.special_tokens == {"<|endoftext|>": 279}


def test_train_with_every_option(capsys, tmp_path, text_file):
    done = command(capsys, "tokenizer", "train", "--data", text_file, text_file, "--out", tmp_path / "out",
                   "--vocab-size", 9000, "--pattern", "o200k", "--special-tokens", "<s>", "</s>", "--min-frequency", 3)
    assert done.code == 0 and "(of 9,000: the text holds no more pairs)" in done.out
    tok = load_tokenizer(tmp_path / "out")
    assert tok.pattern == "o200k" and list(tok.special_tokens) == ["<s>", "</s>"]
    done = command(capsys, "tokenizer", "train", "--data", text_file, "--out", tmp_path / "char", "--tokenizer", "char")
    assert done.code == 0
    tok = load_tokenizer(tmp_path / "char")
    assert isinstance(tok, CharTokenizer) and set(tok.characters) == set(TEXT) and not tok.special_tokens


def test_train_on_standard_input_and_on_nothing(capsys, tmp_path, stdin):
    stdin(TEXT.encode())
    done = command(capsys, "tokenizer", "train", "--data", "-", "--out", tmp_path / "out", "--vocab-size", 280)
    assert done.code == 0
    assert load_tokenizer(tmp_path / "out").n_vocab == 280


@pytest.mark.parametrize("arguments, says", [
    (["--vocab-size", 256], "256 bytes and 1 special token alone need 257"), (["--pattern", "("], "pattern"),
    (["--special-tokens", "<s>", "<s>"], "given twice"), (["--vocab-size", "many"], "many"),
])
def test_train_refuses(capsys, tmp_path, text_file, arguments, says):
    done = command(capsys, "tokenizer", "train", "--data", text_file, "--out", tmp_path / "out", *arguments)
    assert says in error_line(done) and not (tmp_path / "out").exists()


def test_train_refuses_what_it_cannot_read_or_would_damage(capsys, tmp_path, text_file):
    train = ["tokenizer", "train", "--out", tmp_path / "out"]
    assert "nowhere" in error_line(command(capsys, *train, "--data", tmp_path / "nowhere.txt"))
    (tmp_path / "empty.txt").write_bytes(b"")
    assert "empty" in error_line(command(capsys, *train, "--data", tmp_path / "empty.txt"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("{}", encoding="utf-8")
    assert "holds a model" in error_line(command(capsys, *train, "--data", text_file))
    assert "is the file" in error_line(command(capsys, "tokenizer", "train", "--data", text_file, "--out", text_file))


def test_encode_and_decode_are_inverse(capsys, folder, stdin):
    tok, text = load_tokenizer(folder), "the  café\r\n日本 <|endoftext|>\n"
    stdin(text.encode())
    done = command(capsys, "tokenizer", "encode", "--tokenizer", folder)
    assert done == (0, " ".join(map(str, tok.encode(text))) + "\n", "")
    stdin(done.out.encode())
    assert command(capsys, "tokenizer", "decode", "--tokenizer", folder) == (0, text, "")
    ids = str(tok.encode("the cat"))  # as Python prints a list
    assert command(capsys, "tokenizer", "decode", "--model", folder, ids).out == "the cat"
    assert command(capsys, "tokenizer", "encode", "--model", folder, "the", "cat").out.split() == [
        str(i) for i in tok.encode("the cat")]


def test_decode_gives_the_very_bytes(folder):
    tok = load_tokenizer(folder)
    broken = tok.vocab[b"\xe6"]
    done = subprocess.run([sys.executable, "-m", "tinygpt", "tokenizer", "decode", "--tokenizer", str(folder),
                           str(broken)], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\xe6", b"")


def test_special_tokens(capsys, folder):
    tok = load_tokenizer(folder)
    tok.set_template(["<s>"])
    tok.save(folder)
    eot, start = tok.token_id("<|endoftext|>"), tok.token_id("<s>")

    def encode(*arguments):
        done = command(capsys, "tokenizer", "encode", "--tokenizer", folder, *arguments)
        return [int(word) for word in done.out.split()]

    assert encode("a<|endoftext|>") == tok.encode("a<|endoftext|>")
    assert encode("a<|endoftext|>", "--allow-special") == [start, *tok.encode("a", False), eot]
    assert encode("a", "--no-special-tokens") == tok.encode("a", False)
    decode = ["tokenizer", "decode", "--tokenizer", folder, start, *tok.encode("a", False), eot]
    assert command(capsys, *decode).out == "<s>a<|endoftext|>"
    assert command(capsys, *decode, "--skip-special-tokens").out == "a"


@pytest.mark.parametrize("ids, says", [(["3", "x"], "'x' is no token id"), (["99999"], "99999"), (["3.5"], "3.5"),
                                       (["--", "-1"], "'-1'")])
def test_decode_refuses(capsys, folder, ids, says):
    assert says in error_line(command(capsys, "tokenizer", "decode", "--tokenizer", folder, *ids))


def test_input_that_is_no_text(capsys, folder, stdin, tmp_path):
    stdin(b"caf\xe9")
    assert "not UTF-8" in error_line(command(capsys, "tokenizer", "encode", "--tokenizer", folder))
    CharTokenizer.train("abc").save(tmp_path / "char")
    assert "'x'" in error_line(command(capsys, "tokenizer", "encode", "--tokenizer", tmp_path / "char", "xa"))
    assert "no folder" in error_line(command(capsys, "tokenizer", "encode", "--tokenizer", tmp_path / "nowhere", "a"))
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert "tokenizer.json" in error_line(command(capsys, "tokenizer", "inspect", "--tokenizer", tmp_path, "a"))


def test_inspect(capsys, folder):
    tok, text = load_tokenizer(folder), "the cat\n日"
    done = command(capsys, "tokenizer", "inspect", "--tokenizer", folder, text)
    lines = done.out.splitlines()
    assert done.code == 0 and "\x1b" not in done.out
    assert [int(word) for word in lines[1].split()] == tok.encode(text) and lines[0].startswith("the")
    size = len(text.encode())
    n = len(tok.encode(text))
    assert f"9 characters, {size} bytes, {n} tokens ({n} different): {size / n:.2f} bytes per token" in lines
    assert any(line.startswith("longest tokens here:") for line in lines)
    assert "ByteBPE of 280 tokens, split by gpt2" in lines
    assert "special tokens: <|endoftext|> 278, <s> 279" in lines


def test_inspect_in_colour_and_cut_short(capsys, folder):
    done = command(capsys, "tokenizer", "inspect", "--tokenizer", folder, "--color", "always", "--show", 2,
                   "the cat sat.")
    assert "\x1b[30;48;5;" in done.out and re.search(r"… and \d+ more tokens", done.out)


def test_inspect_never_lets_the_text_speak_to_the_terminal(capsys, folder):
    done = command(capsys, "tokenizer", "inspect", "--tokenizer", folder, "a\x1b[2J\x07\u202eb")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", done.out)


def test_inspect_without_a_text_shows_the_vocabulary(capsys, folder, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    done = command(capsys, "tokenizer", "inspect", "--tokenizer", folder)
    assert done.code == 0 and "characters" not in done.out and done.out.startswith("ByteBPE of 280 tokens")
