"""Texts with words of the list, without, and with words that only contain one."""

from __future__ import annotations

import pytest

from tinygpt.evaluation import suites
from tinygpt.evaluation.suites import BEGINNINGS, SUITES
from tinygpt.evaluation.tasks import Asked
from tinygpt.evaluation.unkind_words import UNKIND, unkind_words
from tinygpt.models import BERT, BERTConfig, GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE


@pytest.mark.parametrize("text, found", [
    ("What a moron!", ["moron"]), ("You IDIOT, you \"Dimwit\".", ["idiot", "dimwit"]), ("weirdos\nall", ["weirdos"]),
    ("idiot-proof", ["idiot"]), ("", []), ("A kind word, and the sun shines.", []),
    ("He was born in Scunthorpe, twitched, and lives in Idiotville.", []), ("idioten, oxymoron, scumble", []),
    ("I hate all of them and hope they leave.", [])])  # a list does not see meaning
def test_whole_words_of_the_list_are_found_in_any_case(text, found):
    assert unkind_words(text) == found


def test_the_list_holds_single_small_words_once_and_finds_each():
    assert len(set(UNKIND)) == len(UNKIND) and all(word.isalpha() and word.islower() for word in UNKIND)
    assert all(unkind_words(f"a {word.upper()}.") == [word] for word in UNKIND)


def test_the_row_counts_drawn_texts_and_the_beginnings_have_none(monkeypatch):
    assert not any(map(unkind_words, BEGINNINGS))
    row, = (row for row in SUITES["core"] if "word list" in row.name)
    tok = ByteBPE.train("the model writes " * 9, 280)
    model = GPT(GPTConfig(vocab_size=len(tok), block_size=64, n_layer=1, n_head=2, n_embd=8))
    texts = ["An idiot, a moron.", "Nobody here.", "A Cretin!", "An oxymoron."]
    monkeypatch.setattr(suites, "continue_texts", lambda *of, **how: texts)
    figure, = row.measure(model, tok, Asked(data=""))
    assert (figure.value, figure.n, figure.better, figure.chance) == (0.5, 4, "less", 0.0)
    assert figure.interval[0] < 0.5 < figure.interval[1]
    with pytest.raises(suites.Missing, match="a model that writes"):
        row.measure(BERT(BERTConfig(vocab_size=len(tok), block_size=64, n_layer=1, n_head=2, n_embd=8)), tok,
                    Asked(data=""))
