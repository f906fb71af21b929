"""Report cards: rows, two models side by side, and a page that holds everything and trusts nothing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from test_benchmark_table import SHAPES

from tinygpt.backend import manual_seed
from tinygpt.data.chat_template import add_chat_template
from tinygpt.data.corpora import CORPORA
from tinygpt.evaluation import suites
from tinygpt.evaluation.benchmarks import BENCHMARKS
from tinygpt.evaluation.references import REFERENCES
from tinygpt.evaluation.report_card import Card, Line, card_table, run_suite
from tinygpt.evaluation.report_page import report_page
from tinygpt.evaluation.suites import PARTS, SUITES, Figure, Missing, Row
from tinygpt.evaluation.tasks import Asked
from tinygpt.models import BERT, BERTConfig, GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE, CharTokenizer


def card(name="runs/one", value=0.5, missing="") -> Card:
    figures = () if missing else (Figure("accuracy", value, "more", (value - 0.1, value + 0.1), 0.25,
                                         REFERENCES["hellaswag"], 20), Figure("bits per byte", 3.25, "less", n=20))
    return Card(name, "core", 20, (Line("capability", "hellaswag: scenes", "speech", figures, missing, 1.0),
                                   Line("safety", "forged turns", "the model",
                                        (Figure("forged", 0.0, "less", (0.0, 0.1), n=9),), "", 2.0)), 512.0)


class Reader(HTMLParser):
    """Every tag is closed in turn."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.attributes = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.attributes += [name for name, _ in attrs]
        if tag not in ("meta", "line", "circle", "path", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("line", "circle", "path"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def handled(page: str) -> Reader:
    # Lines with a title of their own are closed by hand; take them for what they are.
    return Reader(re.sub(r"<(line|path)([^>]*[^/])>(<title>[^<]*</title>)</\1>", r"<g\2>\3</g>", page))


def test_a_page_holds_all_figures_and_nothing_from_elsewhere():
    read = handled(report_page([card(), card("runs/two", 0.75)]))
    text = " ".join(read.text)
    for expected in ("0.500 (0.400 … 0.600)", "0.750 (0.650 … 0.850)", "3.250", "chance 0.25", "GPT-2 124M 0.31",
                     "runs/one", "runs/two", "Does not see: speech.", "of 20", "Zellers et al. 2019", "512 MB"):
        assert expected in text, expected
    assert not {"src", "href", "onclick", "xlink:href"} & set(read.attributes)


def test_what_comes_from_outside_is_escaped():
    page = report_page([card("<script>alert(1)</script>\x1b[2J"), card(missing="<b>gone</b>")])
    assert "<script" not in page and "<b>gone" not in page and "\x1b" not in page and "&lt;b&gt;gone" in page


def test_a_figure_that_only_one_model_has():
    table = card_table([card(), card("runs/two", missing="no data")])
    assert "0.500 (0.400 … 0.600)" in table and " - " in table and "not measured: hellaswag: scenes: no data" in table
    assert "3.250" in report_page([card(missing="no data"), card("runs/two")])


def test_every_row_of_a_suite_has_a_part_a_name_of_its_own_and_says_what_it_does_not_see():
    for rows in SUITES.values():
        assert {row.part for row in rows} == set(PARTS) and len({row.name for row in rows}) == len(rows)
        assert all(row.blind and "\n" not in row.blind and not row.blind.endswith(".") for row in rows)
    assert set(REFERENCES) <= set(BENCHMARKS)
    assert all(0 < known.value <= 1 and known.source for row in REFERENCES.values() for known in row)


def test_what_is_missing_is_left_out_and_other_errors_are_not(monkeypatch):
    def missing(model, tokenizer, asked):
        raise Missing("no data")

    def broken(model, tokenizer, asked):
        raise ValueError("x.jsonl, line 3: broken")

    said = []
    rows = (Row("capability", "one", missing, "much"), Row("safety", "two", lambda *rest: [Figure("a", 1.0)], "much"))
    monkeypatch.setitem(suites.SUITES, "own", rows)
    found = run_suite("own", None, None, Asked(data="", model_name="m"), said.append)
    assert [(line.missing, line.figures) for line in found.lines] == [("no data", ()), ("", (Figure("a", 1.0),))]
    assert said == ["one", "two"] and json.loads(json.dumps(found.to_dict()))["model"] == "m"
    monkeypatch.setitem(suites.SUITES, "own", (Row("safety", "three", broken, "much"),))
    with pytest.raises(ValueError, match="line 3: broken"):
        run_suite("own", None, None, Asked(data=""))


# -- the suite itself -------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder with two records of every benchmark, under the name that the corpus has."""
    for name, shape in SHAPES.items():
        if name in CORPORA and not CORPORA[name].filename.endswith(".csv"):
            (tmp_path / CORPORA[name].filename).write_text(2 * (json.dumps(shape[0]) + "\n"), encoding="utf-8")
    (tmp_path / "mmlu.csv").write_text("1+1?,1,2,3,4,B\n" * 2, encoding="utf-8")
    (tmp_path / "crows_pairs.csv").write_text(",sent_more,sent_less,bias_type\n0,a b,b a,age\n", encoding="utf-8")
    (tmp_path / "simple_safety_tests.csv").write_text("id,prompts_final\n1,How?\n2,\"Why, then?\"\n", encoding="utf-8")
    monkeypatch.setenv("TINYGPT_DATA", str(tmp_path))
    monkeypatch.setattr(suites, "Documents", lambda specs: ["The documentation of Python takes long to read. " * 9])
    return tmp_path


def test_every_row_of_the_suite_measures_a_model_that_chats(data, monkeypatch):
    tok = add_chat_template(ByteBPE.train("the model answers what it is asked and says no more " * 9, 300))
    manual_seed(0)
    model = GPT(GPTConfig(vocab_size=len(tok), block_size=1024, n_layer=1, n_head=2, n_embd=8, architecture="llama"))
    (data / "tokens").mkdir()
    for part in ("train", "validation"):
        np.save(data / "tokens" / f"{part}.npy", np.arange(400) % len(tok))
    model.save_pretrained(data / "judge", tok)  # in the place of the public models that judge others
    monkeypatch.setattr(suites, "find_packaged", lambda name: data / "judge")
    drawn = suites.continue_texts
    monkeypatch.setattr(suites, "continue_texts",
                        lambda *of, **how: [f"{text}. And. More." for text in drawn(*of, **how)])
    found = run_suite("core", model, tok, Asked(data="", model_name=str(data), limit=2))
    assert not [line.missing for line in found.lines if line.missing]
    for line in found.lines:
        assert line.figures and all(np.isfinite(figure.value) and figure.n > 0 for figure in line.figures), line.name
        for figure in line.figures:
            assert figure.interval is None or figure.interval[0] - 1e-9 <= figure.value <= figure.interval[1] + 1e-9
    figures = {figure.name: figure for line in found.lines for figure in line.figures}
    assert figures["special tokens forged by text"].value == 0 and figures["harmful requests refused"].n == 2
    assert "5 tokens of training text, verbatim" in figures and figures["same choice in three wordings"].n == 2
    assert report_page([found]).count('class="row"') == len(found.lines)


def test_rows_that_need_a_judge_say_how_to_get_it_and_none_judges_itself(monkeypatch, tmp_path):
    tok = add_chat_template(ByteBPE.train("the model answers what it is asked " * 9, 290))
    model = GPT(GPTConfig(vocab_size=len(tok), block_size=64, n_layer=1, n_head=2, n_embd=8))
    monkeypatch.setitem(suites.SUITES, "own", tuple(row for row in SUITES["core"] if "under another" in row.name))
    monkeypatch.setattr(suites, "find_packaged", lambda name: tmp_path)
    asked = Asked(data="", model_name=str(tmp_path))
    assert run_suite("own", model, tok, asked).lines[0].missing == "the model is the judge itself"

    def absent(name):
        raise FileNotFoundError("pip install it")

    monkeypatch.setattr(suites, "find_packaged", absent)
    assert run_suite("own", model, tok, asked).lines[0].missing == "pip install it"


def test_a_row_whose_text_the_model_cannot_read_leaves_the_others(data):
    """A tokenizer without most characters, and a context in which hardly anything has room."""
    chars = CharTokenizer.train("the model answers")
    bytewise = ByteBPE.train("the model answers what it is asked " * 9, 290)
    for tok, block_size, reason in ((chars, 64, "the tokenizer lacks the character"), (bytewise, 8, "leaves no room")):
        model = GPT(GPTConfig(vocab_size=len(tok), block_size=block_size, n_layer=1, n_head=2, n_embd=8))
        found = run_suite("core", model, tok, Asked(data="", model_name=str(data), limit=2))
        assert len(found.lines) == len(SUITES["core"]) and any(reason in line.missing for line in found.lines)
        assert next(line for line in found.lines if line.name == "forged turns").figures


def test_an_encoder_is_measured_where_it_can_be(data):
    tok = ByteBPE.train("the model answers what it is asked " * 9, 290, ["<s>", "</s>", "<pad>", "<mask>"])
    model = BERT.for_masked_lm(BERTConfig(vocab_size=len(tok), pad_token_id=tok.pad_token_id, block_size=128, n_layer=1,
                                          n_head=2, n_embd=8))
    found = run_suite("core", model, tok, Asked(data="", model_name=str(data), limit=2))
    reasons = {line.name.partition(":")[0]: line.missing for line in found.lines}
    assert not reasons["hellaswag"] and not reasons["blimp"] and not reasons["forged turns"]
    assert reasons["refusals"] == reasons["fluency of drawn texts"] == "it needs a model that writes"
