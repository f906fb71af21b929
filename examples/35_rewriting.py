"""35: a message in another tone: a small model writes several, and another one picks what says the same.

    python examples/35_rewriting.py                                                  # a minute on 2 cores
    python examples/35_rewriting.py --text "Send me the report now." --tone "friendly"

SmolLM2-135M is asked to rewrite a message, and its likeliest answer is often no rewriting at all: an apology, a lecture
about politeness, the message as it was. But of several answers that are drawn, one or two are good. So MiniLM reads
them: of those that are new and not much longer, the one whose vector is nearest to the message's is taken.

Look at each before you send it. A vector knows what a message is about better than what it claims: "The food was not
bad" is near to "The food was bad", "your son is ill" to "our son is ill". Tones that need invention, such as a
pirate's, are beyond this model, and so are texts of more than a sentence or two.

Both models come with pip; without them the first line says how. Prerequisites: 33_question_answering.py. Next:
36_code_completion.py. Wang et al., "Self-consistency improves chain of thought reasoning" (2023), on drawing several
answers and choosing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from tinygpt import pipeline
from tinygpt.models import SentenceEncoder
from tinygpt.pipelines import Pipeline

MESSAGES = (
    "Give me your phone number.",
    "Stop calling me.",
    "Your invoice is wrong, send a new one.",
    "The food was bad and the waiter was rude.",
    "We can't come tonight, our son is ill.",
)


def candidates(writer: Pipeline, message: str, tone: str, n: int, seed: int) -> list[str]:
    """The different rewritings among `n` that are drawn: first lines, new, and at most twice as long."""
    request = f'Please make this sentence more {tone}: "{message}"'
    drawn = writer([{"role": "user", "content": request}], max_new_tokens=40, do_sample=True, temperature=0.7,
                   top_k=None, top_p=0.9, num_return_sequences=n, seed=seed)
    lines = [(record["generated_text"][-1]["content"].strip().splitlines() or [""])[0].strip('" ') for record in drawn]
    old = message.strip(".!? ").lower()
    return [line for line in dict.fromkeys(lines)
            if line.strip(".!? ").lower() != old and tone not in line.lower()
            and 0 < len(line) <= 2 * len(message) + 20]


def main(argv: Sequence[str] | None = None) -> dict[str, list[tuple[float, str]]]:
    """Rewrite messages; returns the candidates of each with their cosines, the best first."""
    parser = argparse.ArgumentParser(description="Rewrite messages in another tone.")
    parser.add_argument("--text", action="append", help="a message; may be repeated [five of them]")
    parser.add_argument("--tone", default="polite", help="what it should become [%(default)s]")
    parser.add_argument("--writer", default="smollm2", help="model that chats [%(default)s]")
    parser.add_argument("--judge", default="minilm", help="model of sentence vectors [%(default)s]")
    parser.add_argument("--candidates", type=int, default=8, help="how many are drawn [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn [%(default)s]")
    args = parser.parse_args(argv)
    try:
        writer, judge = pipeline("text-generation", args.writer), SentenceEncoder.from_pretrained(args.judge)
    except (OSError, ValueError) as error:  # a model is not installed, say: the message says what to do
        parser.exit(2, f"35_rewriting.py: {error}\n")

    found: dict[str, list[tuple[float, str]]] = {}
    for message in args.text or MESSAGES:
        lines = candidates(writer, message, args.tone, args.candidates, args.seed)
        vectors = judge.encode([message, *lines])
        cosines = (vectors[1:] @ vectors[0]).tolist()
        found[message] = sorted(zip(cosines, lines), reverse=True)
        print(f"{message}\n" + "".join(f"    {cosine:.2f}  {line}\n" for cosine, line in found[message][:2])
              + ("" if lines else "    nothing that is a rewriting\n"), flush=True)
    kept = [rows[0][0] for rows in found.values() if rows]
    print(f"{len(kept)} of {len(found)} messages rewritten" + (f", mean cosine {np.mean(kept):.2f}" if kept else ""))
    return found


if __name__ == "__main__":
    main()
