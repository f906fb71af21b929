"""16: search by meaning: questions answered from files, and "more like this", with an encoder's vectors.

    python examples/16_semantic_search.py                                # 2 minutes on 2 cores
    python examples/16_semantic_search.py --model minilm                 # half a minute, a model of others
    python examples/16_semantic_search.py my-notes/ --question "where did I put the keys?"

Files are cut into paragraphs, and `pipeline("feature-extraction")` makes a vector for each token. Their mean is one
vector for a paragraph. What all paragraphs have in common, their mean and the three directions in which they differ
most, says little and is taken out, and the rest scaled to length 1. Then the paragraphs nearest to a question's vector
are its answer, and those nearest to another paragraph are recommended beside it. By default the files are this
project's documentation.

The encoder is a small BERT. It has learnt to fill in hidden words of the documentation inside every Python and of the
files themselves, nothing else; --model DIR takes one that is there (10_masked_words.py --out DIR saves one). A model of
sentence-transformers, such as --model minilm, makes one vector for a text by itself, in the way that its folder says.

Is it any good? Beside the model stands what no model is needed for: the cosine between counts of words weighted by how
rare they are (TF-IDF). Two tests:

    half    a paragraph is to be found by its longest sentence, of which every second word is missing
    rest    … by its longest sentence, which is then taken out of it: is it known where it belongs?

Where the words are the same, counting them is hard to beat, and a model of this size, which nobody told what is alike,
is far from it. The printed table says by how much. The three directions were chosen on such a table. MiniLM, with a
hundred times the weights and a billion pairs read, passes TF-IDF in the second test, not in the first, where words
are the same.

Prerequisites: 10_masked_words.py, tinygpt/pipelines/feature_extraction.py. Next: 17_evaluation.py. Reimers and
Gurevych, "Sentence-BERT" (2019); Mu and Viswanath, "All-but-the-top" (2018), on what all vectors have in common; Lee et
al., "Latent retrieval" (2019), the second test.
"""

from __future__ import annotations

import argparse
import math
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygpt import pipeline
from tinygpt.data import EMBEDDED, read_chunks
from tinygpt.evaluation import format_table
from tinygpt.models import SentenceEncoder
from tinygpt.pipelines import Pipeline
from tinygpt.pretrained import resolve_folder
from tinygpt.training import PretrainOptions, preset, pretrain

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = (".md", ".txt", ".rst")
N_COMMON = 3
QUESTIONS = (
    "How do I go on after a power cut?",
    "Why is nothing pickled?",
    "What does perplexity mean?",
    "Can text pretend to be a special token?",
    "How are gradients checked?",
    "Which file formats can be read?",
)


@dataclass(frozen=True)
class Passage:
    """A paragraph and the file that it stands in."""

    file: str
    text: str

    @property
    def sentences(self) -> list[str]:
        """Its sentences, roughly: cut after . ? ! or : and a space."""
        return [sentence for sentence in re.split(r"(?<=[.?!:])\s+", self.text) if sentence]


def read_passages(paths: Sequence[Path], least_words: int = 8) -> list[Passage]:
    """The paragraphs and list items of text files that hold a few words, without code and tables; each once.

    Raises:
        FileNotFoundError, ValueError: no such file, or nothing to read in any.
    """
    files = [file for path in paths for file in (
        sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES) if path.is_dir() else [path])]
    found: dict[str, Passage] = {}
    for file in files:
        text = re.sub(r"^```.*?^```", "", "".join(read_chunks(file)), flags=re.MULTILINE | re.DOTALL)
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)  # of a link, its text
        for paragraph in re.split(r"\n\s*\n|\n(?=[*-] )", text):
            lines = [line for line in paragraph.splitlines() if not line.lstrip().startswith(("|", "#", "<!--"))]
            words = " ".join(lines).split()
            if len(words) >= least_words:
                found.setdefault(" ".join(words), Passage(file.name, " ".join(words)))
    if not found:
        raise ValueError(f"there is no paragraph of at least {least_words} words in {', '.join(map(str, paths))}; "
                         f"of a folder, files ending in {', '.join(SUFFIXES)} are read")
    return list(found.values())


# ---------------------------------------------------------------------------------------------------------------------
# Three ways to vectors: texts -> (N, C), rows of length 1, so that a product of two is their cosine


Embed = Callable[[Sequence[str]], np.ndarray]


def unit(vectors: np.ndarray) -> np.ndarray:
    """The rows scaled to length 1; those of length 0 stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


class ByModel:
    """The mean of a text's token vectors, without what the texts it is `fit` to have in common."""

    def __init__(self, features: Pipeline) -> None:
        self.features = features
        tok = features.tokenizer
        self.room = features.model.config.block_size - len(tok.prefix_ids) - len(tok.suffix_ids)

    def _pieces(self, text: str) -> list[str]:
        """The text in pieces of whole words that fit the context."""
        pieces, length = [""], 0
        for word in text.split():
            n = len(self.features.tokenizer.encode(f" {word}", add_special_tokens=False))
            if length + n > self.room and pieces[-1]:
                pieces.append("")
                length = 0
            pieces[-1] += f" {word}"
            length += n
        return pieces

    def _means(self, texts: Sequence[str]) -> np.ndarray:
        pieces = [(place, piece) for place, text in enumerate(texts) for piece in self._pieces(text)]
        found = self.features([piece for _, piece in pieces], return_tensors=True, truncation=True)
        total, n = np.zeros((len(texts), found[0].shape[-1])), np.zeros((len(texts), 1))
        tok = self.features.tokenizer
        for (place, _), vectors in zip(pieces, found):  # (1, T, C)
            own = vectors[0, len(tok.prefix_ids):vectors.shape[1] - len(tok.suffix_ids)]
            total[place] += own.sum(axis=0)
            n[place] += len(own)
        return total / np.maximum(n, 1)

    def fit(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of the texts to be searched."""
        means = self._means(texts)  # (N, C)
        self.common = means.mean(axis=0)
        self.directions = np.linalg.svd(means - self.common, full_matrices=False)[2][:N_COMMON]  # (at most N_COMMON, C)
        return self._own(means)

    def _own(self, means: np.ndarray) -> np.ndarray:
        rest = means - self.common
        return unit(rest - rest @ self.directions.T @ self.directions)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of other texts, of questions."""
        return self._own(self._means(texts))


class BySentences:
    """The vectors of a model that was trained to tell what texts are alike; long texts lose their end."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self.encoder = encoder

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of any texts."""
        return unit(self.encoder.encode(texts))

    fit = __call__  # it does not depend on what is searched


class ByWords:
    """Counts of words, each weighted by how rare it is among the texts that this is `fit` to."""

    @staticmethod
    def _words(text: str) -> list[str]:
        return re.findall(r"\w+", text.lower())

    def fit(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of the texts to be searched."""
        found = Counter(word for text in texts for word in set(self._words(text)))
        self.rarity = {word: math.log(len(texts) / n) + 1 for word, n in found.items()}
        self.column = {word: place for place, word in enumerate(self.rarity)}
        return self(texts)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of other texts, of questions; words that were never seen count for nothing."""
        vectors = np.zeros((len(texts), len(self.column)), dtype=np.float32)
        for row, text in zip(vectors, texts):
            for word, n in Counter(self._words(text)).items():
                if word in self.column:
                    row[self.column[word]] = n * self.rarity[word]
        return unit(vectors)


# ---------------------------------------------------------------------------------------------------------------------
# What is measured


def perturbed(passages: Sequence[Passage], seed: int = 0) -> list[tuple[int, str, str]]:
    """(place, half of the longest sentence's words, the paragraph without that sentence), of those that have two."""
    rng = np.random.default_rng(seed)
    found = []
    for place, passage in enumerate(passages):
        sentence = max(passage.sentences, key=len)
        rest = " ".join(other for other in passage.sentences if other != sentence)
        words = sentence.split()
        if len(words) >= 8 and len(rest.split()) >= 4:
            kept = np.sort(rng.permutation(len(words))[:len(words) // 2])
            found.append((place, " ".join(words[index] for index in kept), rest))
    return found


def hit_rates(embed: ByModel | BySentences | ByWords, passages: Sequence[Passage],
              seed: int) -> dict[str, tuple[float, float]]:
    """Test -> the shares of paragraphs that come first, and among the first five."""
    texts, tests = [passage.text for passage in passages], perturbed(passages, seed)
    longest = [max(passages[place].sentences, key=len) for place, _, _ in tests]
    without = list(texts)
    for place, _, rest in tests:
        without[place] = rest
    wanted, rates = np.array([place for place, _, _ in tests]), {}
    for name, searched, queries in (("half", texts, [half for _, half, _ in tests]), ("rest", without, longest)):
        vectors = embed.fit(searched)
        scores = embed(queries) @ vectors.T  # (tests, passages)
        ranks = (scores > scores[np.arange(len(wanted)), wanted][:, None]).sum(axis=1)
        rates[name] = float((ranks < 1).mean()), float((ranks < 5).mean())
    return rates


def main(argv: Sequence[str] | None = None) -> dict[str, dict[str, tuple[float, float]]]:
    """Train or load, search, measure; returns the hit rates of both ways."""
    settings = preset("masked-words")
    parser = argparse.ArgumentParser(description="Search text files by meaning.")
    parser.add_argument("files", nargs="*", type=Path, help="text and markdown files, or folders [this project's docs]")
    parser.add_argument("--question", action="append", help="ask this; repeatable [a few about this project]")
    parser.add_argument("--model", default=None, metavar="DIR", help="an encoder that is there already [train one]")
    parser.add_argument("--out", default=None, metavar="DIR", help="keep the trained encoder there")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, masks and missing words [%(default)s]")
    parser.add_argument("--threads", type=int, default=None, help="processor cores to train on [all]")
    for name, value, what in (("steps", 1500, "training steps"), ("batch_size", 64, "windows in a step"),
                              ("vocab_size", 2048, "tokens of the vocabulary"),
                              ("n_layer", settings["n_layer"], "transformer blocks"),
                              ("n_embd", settings["n_embd"], "channels")):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value, help=f"{what} [%(default)s]")
    args = parser.parse_args(argv)

    try:
        paths = args.files or [ROOT / "README.md", ROOT / "docs"]
        passages = read_passages(paths)
        with tempfile.TemporaryDirectory() as temporary:
            folder = args.model or args.out or temporary
            if args.model is None:
                names = ("steps", "batch_size", "vocab_size", "n_layer", "n_embd", "seed", "threads")
                settings |= {name: getattr(args, name) for name in names if getattr(args, name) is not None}
                settings["data"] = (*map(str, paths), EMBEDDED)  # the files first: what validates is the end
                result = pretrain(PretrainOptions(**settings), folder)
                if result.interrupted:
                    parser.exit(1, f"16_semantic_search.py: stopped by {result.interrupted}\n")
            model: ByModel | BySentences = (
                BySentences(SentenceEncoder.from_pretrained(folder)) if is_sentence_model(folder)
                else ByModel(pipeline("feature-extraction", model=folder)))
    except (OSError, ValueError) as error:  # no such file, another kind of model, …: the message says what to do
        parser.exit(2, f"16_semantic_search.py: {error}\n")

    vectors = model.fit([passage.text for passage in passages])  # (N, C)
    print(f"{len(passages)} paragraphs of {len({passage.file for passage in passages})} files\n")
    questions = args.question or QUESTIONS
    words = ByWords()
    counts = words.fit([passage.text for passage in passages])
    for question, row, counted in zip(questions, model(questions), words(questions)):
        print(question)
        show(passages, vectors @ row, 2)
        print("  by words")
        show(passages, counts @ counted, 1)
    print(f"\nmore like this: {passages[0].text[:100]} …")
    show(passages, vectors @ vectors[0], 3, skip=1)

    if not perturbed(passages):
        parser.exit(0, "\nno paragraph has two sentences, so there is nothing to measure\n")
    rates = {name: hit_rates(way, passages, args.seed) for name, way in (("model", model), ("TF-IDF", words))}
    print("\n" + format_table(
        [[name, *(value for test in tests.values() for value in test)] for name, tests in rates.items()],
        header=["the paragraph is", "half: first", "in five", "rest: first", "in five"]))
    return rates


def is_sentence_model(folder: str) -> bool:
    """Whether a model's folder says how to make one vector of a text."""
    return (resolve_folder(folder) / "modules.json").is_file()


def show(passages: Sequence[Passage], scores: np.ndarray, n: int, skip: int = 0) -> None:
    """Print the best passages with their scores."""
    for place in np.argsort(-scores, kind="stable")[skip:skip + n]:
        text = passages[place].text
        print(f"  {scores[place]:.2f}  {passages[place].file:<22}  {text[:140]}{' …' * (len(text) > 140)}")


if __name__ == "__main__":
    main()
