"""The same choices as lm-evaluation-harness? Question by question, on the same files and weights.

    pip install lm-eval torch transformers        # in an environment of its own, with this package
    python examples/benchmarks/against_harness.py --model smollm2 --limit 200        # 10 minutes a model on 2 cores
    python examples/benchmarks/against_harness.py --limit 200                        # a random GPT of two layers

HellaSwag, LAMBADA and BLiMP are the files at hand (TINYGPT_DATA). ARC's and PIQA's files are used if they are there;
otherwise questions of their shape are made of HellaSwag's scenes. Every question that is answered otherwise is printed
with what the two choices cost here and there.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import tinygpt
from tinygpt.data import find_corpus
from tinygpt.evaluation import answer_questions, format_table, guess_last_words, read_questions
from tinygpt.evaluation.text_pairs import score_texts
from tinygpt.models import GPT, GPTConfig

CHOICES = {"output_type": "multiple_choice", "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]}
TASKS = {  # as the harness' own files of these tasks say
    "hellaswag": CHOICES | {"doc_to_text": "{{query}}", "doc_to_target": "{{label}}", "doc_to_choice": "choices"},
    "arc": CHOICES | {"doc_to_text": "Question: {{question}}\nAnswer:", "doc_to_choice": "{{choices.text}}",
                      "doc_to_target": "{{choices.label.index(answerKey)}}"},
    "piqa": CHOICES | {"doc_to_text": "Question: {{goal}}\nAnswer:", "doc_to_target": "label",
                       "doc_to_choice": "{{[sol1, sol2]}}"},
    "blimp": CHOICES | {"doc_to_text": "", "doc_to_target": 0, "doc_to_choice": "{{[sentence_good, sentence_bad]}}"},
    "lambada": {"output_type": "loglikelihood", "doc_to_text": "{{text.split(' ')[:-1]|join(' ')}}",
                "doc_to_target": "{{' '+text.split(' ')[-1]}}", "metric_list": [{"metric": "acc"}]},
}


def records(name: str, limit: int) -> list[dict]:
    """`limit` records of a benchmark, at even distances."""
    try:
        path = find_corpus(name, download=False)
    except FileNotFoundError:
        if name not in ("arc", "piqa"):
            raise
        scenes = records("hellaswag", limit)
        if name == "arc":
            return [{"question": scene["ctx"], "choices": {"text": scene["endings"], "label": list("ABCD")},
                     "answerKey": "ABCD"[scene["label"]]} for scene in scenes]
        return [{"goal": scene["ctx"], "sol1": scene["endings"][scene["label"]],
                 "sol2": scene["endings"][(scene["label"] + 1) % 4], "label": 0} for scene in scenes]
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(lines[i]) for i in np.linspace(0, len(lines) - 1, min(limit, len(lines)), dtype=int)]


def compare(name: str, folder: Path, data: Path, backend: object) -> list[str | int | float]:
    """One row: how many questions, how many are answered alike, and the largest difference of a cost."""
    import lm_eval
    from lm_eval.tasks.hellaswag.utils import process_docs

    task = {"task": f"own_{name}", "dataset_path": "json", "validation_split": "validation", "num_fewshot": 0,
            "dataset_kwargs": {"data_files": {"validation": str(data)}},
            **({"process_docs": process_docs} if name == "hellaswag" else {}), **TASKS[name]}
    found = lm_eval.simple_evaluate(model=backend, tasks=[task], log_samples=True, bootstrap_iters=0)
    samples = sorted(found["samples"][task["task"]], key=lambda sample: sample["doc_id"])
    model, tokenizer = tinygpt.load_model(folder), tinygpt.load_tokenizer(folder)
    _, questions = read_questions(data, name)
    if name == "lambada":
        theirs = [bool(sample["filtered_resps"][0][1]) for sample in samples]
        ours = guess_last_words(model, tokenizer, questions).right
        for place in np.flatnonzero(np.array(ours) != theirs):
            print(f"  lambada {place}: right {ours[place]} here, {theirs[place]} there")
        alike = [a == b for a, b in zip(ours, theirs)]
        return [name, len(questions), sum(alike), "-", float(np.mean(ours)), float(np.mean(theirs))]
    found_here = answer_questions(model, tokenizer, questions)
    costs = [np.array([float(answer[0]) for answer in sample["filtered_resps"]]) for sample in samples]
    ours, theirs = found_here.chosen["raw"], [int(cost.argmax()) for cost in costs]
    for place in np.flatnonzero(np.array(ours) != theirs):
        pairs = list(questions[place].pairs)
        mine = -score_texts(model, tokenizer, pairs, [len(pairs)]).nats
        print(f"  {name} {place}: here {ours[place]} {np.round(mine, 4).tolist()}, there {theirs[place]} "
              f"{np.round(costs[place], 4).tolist()}")
    normed = [chosen == question.answer for chosen, question in zip(found_here.chosen["per_character"], questions)]
    same = [a == bool(sample["acc_norm"]) for a, sample in zip(normed, samples)]
    return [name, len(questions), sum(a == b for a, b in zip(ours, theirs)), sum(same),
            found_here.accuracy("raw"), float(np.mean([sample["acc"] for sample in samples]))]


def main(argv: Sequence[str] | None = None) -> list[list[str | int | float]]:
    """Compare, print; returns the rows of the table."""
    parser = argparse.ArgumentParser(description="Choices beside those of lm-evaluation-harness.")
    parser.add_argument("--model", default=None, help="a model [a random GPT of two layers, SmolLM2's tokenizer]")
    parser.add_argument("--limit", type=int, default=200, help="questions of each benchmark [%(default)s]")
    parser.add_argument("--benchmarks", nargs="+", default=list(TASKS), choices=list(TASKS), help="which [all]")
    args = parser.parse_args(argv)
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    try:
        from lm_eval.models.huggingface import HFLM
    except ImportError:
        parser.exit(2, "against_harness.py: lm-eval is not installed: pip install lm-eval torch transformers\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder, rows = Path(temporary, "model"), []
        tokenizer = tinygpt.load_tokenizer(args.model or "smollm2")
        if args.model is None:
            tinygpt.manual_seed(0)
            model = GPT(GPTConfig(vocab_size=len(tokenizer), block_size=1024, n_layer=2, n_head=4, n_embd=64,
                                  architecture="llama", initializer_range=0.1, eos_token_id=tokenizer.eos_token_id))
        else:
            model = tinygpt.load_model(args.model)
        model.save_pretrained(folder, tokenizer)
        backend = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=16)
        for name in args.benchmarks:
            data = Path(temporary, f"{name}.jsonl")
            data.write_text("".join(json.dumps(record) + "\n" for record in records(name, args.limit)),
                            encoding="utf-8")
            rows.append(compare(name, folder, data, backend))
            print(f"{name} done", flush=True)
    print(format_table(rows, ["", "questions", "same choice", "same, by length", "accuracy here", "there"]))
    return rows


if __name__ == "__main__":
    main()
