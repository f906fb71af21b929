"""`tinygpt evaluate`: the figures of the library, as a table and as JSON; every bad input in one line."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from command import TINY, command, error_line

from tinygpt import load_model, load_tokenizer
from tinygpt.backend import manual_seed
from tinygpt.data import token_array
from tinygpt.data.chat_template import ChatTemplate, add_chat_template, chat_template
from tinygpt.data.conversations import read_conversations
from tinygpt.evaluation import byte_lengths, corpus_bleu, corpus_chrf, label_probabilities, text_loss, translate
from tinygpt.evaluation.answers import answer_conversations, exact_match
from tinygpt.evaluation.suites import SUITES
from tinygpt.models import BERT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE, CharTokenizer
from tinygpt.training import language_loss

TEXT = "the quick brown fox jumps over the lazy dog\n" * 8
REVIEWS = [("a quick dog", "ham"), ("the lazy fox", "spam"), ("over the dog", "ham"), ("jumps", "ham")]
PAIRS = [("the fox", "el zorro"), ("the dog", "el perro"), ("the lazy dog", "el perro vago")]
SIZES = dict(block_size=24, n_layer=1, n_head=2, n_embd=8, initializer_range=0.3)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """A folder of each kind of model, random."""
    tok = ByteBPE.train(TEXT, vocab_size=300, special_tokens=["<s>", "</s>", "<pad>", "<mask>", "<|endoftext|>"])
    manual_seed(3)
    ids = dict(pad_token_id=tok.pad_token_id, eos_token_id=tok.eos_token_id)
    made = {
        "gpt": GPT(GPTConfig(vocab_size=len(tok), **SIZES)),
        "bert": BERT.for_masked_lm(BERTConfig(vocab_size=len(tok), pad_token_id=tok.pad_token_id, **SIZES)),
        "classifier": BERT.for_classification(BERTConfig(vocab_size=len(tok), pad_token_id=tok.pad_token_id, **SIZES),
                                              id2label={0: "ham", 1: "spam"}),
        "translator": EncoderDecoder(EncoderDecoderConfig(vocab_size=len(tok), **ids, **SIZES)),
        "headless": BERT(BERTConfig(vocab_size=len(tok), pad_token_id=tok.pad_token_id, **SIZES))}
    folders = {}
    for name, model in made.items():
        folders[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(folders[name], tok)
    return folders


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def tsv(folder: Path, rows, header: str = "") -> Path:
    return write(folder, "rows.tsv", header + "".join("\t".join(row) + "\n" for row in rows))


def questions(folder: Path) -> Path:
    rows = [{"ctx": "the quick", "endings": ["fox", "dog jumps", "lazy over"], "label": n % 3} for n in range(5)]
    return write(folder, "questions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def figures(capsys, *arguments) -> dict:
    done = command(capsys, "evaluate", *arguments, "--json")
    assert done.code == 0 and done.err == "" and done.out.count("\n") == 1, done
    return json.loads(done.out)


# -- the figures ------------------------------------------------------------------------------------------------------


def test_text(capsys, models, tmp_path):
    path = write(tmp_path, "text.txt", TEXT[:150])
    found = figures(capsys, "--model", models["gpt"], "--data", path)
    model, tok = load_model(models["gpt"]), load_tokenizer(models["gpt"])
    tokens = token_array([TEXT[:150]], tok)
    expected = text_loss(model, tokens, 24, loss=language_loss, lengths=byte_lengths(tok))
    assert found["task"] == "text" and found["loss"] == pytest.approx(expected.loss, rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(expected.bits_per_byte, rel=1e-5)
    assert found["perplexity"] == pytest.approx(np.exp(found["loss"])) and 0 <= found["accuracy"] <= 1
    assert found["n_tokens"] == len(tokens) - 1
    table = command(capsys, "evaluate", "--model", models["gpt"], "--data", path)
    assert table.out.splitlines()[0] == f"loss (nats per token)  {found['loss']:.4f}"
    assert [line.rpartition("  ")[0].strip() for line in table.out.splitlines()] == [
        "loss (nats per token)", "perplexity", "bits per byte", "next-token accuracy", "tokens predicted",
        "bytes predicted"]
    assert figures(capsys, "--model", models["gpt"], "--data", tmp_path)["loss"] == found["loss"]  # a folder


def test_the_loss_is_that_of_pretraining(capsys, tmp_path):
    """Of the held-out part of the text, by the same count."""
    path = write(tmp_path, "text.txt", TEXT)
    run = command(capsys, "pretrain", "--data", path, "--out", tmp_path / "run", "--vocab-size", 270, *TINY)
    held_out = write(tmp_path, "held-out.txt", TEXT[int(len(TEXT) * 0.9):])
    found = figures(capsys, "--model", tmp_path / "run", "--data", held_out)
    assert run.out == f"validation loss {found['loss']:.4f}\n"


def test_masked_words(capsys, models, tmp_path):
    path = write(tmp_path, "text.txt", TEXT)
    found = figures(capsys, "--model", models["bert"], "--data", path)
    assert found == figures(capsys, "--model", models["bert"], "--data", path)
    assert found["task"] == "text" and found["n_tokens"] > 10 and 0 <= found["accuracy"] <= 1 and found["loss"] > 0
    table = command(capsys, "evaluate", "--model", models["bert"], "--data", path).out
    assert "accuracy on hidden tokens" in table


def test_multiple_choice(capsys, models, tmp_path):
    found = figures(capsys, "--model", models["gpt"], "--data", questions(tmp_path))
    assert found["benchmark"] == "hellaswag"
    hidden = figures(capsys, "--model", models["bert"], "--data", questions(tmp_path))
    assert hidden["n_questions"] == 5 and hidden["accuracy"] in {n / 5 for n in range(6)}  # by pseudo-likelihood
    assert found["task"] == "multiple-choice" and found["n_questions"] == 5 and found["chance"] == pytest.approx(1 / 3)
    names = ("accuracy", "accuracy_per_character", "accuracy_per_byte", "accuracy_per_token")
    assert {round(found[name] * 5) for name in names} <= set(range(6))
    table = command(capsys, "evaluate", "--model", models["gpt"], "--data", questions(tmp_path), "--limit", 2).out
    assert re.search(r"questions +2\n", table) and re.search(r"chance +0.3333", table) and "95%" in table


def test_minimal_pairs_questions_and_last_words(capsys, models, tmp_path):
    model = models["gpt"]
    pairs = write(tmp_path, "pairs.jsonl", "".join(json.dumps(
        {"sentence_good": f"the {word} jumps", "sentence_bad": f"{word} the", "UID": word}) + "\n"
        for word in ("fox", "dog", "fox")))
    found = figures(capsys, "--model", model, "--data", pairs)
    assert found["task"] == "minimal-pairs" and set(found["groups"]) == {"fox", "dog"} and found["chance"] == 0.5
    assert "fox" in command(capsys, "evaluate", "--model", model, "--data", pairs).out.splitlines()[-2]
    own = write(tmp_path, "own.jsonl", "".join(json.dumps(
        {"query": f"the {word}", "choices": ["jumps", "lazy"], "gold": 0}) + "\n" for word in "fox dog cat".split()))
    shots = [figures(capsys, "--model", model, "--data", own, "--shots", k, "--seed", 1) for k in (0, 1, 1)]
    assert "accuracy" in shots[0] and shots[1] == shots[2] and shots[0]["benchmark"] == "choices"
    assert "3 examples before each question need 4" in error_line(
        command(capsys, "evaluate", "--model", model, "--data", own, "--shots", 3))
    last = write(tmp_path, "last.jsonl", json.dumps({"text": "the quick brown fox"}) + "\n")
    assert figures(capsys, "--model", model, "--data", last, "--task", "lambada")["perplexity"] > 1
    free = write(tmp_path, "free.jsonl", json.dumps({"question": "the fox", "answer": "jumps"}) + "\n")
    assert figures(capsys, "--model", model, "--data", free, "--max-new-tokens", 3)["check"] == "exact"
    mixed = write(tmp_path, "mixed.jsonl", own.read_text() + last.read_text())
    assert "mixed.jsonl, line 4: expected a record of choices with query, choices, gold, got text" in error_line(
        command(capsys, "evaluate", "--model", model, "--data", mixed))


def test_a_report_card_of_two_models(capsys, models, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGPT_DATA", str(tmp_path))
    rows = [row for row in SUITES["core"] if row.name.startswith(("hellaswag", "arc", "forged", "fluency"))]
    monkeypatch.setitem(SUITES, "core", rows)
    write(tmp_path, "hellaswag_val_1000.jsonl", questions(tmp_path).read_text())
    options = ["--model", models["gpt"], "--against", models["bert"], "--suite", "core", "--limit", 2]
    done = command(capsys, "evaluate", *options, "--out", tmp_path / "card")
    saved = json.loads((tmp_path / "card" / "report.json").read_text())
    page = (tmp_path / "card" / "report.html").read_text()
    assert done.code == 0 and "hellaswag" in done.out and "not measured: arc" in done.out
    assert [card["model"] for card in saved["models"]] == [str(models["gpt"]), str(models["bert"])]
    lines = {line["name"].partition(":")[0]: line for line in saved["models"][0]["lines"]}
    assert lines["hellaswag"]["figures"][0]["n"] == 2 and lines["arc"]["missing"].startswith("arc.jsonl is not at hand")
    assert page.startswith("<!doctype html>") and "src=" not in page and "href=" not in page
    assert json.loads(command(capsys, "evaluate", *options[:2], *options[4:], "--json").out)["suite"] == "core"
    for wrong, message in ((["--suite", "core", "--task", "text"], "a suite has its own rows"),
                           (["--data", "x", "--out", "y"], "--out belongs to --suite"),
                           ([], "one of the arguments --data --suite is required"),
                           (["--suite", "core", "--data", "x"], "not allowed with")):
        assert message in error_line(command(capsys, "evaluate", "--model", models["gpt"], *wrong))


def test_classification(capsys, models, tmp_path):
    path = tsv(tmp_path, REVIEWS)
    columns = ["--text-column", 0, "--label-column", 1]
    found = figures(capsys, "--model", models["classifier"], "--data", path, *columns)
    model, tok = load_model(models["classifier"]), load_tokenizer(models["classifier"])
    predicted = label_probabilities(model, tok, [text for text, _ in REVIEWS]).argmax(axis=1)
    assert found["accuracy"] == np.mean([("ham", "spam")[p] == label for p, (_, label) in zip(predicted, REVIEWS)])
    assert found["labels"] == ["ham", "spam"] and np.sum(found["confusion"], axis=1).tolist() == [3, 1]
    with_header = tsv(tmp_path, REVIEWS, "text\tlabel\n")
    assert figures(capsys, "--model", models["classifier"], "--data", with_header)["confusion"] == found["confusion"]
    table = command(capsys, "evaluate", "--model", models["classifier"], "--data", with_header).out
    assert "precision" in table and "truth \\ predicted" in table
    numbers = tsv(tmp_path, [(text, str(int(label == "spam"))) for text, label in REVIEWS], "text\tlabel\n")
    assert figures(capsys, "--model", models["classifier"], "--data", numbers)["confusion"] == found["confusion"]


def test_translation(capsys, models, tmp_path):
    path = tsv(tmp_path, PAIRS)
    found = figures(capsys, "--model", models["translator"], "--data", path, "--num-beams", 2)
    model, tok = load_model(models["translator"]), load_tokenizer(models["translator"])
    ours = translate(model, tok, [source for source, _ in PAIRS], num_beams=2)
    references = [[target for _, target in PAIRS]]
    assert found["bleu"] == corpus_bleu(ours, references).score and found["chrf"] == corpus_chrf(ours, references).score
    assert found["task"] == "translation" and found["n_pairs"] == 3
    done = command(capsys, "evaluate", "--model", models["translator"], "--data", "synthetic-phrases-test",
                   "--limit", 9, "--json")
    assert json.loads(done.out)["n_pairs"] == 9 and "of 9 texts are longer than the model's context" in done.err


def test_generation(capsys, models, tmp_path):
    path = write(tmp_path, "prompts.txt", TEXT + "\n\n")
    options = ["--task", "generation", "--max-new-tokens", 10]
    found = figures(capsys, "--model", models["gpt"], "--data", path, *options)
    assert found["n_texts"] == 8 and found["forged"] == 0 and found["forging_prompts"] > 200
    assert found == figures(capsys, "--model", models["gpt"], "--data", path, *options)
    assert found != figures(capsys, "--model", models["gpt"], "--data", path, *options, "--seed", 1)
    assert figures(capsys, "--model", models["gpt"], "--data", path, *options, "--limit", 3)["n_texts"] == 3
    table = command(capsys, "evaluate", "--model", models["gpt"], "--data", path, *options).out
    assert "texts that end in a loop" in table and "prompts that forge special tokens" in table


def test_instructions(capsys, models, tmp_path):
    """Exact match of the library's answers; a model that chats is asked without being told to."""
    tok = add_chat_template(CharTokenizer([chr(code) for code in range(32, 127)] + ["\n"]))
    template, folders = chat_template(tok), {8: tmp_path / "short", 96: tmp_path / "long"}
    for block_size, folder in folders.items():
        GPT(GPTConfig(vocab_size=len(tok), tie_word_embeddings=False,
                      **{**SIZES, "block_size": block_size})).save_pretrained(folder, tok)
    asked = [[{"role": "user", "content": letter}, {"role": "assistant", "content": "x" * 9}] for letter in "ABCDEFGH"]
    answers = answer_conversations(GPT.from_pretrained(folders[8]), template, asked)  # the context ends them all
    question, answer = next((chat[0]["content"], answer) for chat, answer in zip(asked, answers) if len(answer) == 4)
    path = write(tmp_path, "chats.jsonl", "".join(json.dumps(record) + "\n" for record in (
        {"prompt": question, "completion": answer}, {"instruction": "a", "output": "b" * 40})))
    result = figures(capsys, "--model", folders[8], "--data", path)
    assert result["task"] == "instruction" and result["n_questions"] == 2
    assert result["exact_match"] == 0.5 and 0 < result["exact_match_interval"][0] < 0.5
    chats, model = read_conversations("synthetic-instructions-test")[:20], GPT.from_pretrained(folders[96])
    named = figures(capsys, "--model", folders[96], "--data", "synthetic-instructions-test", "--limit", 20)
    assert named["exact_match"] == exact_match(answer_conversations(model, template, chats), chats)
    assert "exact match" in command(capsys, "evaluate", "--model", folders[8], "--data", path).out
    assert "no chat template" in error_line(command(capsys, "evaluate", "--model", models["gpt"], "--data", path,
                                                    "--task", "instruction"))
    bad = write(tmp_path, "bad.jsonl", '{"instruction": "a", "output": "b"}\n{"instruction": "a"}\n')
    line = error_line(command(capsys, "evaluate", "--model", folders[8], "--data", bad))
    assert "bad.jsonl, line 2: expected" in line


def test_the_probe_goes_through_the_chat_template(capsys, tmp_path, monkeypatch):
    """A message is probed as it would be encoded; a template that let it forge turns would be found."""
    tok = add_chat_template(ByteBPE.train(TEXT, vocab_size=300))
    GPT(GPTConfig(vocab_size=len(tok), **SIZES)).save_pretrained(tmp_path, tok)
    data = write(tmp_path, "prompts.txt", TEXT)
    options = ["--task", "generation", "--max-new-tokens", 2, "--limit", 1]
    found = figures(capsys, "--model", tmp_path, "--data", data, *options)
    assert found["forged"] == 0 and found["forging_prompts"] > 200

    def rendered_first(template, messages):
        text = "".join(f"<|user|>{message['content']}<|end|>" for message in messages) + "<|assistant|>"
        return template.tokenizer.encode(text, allowed_special="all")

    monkeypatch.setattr(ChatTemplate, "prompt", rendered_first)
    assert figures(capsys, "--model", tmp_path, "--data", data, *options)["forged"] > 20


def test_real_data(capsys, models, shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGPT_DATA", str(shared_data))
    found = figures(capsys, "--model", models["gpt"], "--data", "hellaswag", "--limit", 20)
    assert found["task"] == "multiple-choice" and found["n_questions"] == 20
    assert figures(capsys, "--model", models["gpt"], "--data", "lambada", "--limit", 5)["loss"] > 0
    columns = ["--text-column", 0, "--label-column", 1, "--limit", 40]
    done = command(capsys, "evaluate", "--model", models["classifier"], "--data", "sst2-dev", *columns, "--json")
    assert json.loads(done.out)["n_texts"] == 40 and done.err.count("were cut") == 1
    done = command(capsys, "evaluate", "--model", models["classifier"], "--data", "sms-spam", "--text-column", 1,
                   "--label-column", 0, "--limit", 40, "--json")
    assert json.loads(done.out)["labels"] == ["ham", "spam"]
    with gzip.open(shared_data / "spa.txt.gz", "rt", encoding="utf-8") as file:
        few = write(tmp_path, "few.tsv", "".join(next(file) for _ in range(5)))
    assert figures(capsys, "--model", models["translator"], "--data", few)["n_pairs"] == 5


@pytest.mark.parametrize("model, data, task", [
    ("gpt", "text", "text"), ("bert", "text", "text"), ("gpt", "questions", "multiple-choice"),
    ("gpt", "text", "generation"), ("classifier", "reviews", "classification"), ("translator", "pairs", "translation")])
def test_long_measurements_say_how_far_they_are(capsys, models, tmp_path, monkeypatch, model, data, task):
    monkeypatch.setattr("tinygpt.cli.evaluate.EVERY", 0.0)
    path = {"text": lambda: write(tmp_path, "text.txt", TEXT * 12), "questions": lambda: write(
                tmp_path, "q.jsonl", questions(tmp_path).read_text() * 8),
            "reviews": lambda: tsv(tmp_path, REVIEWS * 20, "text\tlabel\n"), "pairs": lambda: tsv(tmp_path, PAIRS * 20)}
    done = command(capsys, "evaluate", "--model", models[model], "--data", path[data](), "--task", task,
                   "--max-new-tokens", 2)
    lines = [re.fullmatch(r"([\d,]+) of ([\d,]+) batches  \d+:\d\d left", line) for line in done.err.splitlines()]
    assert done.code == 0 and lines and all(lines), done.err
    counts = [(int(line[1]), int(line[2])) for line in lines]
    assert counts == [(n, len(lines) + 1) for n in range(1, len(lines) + 1)]  # the total is that of all batches


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model, text, arguments, message", [
    ("classifier", "text\tstars\nx\tham\n", [], "line 2: no column named 'label'; it has text, stars; without"),
    ("classifier", "x\tham\n", ["--text-column", "5", "--label-column", "1"], "line 1: no column numbered 5"),
    ("classifier", "text\tlabel\nx\tham\ny\teggs\n", [], "line 3: the model has no label 'eggs'"),
    ("classifier", "text\tlabel\nx\tham\n\tspam\n", [], "line 3: the text is empty"),
    ("classifier", "text\tlabel\nx\n", [], "line 2: 1 fields, but the first line has 2"),
    ("classifier", "text\tlabel\n", [], "holds no records"),
    ("classifier", "", [], "is empty"),
    ("translator", "one\n", [], "line 1: expected two columns of text"),
    ("gpt", "a", [], "has 1 tokens, expected two at least"),
    ("gpt", "some text", ["--limit", "0"], "limit must be at least 1"),
    ("gpt", "some text", ["--task", "translation"], "needs an encoder-decoder, and"),
    ("gpt", "some text", ["--task", "classification"], "needs a model with a classification head, and"),
    ("bert", "some text", ["--task", "free-answers"], "holds a BERT with the head 'masked_lm'"),
    ("headless", "some text", ["--task", "multiple-choice"], "holds a BERT without a head"),
    ("translator", "some text", ["--task", "generation"], "needs a decoder, and"),
    ("gpt", "some text", ["--task", "poetry"], "invalid choice: 'poetry'"),
    ("gpt", "some text", ["--task", "generation", "--temperature", "-1"], "temperature is -1.0"),
    ("gpt", "a\tb\nc\td\n", ["--task", "multiple-choice"], "line 2: expected the fields of a record of hellaswag, "),
])
def test_bad_data(capsys, models, tmp_path, model, text, arguments, message):
    path = write(tmp_path, "data.tsv", text)
    assert message in error_line(command(capsys, "evaluate", "--model", models[model], "--data", path, *arguments))


def test_bad_json_and_missing_files(capsys, models, tmp_path):
    path = write(tmp_path, "x.jsonl", '{"ctx": "a", "endings": ["b", "c"], "label": 0}\n{"ctx": \n')
    assert "x.jsonl, line 2: not valid JSON" in error_line(
        command(capsys, "evaluate", "--model", models["gpt"], "--data", path))
    assert "no file or folder 'nowhere'" in error_line(
        command(capsys, "evaluate", "--model", models["gpt"], "--data", "nowhere"))
    assert "did you mean 'synthetic-sentiment'" in error_line(
        command(capsys, "evaluate", "--model", models["classifier"], "--data", "synthetic-sentimen"))
    assert "no folder" in error_line(command(capsys, "evaluate", "--model", tmp_path / "no", "--data", path))


def test_one_class_only_is_said(capsys, models, tmp_path):
    path = tsv(tmp_path, REVIEWS[:1], "text\tlabel\n")
    done = command(capsys, "evaluate", "--model", models["classifier"], "--data", path, "--json")
    assert "holds the label ham only" in done.err and json.loads(done.out)["n_texts"] == 1


def test_the_tokenizer_of_another_model(capsys, models, tmp_path):
    manual_seed(0)
    GPT(GPTConfig(vocab_size=100, **SIZES)).save_pretrained(tmp_path, load_tokenizer(models["gpt"]))
    assert "is of another model: it has 293 tokens, and the model 100" in error_line(
        command(capsys, "evaluate", "--model", tmp_path, "--data", write(tmp_path, "x.txt", TEXT)))
