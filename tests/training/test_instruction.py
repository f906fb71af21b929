"""Fine-tuning on instructions: turn tokens and their rows, what is learnt and kept, and the figures."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import tinygpt
from tinygpt.chat import Chat
from tinygpt.data.chat_template import chat_template
from tinygpt.models import BERT, GPT, BERTConfig, GPTConfig, load_model
from tinygpt.tokenizers import ByteBPE, CharTokenizer, load_tokenizer
from tinygpt.training import FinetuneOptions, finetune

PAIRS = [(f"a in {word}?", "yes" if "a" in word else "no")
         for word in map("".join, itertools.product("abcd", repeat=2))]
SMALL = dict(task="instruction", tokenizer="char", n_layer=1, n_head=2, n_embd=16, block_size=48, threads=1,
             batch_size=8)


def written(folder: Path, pairs=PAIRS) -> str:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps({"instruction": a, "output": b}) + "\n" for a, b in pairs), encoding="utf-8")
    return str(path)


def run(out: Path, log: io.StringIO | None = None, **options):
    return finetune(FinetuneOptions(**options), out, stream=log or io.StringIO())


def test_a_new_model_learns_answers(tmp_path):
    """Held-out questions of a simple rule are answered, and a chat with the folder answers them as well."""
    log = io.StringIO()
    result = run(tmp_path / "out", log, data=(written(tmp_path),), steps=120, lr=1e-2, validation=0.2, seed=1,
                 patience=0, **SMALL)
    assert result.validation["validation_loss"] < result.before["validation_loss"] / 4
    assert set(result.validation) == {"validation_loss", "exact_match"} and result.validation["exact_match"] == 1
    text = log.getvalue()
    assert "13 training and 3 validation conversations" in text
    assert " tokens/s" in text and "conversations/s" not in text  # the loss is that of tokens, and so is the speed
    assert "training tokens are the assistant's: these are learnt" in text and "?<|end|><|assistant|>" in text
    figures = json.loads((tmp_path / "out" / "validation.json").read_text())
    assert figures["n_asked"] == 3 and figures["exact_match"] == 1
    assert (tmp_path / "out" / "sample.txt").read_text().count("<|user|>a in ") == 3
    model, tok = load_model(tmp_path / "out"), load_tokenizer(tmp_path / "out")
    assert model.config.eos_token_id == tok.eos_token_id == chat_template(tok).end_id == tok.token_id("<|end|>")
    right = sum("".join(Chat(model, tok, temperature=0.0, max_new_tokens=10).ask(a)) == b for a, b in PAIRS)
    assert right >= 15


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    """A model without turn tokens, whose vocabulary has more rows than its tokenizer tokens."""
    folder = tmp_path_factory.mktemp("pretrained")
    tok = ByteBPE.train("a in ab? a in ac?", vocab_size=260, special_tokens=["<|endoftext|>"])
    tinygpt.manual_seed(0)
    GPT(GPTConfig(vocab_size=262, block_size=64, n_layer=2, n_head=2, n_embd=16,
                  eos_token_id=tok.eos_token_id)).save_pretrained(folder, tok)
    return folder


FROM = dict(task="instruction", threads=1, batch_size=8, validation=0.2, patience=0)


def test_a_model_that_is_there_gets_rows_for_turns(pretrained, tmp_path):
    run(tmp_path / "out", model=str(pretrained), data=(written(tmp_path),), steps=0, **FROM)
    old, new = load_model(pretrained), load_model(tmp_path / "out")
    tok = load_tokenizer(tmp_path / "out")
    assert len(tok) == new.config.vocab_size == 264 and new.config.eos_token_id == tok.token_id("<|end|>")
    ids = np.array([tok.encode("a in ab?")])
    assert ids.tolist()[0] == load_tokenizer(pretrained).encode("a in ab?")
    # BLAS may sum wider products in another order.
    np.testing.assert_allclose(new(ids).data[..., :262], old(ids).data, rtol=0, atol=1e-6)
    assert not np.array_equal(new.token_embedding.weight.data[262], new.token_embedding.weight.data[263])
    run(tmp_path / "again", model=str(tmp_path / "out"), data=(written(tmp_path),), steps=0, **FROM)
    again = load_model(tmp_path / "again")
    assert all(np.array_equal(a.data, b.data) for a, b in zip(again.parameters(), new.parameters()))


@pytest.mark.parametrize("how", [dict(lora=2), dict(freeze=1), dict(lora=2, merge=True)], ids=str)
def test_new_rows_are_trained_whatever_is_frozen(pretrained, tmp_path, how):
    run(tmp_path / "out", model=str(pretrained), data=(written(tmp_path),), steps=6, lr=1e-2, **FROM, **how)
    old, new = load_model(pretrained), load_model(tmp_path / "out")
    tok = load_tokenizer(tmp_path / "out")
    assert new.config.vocab_size == len(tok) == 264
    template = chat_template(tok)
    prompt = template.prompt([{"role": "user", "content": "a in ab?"}])
    assert new(np.array([prompt])).data[0, -1].argmax() < 264
    before = old.token_embedding.weight.data.mean(axis=0)
    moved = np.abs(new.token_embedding.weight.data[262:] - before).max(axis=1)
    assert (moved > 5e-3).all()
    frozen = "blocks.0.feed_forward.up.weight"
    assert np.array_equal(dict(old.named_parameters())[frozen].data, dict(new.named_parameters())[frozen].data)


def test_a_run_that_was_interrupted_goes_on_bit_for_bit(pretrained, tmp_path):
    options = dict(model=str(pretrained), data=(written(tmp_path),), save_every=2, eval_every=2, **FROM)
    run(tmp_path / "whole", steps=4, **options)

    class Stop(Exception):
        pass

    from tinygpt.training import run as module
    written_states = []
    original = module.write_checkpoint

    def stopping(*arguments):
        original(*arguments)
        written_states.append(arguments[3])
        if arguments[3] == 2:
            raise Stop

    module.write_checkpoint = stopping
    try:
        with pytest.raises(Stop):
            run(tmp_path / "half", steps=4, **options)
    finally:
        module.write_checkpoint = original
    finetune(FinetuneOptions(steps=4, **options), tmp_path / "half", resume=True, stream=io.StringIO())
    whole, half = load_model(tmp_path / "whole"), load_model(tmp_path / "half")
    assert all(np.array_equal(a.data, b.data) for a, b in zip(whole.parameters(), half.parameters()))


def bad(tmp_path, text, **options):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as caught:
        run(tmp_path / "out", data=(str(path),), steps=1, **{**SMALL, **options})
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
    return str(caught.value)


GOOD = '{"instruction": "a", "output": "b"}\n'


def test_bad_data_is_named_by_its_line(tmp_path):
    assert "line 2: not valid JSON" in bad(tmp_path, GOOD + "{\n")
    assert "line 2: expected \"messages\"" in bad(tmp_path, GOOD + '{"text": "a"}\n')
    assert "two different ones, got 1" in bad(tmp_path, GOOD)
    tok = CharTokenizer.train("ab")
    tok.save(tmp_path / "tok")
    message = bad(tmp_path, GOOD + '{"instruction": "b", "output": "z"}\n', tokenizer=str(tmp_path / "tok"))
    assert "bad.jsonl, line 2: the tokenizer lacks the character 'z'" in message
    long = '{"instruction": "%s", "output": "a"}\n' % ("b" * 30)
    assert "conversations of the train part fits a context of 4 tokens" in bad(tmp_path, GOOD + long, block_size=4)


def test_models_that_cannot_answer(tmp_path):
    tok = ByteBPE.train("abc", vocab_size=256)
    BERT(BERTConfig(vocab_size=256, block_size=8, n_layer=1, n_head=1, n_embd=4)).save_pretrained(tmp_path / "bert",
                                                                                                  tok)
    with pytest.raises(ValueError, match="needs a decoder that writes texts; .* holds a BERT"):
        run(tmp_path / "out", model=str(tmp_path / "bert"), data=(written(tmp_path),), steps=1, **FROM)
    other = GPT(GPTConfig(vocab_size=100, block_size=8, n_layer=1, n_head=1, n_embd=4))
    other.save_pretrained(tmp_path / "other", tok)
    with pytest.raises(ValueError, match="of another model: it has 256 tokens, and the model 100"):
        run(tmp_path / "out", model=str(tmp_path / "other"), data=(written(tmp_path),), steps=1, **FROM)
