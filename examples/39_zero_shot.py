"""39: labels that nobody trained for: requests and opinions sorted by what the labels are called.

    python examples/39_zero_shot.py                                                       # a minute on 2 cores
    python examples/39_zero_shot.py --text "My card was stolen" --labels "lost card" "exchange rate" "top up"

MiniLM makes a vector of a text and of each label's name, and the nearest label is taken. No example is shown. Of the 77
intents of banking77 that finds more than half, by the words in their names, and it tells praise from blame in three
sentences of four. SmolLM2 does that better: of " good" and " bad" after `Review: … In one word, the film is`, the
likelier one counts, less what it likes to say anyway (Zhao et al. 2021). Both stand beside the most frequent label and
beside naive Bayes, which counts the words of labelled sentences: of a hundred it learns next to nothing, and with some
thousands it is level with the model that has seen none.

With a model of natural language inference, `pipeline("zero-shot-classification")` asks it whether "This example is
sport." follows; see docs/pipelines.md.

Both models come with pip; without them the first line says how. Prerequisites: 34_customer_requests.py. Next:
docs/pretrained.md. Zhao et al., "Calibrate before use" (2021).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

import numpy as np

from tinygpt import load_model, load_tokenizer
from tinygpt.data import find_table
from tinygpt.data.labelled import read_labelled
from tinygpt.evaluation import NaiveBayes
from tinygpt.models import GPT, SentenceEncoder
from tinygpt.ops import log_softmax
from tinygpt.tokenizers import Tokenizer

WORDS = {"0": " bad", "1": " good"}  # what SST-2's numbers mean
DESCRIPTIONS = {"0": "a bad film", "1": "a good film"}


def by_vectors(encoder: SentenceEncoder, texts: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """The place of the nearest name of each text, (N,)."""
    return (encoder.encode(texts) @ encoder.encode(names).T).argmax(axis=1)


def by_likelihood(model: GPT, tokenizer: Tokenizer, texts: Sequence[str], words: Sequence[str]) -> np.ndarray:
    """The place of the word that gains most by the text, (N,)."""
    places = [tokenizer.encode(word, add_special_tokens=False)[0] for word in words]

    def scores(text: str) -> np.ndarray:
        ids = tokenizer.encode_prompt(f"Review: {text}\nIn one word, the film is")
        return log_softmax(model([ids])[0, -1], axis=-1).data[places]

    return np.array([np.argmax(scores(text) - scores("-")) for text in texts])


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Sort texts by names of labels; returns accuracies."""
    parser = argparse.ArgumentParser(description="Sort texts by the names of labels.")
    parser.add_argument("--text", action="append", help="a text of your own; may be repeated")
    parser.add_argument("--labels", nargs="+", default=("question", "complaint", "praise"), help="with --text: labels")
    parser.add_argument("--requests", default="banking77-test", help="a table: text, category [%(default)s]")
    parser.add_argument("--opinions", default="sst2-dev", help="a table: text, 0 or 1 [%(default)s]")
    parser.add_argument("--labelled", default="sst2", help="opinions that naive Bayes learns from [%(default)s]")
    parser.add_argument("--limit", type=int, default=100, help="texts of each [%(default)s]")
    parser.add_argument("--encoder", default="minilm", help="model of sentence vectors [%(default)s]")
    parser.add_argument("--writer", default="smollm2", help="a model that writes [%(default)s]")
    args = parser.parse_args(argv)
    try:
        encoder = SentenceEncoder.from_pretrained(args.encoder)
        if args.text:
            for text, place in zip(args.text, by_vectors(encoder, args.text, args.labels)):
                print(f"{args.labels[place]:24} {text}")
            return {}
        model, tokenizer = load_model(args.writer), load_tokenizer(args.writer)
        requests = read_labelled(find_table(args.requests), "text", "category")
        opinions = read_labelled(find_table(args.opinions), 0, 1)
        labelled = read_labelled(find_table(args.labelled), 0, 1)
        if not isinstance(model, GPT):
            raise ValueError(f"{args.writer} holds a {type(model).__name__}, which does not write")
    except (OSError, ValueError) as error:  # a model is not installed, say: the message says what to do
        parser.exit(2, f"39_zero_shot.py: {error}\n")

    rng, found = np.random.default_rng(0), {}
    for name, rows in (("requests", requests), ("opinions", opinions)):
        chosen = [rows[place] for place in rng.permutation(len(rows))[:args.limit]]
        texts, truth = [text for text, _ in chosen], np.array([label for _, label in chosen])
        labels = sorted({label for _, label in rows})
        found[f"{name}: most frequent"] = Counter(truth.tolist()).most_common(1)[0][1] / len(truth)
        names = [DESCRIPTIONS.get(label, label.replace("_", " ")) for label in labels]
        found[f"{name}: MiniLM"] = np.mean(np.array(labels)[by_vectors(encoder, texts, names)] == truth)
        if name == "opinions":
            answers = by_likelihood(model, tokenizer, texts, [WORDS[label] for label in labels])
            found[f"{name}: SmolLM2"] = np.mean(np.array(labels)[answers] == truth)
            for n in (100, len(labelled)):
                some = [labelled[place] for place in rng.permutation(len(labelled))[:n]]
                counted = NaiveBayes([text for text, _ in some], [label for _, label in some]).predict(texts)
                found[f"{name}: naive Bayes, {n:,} labels"] = np.mean(np.array(counted) == truth)
    for name, value in found.items():
        print(f"{name:40} {value:.1%}")
    return {name: float(value) for name, value in found.items()}


if __name__ == "__main__":
    main()
