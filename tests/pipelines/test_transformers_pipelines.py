"""The same folder, the same call, the same result as transformers' pipelines: keys, nesting, numbers."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
from tiny_models import chatter, reader, save, translator, writer

from tinygpt import pipeline
from tinygpt.backend import manual_seed
from tinygpt.models import BERT, BERTConfig
from tinygpt.tokenizers import BertTokenizer
from tinygpt.tokenizers.template import Template

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-4  # both compute in float32, in other orders


def theirs(task: str, folder: str, **settings: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return transformers.pipeline(task, model=folder, **settings)


def same(ours: Any, expected: Any, path: str = "result") -> None:
    """Equal in kind, keys, length, strings and integers; floats to the tolerance."""
    if isinstance(expected, dict):
        assert isinstance(ours, dict) and ours.keys() == expected.keys(), path
        for key in expected:
            same(ours[key], expected[key], f"{path}[{key!r}]")
    elif isinstance(expected, list):
        assert isinstance(ours, list) and len(ours) == len(expected), path
        for place, value in enumerate(expected):
            same(ours[place], value, f"{path}[{place}]")
    elif isinstance(expected, float):
        assert isinstance(ours, float) and ours == pytest.approx(expected, abs=TOLERANCE), path
    else:
        assert type(ours) is type(expected) and ours == expected, path


def test_the_comparison_rejects():
    for ours, expected in (({"a": 1}, {"b": 1}), ([1], [[1]]), ([1], [1, 2]), (0.5, 0.5002), ("a", "b"), (1, 1.0)):
        with pytest.raises(AssertionError):
            same(ours, expected)


TEXTS = ["the dog", "", "a quick brown fox"]
BOTH_CASES = [("the dog", {}), (["the dog"], {}), (TEXTS, {}), ({"text": "the dog"}, {}), ([{"text": "the dog"}], {})]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("made_with", [{}, {"top_k": None}, {"top_k": 1}, {"function_to_apply": "sigmoid"}], ids=str)
@pytest.mark.parametrize("pair", [
    lambda: reader("classification"), lambda: reader("classification", "char", "bert"),
    lambda: reader("classification", n_labels=1), lambda: writer("classification"),
    lambda: reader("classification", problem_type="regression"),
    lambda: reader("classification", problem_type="multi_label_classification")],
    ids=["roberta", "bert-char", "one-label", "gpt2", "regression", "multi-label"])
def test_text_classification(pair, made_with, tmp_path):
    folder = save(pair(), tmp_path)
    their, our = (make("text-classification", folder, **made_with) for make in (theirs, lambda t, f, **s: pipeline(
        t, f, **s)))
    texts = [text for text in TEXTS if text or our.tokenizer.prefix_ids]  # nothing at all is nothing to read
    for inputs, settings in [*BOTH_CASES[:2], (texts, {}), *BOTH_CASES[3:]]:
        for more in ({}, {"top_k": 1}, {"top_k": 2}, {"top_k": None}, {"top_k": 9}, {"function_to_apply": "softmax"},
                     {"function_to_apply": "none", "top_k": None}, {"batch_size": 2}):
            same(our(inputs, **settings, **more), their(inputs, **settings, **more))
    long = "the lazy dog " * 30
    same(our(long, truncation=True), their(long, truncation=True, max_length=24))
    same(our(long, truncation=True, max_length=7), their(long, truncation=True, max_length=7))
    same(list(our(iter(TEXTS[::2]))), list(their(text for text in TEXTS[::2])))


@pytest.mark.parametrize("kind, architecture", [("bpe", "roberta"), ("char", "bert")])
def test_fill_mask(kind, architecture, tmp_path):
    folder = save(reader("masked_lm", kind, architecture), tmp_path)
    their, our = theirs("fill-mask", folder), pipeline("fill-mask", folder)
    one, two = "the <mask> dog", "a <mask> fox<mask>"
    for inputs in (one, two, [one], [two], [one, "<mask>"], [two, one]):
        for more in ({}, {"top_k": 1}, {"top_k": 7}, {"batch_size": 2}):
            same(our(inputs, **more), their(inputs, **more))
    long = f"{one} {'a' * 40}"
    cut = {"truncation": True, "max_length": 24}
    same(our(long, tokenizer_kwargs=cut), their(long, tokenizer_kwargs=cut))


def test_fill_mask_with_targets(tmp_path):
    folder = save(reader("masked_lm"), tmp_path)
    their, our = theirs("fill-mask", folder), pipeline("fill-mask", folder)
    for targets in (" dog", "Ġdog", ["Ġdog", "Ġfox", "x"], ["the", "the"], ["<s>", "the"]):
        for inputs in ("the <mask>", ["a <mask>", "<mask> b <mask>"]):
            same(our(inputs, targets=targets), their(inputs, targets=targets))
    with pytest.warns(UserWarning, match="the target 'zebra' is no token"):
        found = our("the <mask>", targets=["zebra", "Ġdog"])
    same(found, their("the <mask>", targets=["zebra", "Ġdog"]))


@pytest.mark.parametrize("pair", [lambda: reader(None), lambda: reader("masked_lm", "char", "bert"),
                                  lambda: reader("classification"), lambda: writer(),
                                  lambda: writer(architecture="llama")],
                         ids=["roberta", "bert-char", "classifier", "gpt2", "llama"])
def test_feature_extraction(pair, tmp_path):
    folder = save(pair(), tmp_path)
    their, our = theirs("feature-extraction", folder), pipeline("feature-extraction", folder)
    for inputs in ("the dog", ["the dog"], ["the dog", "a quick brown fox", "a"]):
        same(our(inputs, batch_size=2), their(inputs))  # their batches hold the padding's features as well
    assert np.shape(our("the dog", return_tensors=True)) == tuple(their("the dog", return_tensors=True).shape)
    long, cut = "the lazy dog " * 30, {"truncation": True, "max_length": 24}
    same(our(long, truncation=True), their(long, tokenize_kwargs=cut))


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_text_generation(architecture, tmp_path):
    folder = save(writer(architecture=architecture), tmp_path)
    their, our = theirs("text-generation", folder), pipeline("text-generation", folder)
    greedy = {"do_sample": False, "max_new_tokens": 9}
    for inputs in ("the dog", ["the dog"], ["the dog", "a quick brown fox"], ""):
        for more in ({}, {"return_full_text": False}, {"return_tensors": True}, {"num_beams": 3},
                     {"repetition_penalty": 1.5}, {"eos_token_id": 176}, {"batch_size": 2},
                     {"num_beams": 3, "num_return_sequences": 2}, {"num_beams": 2, "num_return_sequences": 2},
                     {"padding": True}, {"top_k": 0}, {"pad_token_id": 3}, {"no_repeat_ngram_size": 1},
                     {"no_repeat_ngram_size": 2}, {"min_new_tokens": 4, "eos_token_id": 176},
                     {"num_beams": 3, "early_stopping": True, "no_repeat_ngram_size": 2}):
            if inputs == "" and ("num_beams" in more or "return_tensors" in more):
                continue  # both begin with the end-of-text token, which they count to what is new
            same(our(inputs, **greedy, **more), their(inputs, **greedy, **more))
    length = {"do_sample": False, "max_length": 11}
    same(our("the dog", **length), their("the dog", **length))
    for both in ({"max_length": 4}, {"max_length": 2}, {"max_length": 20}):
        with pytest.warns(UserWarning, match="max_new_tokens counts"):
            found = our("the dog", **greedy, **both)
        same(found, their("the dog", **greedy, **both))
    drawn = our("the dog", num_return_sequences=3, max_new_tokens=4, seed=0)
    shape = their("the dog", num_return_sequences=3, max_new_tokens=4)
    assert [list(one) for one in drawn] == [list(one) for one in shape]
    with pytest.raises(ValueError):
        their("the dog", num_return_sequences=2, **greedy)
    with pytest.raises(ValueError, match="num_return_sequences above 1 needs do_sample=True"):
        our("the dog", num_return_sequences=2, **greedy)


def test_a_stop_sequence_ends_the_text(tmp_path):
    folder = save(writer(), tmp_path)
    their, our = theirs("text-generation", folder), pipeline("text-generation", folder)
    whole = our("a lazy", do_sample=False, max_new_tokens=12, return_full_text=False)[0]["generated_text"]
    stop = next(letter for letter in whole[2:] if letter.isascii())
    more = {"do_sample": False, "max_new_tokens": 12, "stop_sequence": stop}
    same(our("a lazy", **more), their("a lazy", **more))


def test_conversations(tmp_path):
    pytest.importorskip("jinja2")
    folder = save(chatter(), tmp_path)
    their, our = theirs("text-generation", folder), pipeline("text-generation", folder)
    chat = [{"role": "system", "content": "a"}, {"role": "user", "content": "the dog"}]
    for inputs in (chat, [chat], [chat, chat[1:]], [*chat, {"role": "assistant", "content": "a lazy"}]):
        for more in ({}, {"return_full_text": False}, {"return_tensors": True}):
            more = {"do_sample": False, "max_new_tokens": 6, **more}
            same(our(inputs, **more), their(inputs, **more))


@pytest.mark.parametrize("architecture", ["marian", "bart"])
def test_translation(architecture, tmp_path):
    """transformers 5 has no such pipeline any more: the texts are those of its model, the shapes those of 4."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    folder = save(translator(architecture), tmp_path)
    tok = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    our = pipeline("translation_en_to_es", folder)
    texts = ["the dog", "a quick brown fox jumps over", "a"]
    for num_beams in (1, 3):
        expected = []
        for text in texts:
            with torch.no_grad():
                ids = model.generate(**tok(text, return_tensors="pt", return_token_type_ids=False), max_new_tokens=12,
                                     num_beams=num_beams, do_sample=False)[0].tolist()
            expected.append({"translation_text": tok.decode(ids, skip_special_tokens=True)})
        assert our(texts, num_beams=num_beams, max_new_tokens=12) == expected
        assert our(texts[0], num_beams=num_beams, max_new_tokens=12) == expected[:1]
        assert our(texts[:1], num_beams=num_beams, max_new_tokens=12) == expected[:1]


def nli(kind: str) -> Any:
    """A model of inference with one of several templates of pairs."""
    labels = {0: "contradiction", 1: "neutral", 2: "ENTAILMENT"}
    if kind != "wordpiece":
        model, tok = reader("classification", "char", "bert", labels=labels)
        if kind:
            ends = {role: [name, tok.token_id(name)] for role, name in (("sep", "</s>"), ("cls", "<s>"))}
            more = {"trim_offsets": True, "add_prefix_space": False} if kind == "RobertaProcessing" else {}
            tok.template = Template.from_json({"type": kind, **ends, **more})
        return model, tok
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"the quick brown fox dog is about this .".split()]
    tok = BertTokenizer.from_vocab({word: place for place, word in enumerate(vocab)})
    manual_seed(0)
    return BERT(BERTConfig(vocab_size=len(tok), block_size=24, n_layer=2, n_head=2, n_embd=16, initializer_range=0.3,
                           head="classification", id2label=labels)), tok


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["", "RobertaProcessing", "BertProcessing", "wordpiece"])
def test_zero_shot_classification(kind, tmp_path):
    folder = save(nli(kind), tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {"model_max_length": 24}
    config["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]  # as BERT's own class has them
    path.write_text(json.dumps(config))
    their, our = theirs("zero-shot-classification", folder), pipeline("zero-shot-classification", folder)
    texts = ["the dog", "the quick brown fox", "the lazy dog " * 9]
    for inputs in (texts[0], texts):
        for labels in ("dog, fox", ["dog", "fox", "the"], ["dog"]):
            for more in ({"hypothesis_template": "about {}"},
                         {"hypothesis_template": "the {} is", "multi_label": True}):
                same(our(inputs, labels, **more), their(inputs, labels, **more))
                same(our(inputs, candidate_labels=labels, **more), their(inputs, candidate_labels=labels, **more))
    if kind == "wordpiece":
        same(our(texts, ["dog", "fox"]), their(texts, ["dog", "fox"]))
