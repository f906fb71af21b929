"""38: conversations summed up by SmolLM2, and whether that beats repeating their first sentence: ROUGE.

    python examples/38_summarization.py                                         # 2 minutes on 2 cores; 20 dialogues
    python examples/38_summarization.py --limit 100 --data my-dialogues.jsonl   # columns dialogue and summary

ROUGE counts the words (1), the pairs of words (2) and the longest common sequence (L) that a summary shares with one
that a person wrote (Lin 2004). It knows nothing of truth. A summary that names the wrong speaker scores as well as one
that names the right one, and a model of 135 million parameters mixes up who said what, adds an ending, or begins to
answer the conversation: read the two that are printed. So the figures stand beside those of two summaries that cost
nothing, the first sentence and the first three. What does not beat them has understood nothing.

For a whole file, and for encoder-decoders such as T5, the same figures come from

    tinygpt evaluate --task summarization --model smollm2 --data dialogsum-dev --limit 100

The model comes with pip; without it the first line says how. Prerequisites: 37_lora.py,
tinygpt/evaluation/summarization.py. Next: 39_zero_shot.py. Chen et al., "DialogSum" (2021), for the data.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tinygpt import load_model, load_tokenizer
from tinygpt.data import find_table
from tinygpt.evaluation import format_table
from tinygpt.evaluation.rouge import KINDS, mean_rouge
from tinygpt.evaluation.summarization import first_sentence, read_summaries, summarize
from tinygpt.models import GPT


def beginning(text: str, n: int) -> str:
    """The first n sentences."""
    found = []
    for _ in range(n):
        found.append(first := first_sentence(text))
        text = text.strip()[len(first):]
    return " ".join(found).strip()


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Sum up, and compare; returns ROUGE-1 F1 of each way."""
    parser = argparse.ArgumentParser(description="Sum up conversations, beside their first sentence.")
    parser.add_argument("--data", default="dialogsum-dev", help="texts and their summaries [%(default)s]")
    parser.add_argument("--limit", type=int, default=20, help="how many, from the first on [%(default)s]")
    parser.add_argument("--model", default="smollm2", help="a model that chats [%(default)s]")
    args = parser.parse_args(argv)
    try:
        pairs = read_summaries(find_table(args.data), args.limit)
        model, tokenizer = load_model(args.model), load_tokenizer(args.model)
        if not isinstance(model, GPT):
            raise ValueError(f"{args.model} holds a {type(model).__name__}, which does not chat")
    except (OSError, ValueError) as error:  # the model is not installed, say: the message says what to do
        parser.exit(2, f"38_summarization.py: {error}\n")

    texts, references = [text for text, _ in pairs], [summary for _, summary in pairs]
    ways = {"SmolLM2": summarize(model, tokenizer, texts), "first sentence": [beginning(text, 1) for text in texts],
            "first three sentences": [beginning(text, 3) for text in texts]}
    for place in range(min(2, len(texts))):
        print(f"a person:  {references[place]}\nSmolLM2:   {ways['SmolLM2'][place].strip()}\n")
    scores = {name: mean_rouge(summaries, references) for name, summaries in ways.items()}
    print(format_table([[name, *(score[kind].f1 for kind in KINDS)] for name, score in scores.items()],
                       header=[f"F1 on {len(texts)} texts", *KINDS]))
    return {name: score["rouge1"].f1 for name, score in scores.items()}


if __name__ == "__main__":
    main()
