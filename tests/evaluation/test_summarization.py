"""Reading texts with their summaries, the first sentence, and what a decoder is asked."""

import json

import pytest

from tinygpt.backend import manual_seed
from tinygpt.data.chat_template import add_chat_template
from tinygpt.evaluation.summarization import first_sentence, read_summaries, summarize
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE


@pytest.mark.parametrize("text, first", [
    ("One. Two.", "One."), ("Why? Because.", "Why?"), ("no end", "no end"), ("Ann: hi\nBob: hi", "Ann: hi"),
    ("  1.5 is more! Yes", "1.5 is more!"), ("", "")])
def test_first_sentences(text, first):
    assert first_sentence(text) == first


@pytest.mark.parametrize("name, content", [
    ("a.jsonl", json.dumps({"id": "7", "dialogue": "long", "summary": "short", "topic": "x"})),
    ("a.csv", "id,article,highlights\n7,long,short\n"), ("a.csv", "document,summary\nlong,short\n"),
    ("a.tsv", "long\tshort\n"), ("a.json", json.dumps([{"a": "long", "b": "short"}]))])
def test_texts_and_summaries_by_name_or_by_place(name, content, tmp_path):
    (tmp_path / name).write_text(content)
    assert read_summaries(tmp_path / name) == [("long", "short")]


@pytest.mark.parametrize("record", [{"text": "long", "summary": 3}, {"text": "", "summary": "short"}, {"text": "long"}])
def test_records_without_two_texts_are_refused_with_their_line(record, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="line 1: expected a text .* and its summary"):
        read_summaries(tmp_path / "a.jsonl")


def test_a_decoder_is_asked_and_a_long_text_is_cut():
    tok = add_chat_template(ByteBPE.train("summarize the following text in one or two sentences " * 9, 320))
    manual_seed(0)
    model = GPT(GPTConfig(vocab_size=len(tok), block_size=256, n_layer=1, n_head=2, n_embd=8)).eval()
    with pytest.warns(UserWarning, match="a text of .* tokens is longer than the .* that fit and was cut"):
        found = summarize(model, tok, ["the text", "the following text " * 200])
    assert len(found) == 2 and all(isinstance(text, str) for text in found)
    small = GPT(GPTConfig(vocab_size=len(tok), block_size=16, n_layer=1, n_head=2, n_embd=8))
    with pytest.raises(ValueError, match="context of 16 tokens leaves no room"):
        summarize(small, tok, ["the text"])
