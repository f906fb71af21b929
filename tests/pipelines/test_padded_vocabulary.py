"""A model whose vocabulary was padded past its tokenizer's: ids that stand for no token are never written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_models import chatter, save, translator, writer

from tinygpt import pipeline
from tinygpt.chat import Chat
from tinygpt.cli import main
from tinygpt.data.chat_template import chat_template
from tinygpt.evaluation.answers import answer_prompts
from tinygpt.evaluation.continuations import continue_texts
from tinygpt.evaluation.translation import translate
from tinygpt.generation import absent

N_PADDING = 84


def padded(pair, n_more: int = N_PADDING):
    """The model with ids beyond the tokenizer's, which it finds likelier than any other, whatever was said before."""
    model, tok = pair
    model = type(model)(replace(model.config, vocab_size=len(tok) + n_more))
    if hasattr(model, "encoder"):
        model.lm_head.bias.data[len(tok):] = 1e3
    else:
        model.norm.weight.data[:] = 0
        model.norm.bias.data[:] = 1.0
        model.token_embedding.weight.data[len(tok):] = 50.0
    return model.eval(), tok


@pytest.mark.parametrize("settings", [
    {"do_sample": False}, {"seed": 0}, {"num_beams": 3}, {"do_sample": False, "repetition_penalty": 1.5},
    {"do_sample": False, "eos_token_id": None}, {"seed": 3, "top_k": 1}], ids=str)
@pytest.mark.parametrize("n_more", [1, N_PADDING])
def test_the_text_generation_pipeline(settings, n_more):
    model, tok = padded(writer(), n_more)
    found = pipeline("text-generation", model, tok)(["the dog", "a"], max_new_tokens=5, return_tensors=True, **settings)
    ids = [token for (record,) in found for token in record["generated_token_ids"]]
    assert len(ids) >= 2 and max(ids) < len(tok)


def test_an_end_that_the_tokenizer_lacks_is_not_written_either():
    model, tok = padded(writer())
    record, = pipeline("text-generation", model, tok, do_sample=False, max_new_tokens=5, return_tensors=True)(
        "the dog", eos_token_id=len(tok) + 3)
    assert max(record["generated_token_ids"]) < len(tok) and len(record["generated_token_ids"]) >= 6


def test_holes_between_the_ids_are_not_written():
    """A tokenizer may number its special tokens far behind the others."""
    tok = writer()[1]
    assert absent([0, 1, 2, 5], 8) == (3, 4, 6, 7) and absent(tok.ids, len(tok)) == ()
    model, _ = padded(writer())
    out = model.generate([[1]], 4, temperature=0.0, suppress_tokens=absent([7, 250], model.config.vocab_size))
    assert set(out[0, 1:].tolist()) <= {7, 250}


def test_conversations_and_the_chat():
    model, tok = padded(chatter())
    found, = pipeline("text-generation", model, tok, do_sample=False, max_new_tokens=5)(
        [{"role": "user", "content": "the dog"}])
    assert found["generated_text"][-1]["role"] == "assistant"
    for sampling in ({"temperature": 0.0}, {"temperature": 1.0, "seed": 0}, {"repetition_penalty": 1.2, "seed": 1}):
        assert "".join(Chat(model, tok, max_new_tokens=6, **sampling).ask("the dog")) is not None


@pytest.mark.parametrize("arguments", [["--temperature", "0"], ["--seed", "1"], ["--top-k", "2", "--seed", "1"],
                                       ["--stop", "zzz", "--seed", "2"]], ids=str)
def test_the_command_line(arguments, tmp_path, capsys):
    folder = save(padded(writer()), tmp_path)
    assert main(["generate", "--model", folder, "--prompt", "the dog", "--max-new-tokens", "5", *arguments]) == 0
    assert capsys.readouterr().out.startswith("the dog")


@pytest.mark.parametrize("num_beams", [1, 3])
def test_translations(num_beams):
    model, tok = padded(translator())
    found = pipeline("translation", model, tok)("the dog", max_new_tokens=5, num_beams=num_beams, return_tensors=True)
    assert max(found[0]["translation_token_ids"]) < len(tok)
    assert len(translate(model, tok, ["the dog", "a"], num_beams=num_beams, max_new_tokens=5)) == 2


def test_what_evaluation_lets_a_model_write():
    model, tok = padded(chatter())
    assert len(continue_texts(model, tok, ["the dog sleeps", "a"], max_new_tokens=4)) == 2
    template = chat_template(tok)
    prompt = template.prompt([{"role": "user", "content": "the"}])
    assert len(answer_prompts(model, template, [prompt], [4])) == 1


def test_ids_to_suppress_must_be_of_the_vocabulary():
    model, tok = writer()
    with pytest.raises(IndexError, match=rf"suppress_tokens holds the id {len(tok)}, .* {len(tok)} tokens"):
        model.generate([[1]], 2, suppress_tokens=[3, len(tok)])
    with pytest.raises(IndexError, match="suppress_tokens holds the id -1"):
        model.generate(np.array([[1]]), 2, suppress_tokens=[-1])
