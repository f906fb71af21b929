"""Example 42 with answers that are known: what is counted as right, for which question, and by which score."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinygpt
from tinygpt.data.chat_template import add_chat_template
from tinygpt.models import BERT, GPT, BERTConfig, GPTConfig
from tinygpt.tokenizers import CharTokenizer

PATH = Path(__file__).resolve().parents[2] / "examples/42_reasoning.py"
SPEC = importlib.util.spec_from_file_location("reasoning_example", PATH)
assert SPEC is not None and SPEC.loader is not None
EXAMPLE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(EXAMPLE)


@pytest.fixture
def folder(tmp_path):
    tokenizer = add_chat_template(CharTokenizer.train("What is plus? 0123456789+=;\n"))
    tinygpt.manual_seed(0)
    GPT(GPTConfig(vocab_size=len(tokenizer), block_size=128, n_layer=1, n_head=1, n_embd=8, architecture="llama",
                  eos_token_id=tokenizer.eos_token_id)).save_pretrained(tmp_path, tokenizer)
    return tmp_path


def test_sums_are_right_and_kept_apart() -> None:
    train, test = (EXAMPLE.sums(300, 2, part, 0) for part in ("train", "test"))
    assert len(train) == len(test) == 300
    assert not {frozenset(pair) for pair in train} & {frozenset(pair) for pair in test}
    assert all(10 <= number < 100 for pair in train + test for number in pair)
    assert EXAMPLE.worked(345, 278) == "5 + 8 = 13; 40 + 70 = 110; 300 + 200 = 500; 623"
    assert all(EXAMPLE.worked(a, b).endswith(f"; {a + b}") for a, b in train)


@pytest.mark.parametrize("best", [0, 3])
def test_known_answers_give_known_figures(best: int, folder, monkeypatch, capsys) -> None:
    """Of four answers to the first question two are right, one is wrong, one is right but does not end; to the second
    none is right."""
    def answers(model, template, prompts, n, args, temperature):
        (a, b), (c, d) = EXAMPLE.sums(2, 2, "test", 0)
        end, encode = [template.end_id], template.tokenizer.encode
        if temperature == 0:
            return [encode(f"{a + b}") + end, encode(f"{c + d + 1}") + end]
        return [encode(f"{a} + {b} = {a + b}") + end, encode(f"{a + b + 1}") + end, encode(f"0; {a + b}") + end,
                encode(f"{a + b}"), *[encode(f"{c + d + 2}") + end] * 4]

    def score(model, pairs, sizes):
        assert sizes == [4, 4] and [prompt == pairs[0][0] for prompt, _ in pairs] == [True] * 4 + [False] * 4
        return np.array([len(row) * (1.0 if place % 4 == best else 2.0) for place, (_, row) in enumerate(pairs)]), None

    monkeypatch.setattr(EXAMPLE, "answers", answers)
    monkeypatch.setattr(EXAMPLE, "score_continuations", score)
    found = EXAMPLE.main(["--model", str(folder), "--digits", "2", "--questions", "2", "--samples", "4"])
    assert found["pass@k"] == pytest.approx([0.25, 5 / 12, 0.5])  # 1 − C(2, 2) / C(4, 2) for the first question
    assert found["majority"] == pytest.approx([0.25, 4 / 12, 0.5])  # of pairs, all but (wrong, …): 4 of 6
    assert found["best of k"][2] == (0.5 if best == 0 else 0.0)  # the likeliest of four does not end
    assert "greedy: 50.0% (" in capsys.readouterr().out


def test_an_encoder_is_one_line(tmp_path, capsys) -> None:
    tokenizer = add_chat_template(CharTokenizer.train("abc"))
    BERT(BERTConfig(vocab_size=len(tokenizer), block_size=16, n_layer=1, n_head=1, n_embd=8)).save_pretrained(
        tmp_path, tokenizer)
    with pytest.raises(SystemExit) as stopped:
        EXAMPLE.main(["--model", str(tmp_path)])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count("\n") == 1 and "expected a decoder that chats" in error
