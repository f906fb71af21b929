"""33: questions answered from a folder: one model finds the passage, another answers from it, or does not know.

    python examples/33_question_answering.py                                            # half a minute on 2 cores
    python examples/33_question_answering.py --folder my-notes/ --question "Where is the key?"

MiniLM (22 million parameters) makes a vector of every passage and of the question; the passage with the nearest vector
is the source. SmolLM2 (135 million) reads the two and answers. Without --folder a town's handbook stands in, with
questions whose answers are known, so that the last lines can say how often each step was right.

A model of this size is easily wrong, and says nothing less sure of itself. Asked for what the passage does not hold, it
makes something up: "The library has 10 books." So nobody asks it whether it knows. It does not know when

    the passage is not about the question: their cosine is below --least;
    or the answer holds a word, other than the small ones, that stands in neither passage nor question.

The second test catches inventions, not misreadings: "The library closes at nine" is made of words of the passage that
says it opens at nine. Read the source beside the answer.

Both models come with pip; without them the first line says how. Prerequisites: 16_semantic_search.py,
tinygpt/models/sentences.py. Next: 34_customer_requests.py. Lewis et al., "Retrieval-augmented generation for
knowledge-intensive NLP tasks" (2020).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinygpt import pipeline
from tinygpt.data import read_chunks
from tinygpt.models import SentenceEncoder
from tinygpt.pipelines import Pipeline

UNKNOWN = "I do not know."
SMALL_WORDS = set("a an and are at be been by can do does for from has have how i in is it its must not of on or that "
                  "the their there they this to was what when where which who will with you your".split())
HANDBOOK = {
    "library.txt": "The library opens at nine in the morning and closes at six in the evening. On Sundays it is closed."
                   "\n\nYou may borrow five books at a time, for four weeks. The fine for a late book is 2 euros.",
    "park.txt": "Dogs must be kept on a lead in the park between April and September. The fine is 40 euros.\n\n"
                "The park closes at sunset. Barbecues are allowed on the meadow beside the lake.",
    "pool.txt": "The swimming pool is open from May to September. A ticket costs 4 euros, and 2 euros for children.",
    "waste.txt": "Glass is collected on the first Monday of the month. Paper is collected every Thursday.\n\n"
                 "Batteries and old paint can be brought to the yard in Mill Lane on Saturdays.",
    "buses.txt": "Bus 7 goes to the airport every twenty minutes. The journey takes half an hour.",
    "permits.txt": "A parking permit costs 60 euros a year. You can apply for it at the town hall, in room 12.",
}
QUESTIONS = (  # question, its file, a word that a right answer holds; or neither, where nobody can know
    ("On which day is the library closed?", "library.txt", "sunday"),
    ("How many books may I borrow?", "library.txt", "five"),
    ("How high is the fine for a dog without a lead?", "park.txt", "40"),
    ("Where are barbecues allowed?", "park.txt", "meadow"), ("How much is a ticket for the pool?", "pool.txt", "4"),
    ("When is glass collected?", "waste.txt", "monday"), ("Where can I bring old batteries?", "waste.txt", "mill"),
    ("How often does the bus to the airport go?", "buses.txt", "twenty"),
    ("What does a parking permit cost?", "permits.txt", "60"),
    ("Where do I apply for a parking permit?", "permits.txt", "12"),
    ("Who is the mayor?", None, None), ("How many books does the library have?", None, None),
    ("Who wrote Hamlet?", None, None), ("What colour are the buses?", None, None),
    ("What is the capital of France?", None, None), ("How deep is the lake in the park?", None, None),
)


def read_folder(folder: Path) -> dict[str, str]:
    """The texts of a folder's .txt and .md files, by name.

    Raises:
        FileNotFoundError: there is none.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".txt", ".md"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no .txt and no .md files")
    return {str(path.relative_to(folder)): "".join(read_chunks(path)) for path in files}


def words(text: str) -> set[str]:
    """The words of a text that say something."""
    return set(re.findall(r"\w+", text.lower())) - SMALL_WORDS


class Librarian:
    """Answers from files.

    Args:
        files: texts by name; passages are set apart by empty lines.
        finder, writer: the two models. least: of a question's cosine with its passage.
    """

    def __init__(self, files: dict[str, str], finder: SentenceEncoder, writer: Pipeline, least: float) -> None:
        self.passages = [(name, " ".join(part.split())) for name, text in files.items()
                         for part in re.split(r"\n\s*\n", text) if part.strip()]
        self.finder, self.writer, self.least = finder, writer, least
        self.vectors = finder.encode([passage for _, passage in self.passages])  # (N, C), of length 1

    def answer(self, question: str) -> tuple[str, str, str, float]:
        """(answer, file, passage, cosine)."""
        cosines = self.vectors @ self.finder.encode(question)
        best = int(np.argmax(cosines))
        name, passage = self.passages[best]
        if cosines[best] < self.least:
            return UNKNOWN, name, passage, float(cosines[best])
        asked = [{"role": "user", "content": f"Context: {passage}\n\nAnswer the question in one sentence, using only "
                                             f"the context: {question}"}]
        said = self.writer(asked, max_new_tokens=40, do_sample=False)[0]["generated_text"][-1]["content"].strip()
        grounded = words(said) <= words(passage) | words(question)
        return said if grounded and said else UNKNOWN, name, passage, float(cosines[best])


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Answer questions; of the handbook's, returns how often each step was right."""
    parser = argparse.ArgumentParser(description="Answer questions from a folder of files.")
    parser.add_argument("--folder", type=Path, default=None, help="text files to answer from [a town's handbook]")
    parser.add_argument("--question", action="append", help="what to ask; may be repeated [the handbook's questions]")
    parser.add_argument("--finder", default="minilm", help="model of sentence vectors [%(default)s]")
    parser.add_argument("--writer", default="smollm2", help="model that chats [%(default)s]")
    parser.add_argument("--least", type=float, default=0.3, help="cosine below which nothing is known [%(default)s]")
    args = parser.parse_args(argv)
    try:
        files = HANDBOOK if args.folder is None else read_folder(args.folder)
        finder, writer = SentenceEncoder.from_pretrained(args.finder), pipeline("text-generation", args.writer)
    except (OSError, ValueError) as error:  # a model is not installed, say: the message says what to do
        parser.exit(2, f"33_question_answering.py: {error}\n")

    librarian = Librarian(files, finder, writer, args.least)
    known = QUESTIONS if args.question is None else tuple((question, None, None) for question in args.question)
    right: dict[str, list[bool]] = {"source": [], "answered": [], "refused": []}
    for question, file, expected in known:
        said, name, passage, cosine = librarian.answer(question)
        print(f"{question}\n    {said}   [{name}, cosine {cosine:.2f}: {passage[:60]}…]", flush=True)
        if expected is None:
            right["refused"].append(said == UNKNOWN)
        else:
            right["source"].append(name == file)
            right["answered"].append(expected in said.lower())
    if args.question is not None or args.folder is not None:
        return {}
    figures = {name: float(np.mean(values)) for name, values in right.items()}
    print(f"right file {figures['source']:.0%}, right answer {figures['answered']:.0%} of {len(right['source'])}; "
          f"of {len(right['refused'])} questions that the files do not answer, {figures['refused']:.0%} refused")
    return figures


if __name__ == "__main__":
    main()
