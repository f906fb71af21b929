"""The table of tasks: every row measures its kind of model, and refuses the others by name."""

from __future__ import annotations

import json

import pytest
from test_benchmark_table import SHAPES

from tinygpt.backend import manual_seed
from tinygpt.data.chat_template import add_chat_template
from tinygpt.evaluation import BENCHMARKS
from tinygpt.evaluation.tasks import TASKS, Asked, task_for, task_named
from tinygpt.models import BERT, BERTConfig, EncoderDecoder, EncoderDecoderConfig, GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE

SIZES = dict(block_size=64, n_layer=1, n_head=2, n_embd=8)
LINES = {
    "text": "the quick brown fox\n", "generation": "the quick brown fox\n",
    "multiple-choice": json.dumps({"ctx": "the quick", "endings": ["fox", "dog"], "label": 1}) + "\n",
    "minimal-pairs": json.dumps({"sentence_good": "the fox", "sentence_bad": "fox the", "UID": "order"}) + "\n",
    "last-word": json.dumps({"text": "the quick brown fox"}) + "\n",
    "free-answers": json.dumps({"question": "which fox?", "answer": "brown"}) + "\n",
    "classification": "text\tlabel\nthe fox\tham\nthe dog\tspam\n",
    "instruction": json.dumps({"instruction": "say fox", "input": "", "output": "fox"}) + "\n",
    "translation": "the fox\tel zorro\n",
    **{name: json.dumps(shape[0]) + "\n" for name, shape in SHAPES.items()},
    "preference": json.dumps({"prompt": "which fox?", "chosen": "brown", "rejected": "the dog"}) + "\n",
    "summarization": json.dumps({"text": "the quick fox. the dog", "summary": "the fox"}) + "\n",
    "sentence-similarity": "the fox,the dog,2.5\nquick,brown,0\n",
}
ENDINGS = {"classification": "tsv", "translation": "tsv", "text": "txt", "generation": "txt",
           "sentence-similarity": "csv"}  # .jsonl otherwise
ANY = ("generation", "summarization", "last-word", "lambada")  # any text will do for it, so nothing suggests it
KIND = {"classification": "classifier", "translation": "translator", "sentence-similarity": "encoder",
        "summarization": "translator"}  # or a decoder
MEASURED = [task for task in (*TASKS, *BENCHMARKS) if task != "win-rate"]  # which needs two models and a judge


@pytest.fixture(scope="module")
def tokenizer():
    return add_chat_template(ByteBPE.train("the quick brown fox " * 9, 290, ["<s>", "</s>", "<pad>", "<mask>"]))


@pytest.fixture(scope="module")
def models(tokenizer):
    manual_seed(0)
    n, pad = len(tokenizer), dict(pad_token_id=tokenizer.pad_token_id)
    return {"decoder": GPT(GPTConfig(vocab_size=n, **SIZES)), "encoder": BERT(BERTConfig(vocab_size=n, **pad, **SIZES)),
            "hider": BERT.for_masked_lm(BERTConfig(vocab_size=n, **pad, **SIZES)),
            "classifier": BERT.for_classification(BERTConfig(vocab_size=n, **pad, **SIZES),
                                                  id2label={0: "ham", 1: "spam"}),
            "translator": EncoderDecoder(EncoderDecoderConfig(vocab_size=n, eos_token_id=1, **pad, **SIZES))}


def asked_of(task: str, folder) -> Asked:
    path = folder / f"data.{ENDINGS.get(task, 'jsonl')}"
    path.write_text(LINES[task], encoding="utf-8")
    (folder / "towns.sqlite").touch()  # on which queries are run
    return Asked(data=str(path), model_name=str(folder), max_new_tokens=4)


@pytest.mark.parametrize("task", MEASURED)
def test_every_task_gives_figures_for_json_and_the_same_as_a_table(task, models, tokenizer, tmp_path, recwarn):
    model, asked = models[KIND.get(task, "decoder")], asked_of(task, tmp_path)
    figures, table = task_named(task)(model, tokenizer, asked)
    assert figures and json.loads(json.dumps(figures)) == figures and len(table.splitlines()) >= 2
    if task not in ANY:
        assert task_for(model, tokenizer, asked.data) == (BENCHMARKS[task].task if task in BENCHMARKS else task)
    if "benchmark" in figures and "check" not in figures:  # what is scored by likelihood, encoders score as well
        assert task_named(task)(models["hider"], tokenizer, asked)[0].keys() == figures.keys()


@pytest.mark.parametrize("task", MEASURED)
def test_every_task_refuses_a_model_of_another_kind(task, models, tokenizer, tmp_path):
    other = models["encoder" if task == "summarization" else "translator" if KIND.get(task) in (None, "encoder")
                   else "decoder"]
    with pytest.raises(ValueError, match=f"this task needs an? .*, and .* holds a {type(other).__name__} "):
        task_named(task)(other, tokenizer, asked_of(task, tmp_path))


def test_a_limit_is_at_least_one():
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        Asked(data="x", limit=0)
