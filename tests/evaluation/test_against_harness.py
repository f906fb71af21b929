"""The same choices as lm-evaluation-harness makes: with its own code where it is installed, and with a scoring loop of
transformers, which is what it does, where that is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_benchmark_table import written

from tinygpt.backend import manual_seed
from tinygpt.evaluation import answer_questions, guess_last_words, read_questions
from tinygpt.evaluation.text_pairs import score_texts
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE

pytestmark = pytest.mark.oracle

WORDS = "the cat sat on a mat and then some dog ran to see what he had been doing all day in his old house".split()


def sentence(rng, low=2, high=9) -> str:
    return " ".join(rng.choice(WORDS, rng.integers(low, high)))


def records(rng, n=30) -> dict[str, list[dict]]:
    """Questions of every shape, of random words."""
    letters = "ABCD"
    return {
        "hellaswag": [{"activity_label": sentence(rng, 1, 3), "ctx_a": f"{sentence(rng)} [step]",
                       "ctx_b": sentence(rng), "endings": [sentence(rng) for _ in letters],
                       "label": int(rng.integers(4))} for _ in range(n)],
        "arc": [{"question": sentence(rng), "choices": {"text": [sentence(rng) for _ in letters],
                                                        "label": list(letters)},
                 "answerKey": letters[rng.integers(4)]} for _ in range(n)],
        "piqa": [{"goal": sentence(rng), "sol1": sentence(rng), "sol2": sentence(rng), "label": int(rng.integers(2))}
                 for _ in range(n)],
        "blimp": [{"sentence_good": (s := sentence(rng, 4, 9)), "sentence_bad": f"{s} {sentence(rng, 1, 3)}"}
                  for _ in range(n)],
        "winogrande": [{"sentence": f"{sentence(rng)} _ {sentence(rng)}", "option1": "cat", "option2": "old dog",
                        "answer": str(rng.integers(1, 3))} for _ in range(n)],
        "lambada": [{"text": sentence(rng, 4, 12)} for _ in range(n)],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("harness")
    tok = ByteBPE.train(" ".join(WORDS * 9), 300, ["<|endoftext|>"])
    manual_seed(5)
    GPT(GPTConfig(vocab_size=len(tok), block_size=32, n_layer=2, n_head=2, n_embd=16, initializer_range=0.4,
                  eos_token_id=tok.eos_token_id)).save_pretrained(place, tok)
    for name, found in records(np.random.default_rng(0)).items():
        written(place, *found, name=f"{name}.jsonl")
    return place


@pytest.mark.parametrize("name", ["hellaswag", "arc", "piqa", "blimp", "winogrande", "lambada"])
def test_costs_and_choices_are_those_of_a_loop_over_transformers(folder, name):
    """As the harness: context and continuation encoded together, a context that is too long loses its beginning."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    encode = transformers.AutoTokenizer.from_pretrained(folder)
    model, tok = GPT.from_pretrained(folder), ByteBPE.load(folder)
    _, questions = read_questions(folder / f"{name}.jsonl", name)
    pairs = [pair for question in questions for pair in question.pairs]
    ours = score_texts(model, tok, pairs, [len(question.choices) for question in questions])
    costs, first = [], []
    for context, continuation in pairs:
        whole = encode(context + continuation, add_special_tokens=False).input_ids
        before = encode(context, add_special_tokens=False).input_ids if context else []
        n = len(whole) - len(before)
        row = ((whole if before else [encode.eos_token_id, *whole])[-33:])
        with torch.no_grad():
            logits = torch.log_softmax(theirs(torch.tensor([row[:-1]])).logits[0, -n:].double(), dim=-1)
        target = torch.tensor(row[-n:])
        costs.append(-float(logits.gather(1, target[:, None]).sum()))
        first.append(bool((logits.argmax(dim=-1) == target).all()))
    np.testing.assert_allclose(ours.nats, costs, rtol=1e-4)
    assert ours.first.tolist() == first


@pytest.mark.parametrize("name", ["hellaswag", "arc", "piqa", "blimp", "lambada"])
def test_choices_are_those_of_the_harness(folder, name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    harness = pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks.hellaswag.utils import process_docs
    prompts = {
        "hellaswag": {"process_docs": process_docs, "doc_to_text": "{{query}}", "doc_to_target": "{{label}}",
                      "doc_to_choice": "choices"},
        "arc": {"doc_to_text": "Question: {{question}}\nAnswer:", "doc_to_choice": "{{choices.text}}",
                "doc_to_target": "{{choices.label.index(answerKey)}}"},
        "piqa": {"doc_to_text": "Question: {{goal}}\nAnswer:", "doc_to_target": "label",
                 "doc_to_choice": "{{[sol1, sol2]}}"},
        "blimp": {"doc_to_text": "", "doc_to_target": 0, "doc_to_choice": "{{[sentence_good, sentence_bad]}}"},
        "lambada": {"output_type": "loglikelihood", "doc_to_text": "{{text.split(' ')[:-1]|join(' ')}}",
                    "doc_to_target": "{{' '+text.split(' ')[-1]}}", "metric_list": [{"metric": "acc"}]}}
    task = {"task": f"own_{name}", "dataset_path": "json", "validation_split": "validation", "num_fewshot": 0,
            "dataset_kwargs": {"data_files": {"validation": str(folder / f"{name}.jsonl")}},
            "output_type": "multiple_choice", "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
            **prompts[name]}
    found = harness.simple_evaluate(model=HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=8),
                                    tasks=[task], log_samples=True, bootstrap_iters=0)
    samples = sorted(found["samples"][f"own_{name}"], key=lambda sample: sample["doc_id"])
    model, tok = GPT.from_pretrained(folder), ByteBPE.load(folder)
    _, questions = read_questions(folder / f"{name}.jsonl", name)
    if name == "lambada":
        assert guess_last_words(model, tok, questions).right == [bool(s["filtered_resps"][0][1]) for s in samples]
        return
    ours = answer_questions(model, tok, questions)
    costs = [np.array([float(answer[0]) for answer in sample["filtered_resps"]]) for sample in samples]
    assert ours.chosen["raw"] == [int(cost.argmax()) for cost in costs]
    right = [chosen == question.answer for chosen, question in zip(ours.chosen["per_character"], questions)]
    assert json.dumps(right) == json.dumps([bool(sample["acc_norm"]) for sample in samples])
