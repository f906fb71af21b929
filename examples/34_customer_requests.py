"""34: customer requests put in order, without a label: clusters of what people ask, and "more like this".

    python examples/34_customer_requests.py                     # a minute on 2 cores
    python examples/34_customer_requests.py --data my-requests.csv --clusters 20 --like "My card was stolen"

MiniLM makes a vector of each request, and k-means puts near vectors into one cluster; nobody says what there is to
find. A cluster shows itself by the requests nearest to its middle. With --like, the requests nearest to a text.

Where the file has labels (banking77: 77 intents of customers of a bank), two figures say how good that is, beside the
same with counts of words (TF-IDF):

    agreement   of the clusters with the labels: the adjusted Rand index, 0 by chance and 1 if they are equal
    neighbour   how often a request and the one most like it have the same label

Prerequisites: 16_semantic_search.py, tinygpt/models/sentences.py. Next: 35_rewriting.py. Arthur and Vassilvitskii,
"k-means++" (2007); Hubert and Arabie, "Comparing partitions" (1985); Casanueva et al., "Efficient intent detection"
(2020), for the data.
"""

from __future__ import annotations

import argparse
import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from tinygpt.data import find_table
from tinygpt.data.labelled import read_labelled
from tinygpt.models import SentenceEncoder


def by_words(texts: Sequence[str]) -> np.ndarray:
    """Counts of words, weighted by how rare they are, as vectors of length 1 (N, V)."""
    counts = [Counter(re.findall(r"\w+", text.lower())) for text in texts]
    found = Counter(word for count in counts for word in count)
    column = {word: place for place, word in enumerate(found)}
    vectors = np.zeros((len(texts), len(column)), np.float32)
    for row, count in zip(vectors, counts):
        for word, n in count.items():
            row[column[word]] = n * (math.log(len(texts) / found[word]) + 1)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def k_means(vectors: np.ndarray, k: int, seed: int, rounds: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """(cluster of each vector (N,), middles (k, C)); vectors of length 1, and so are the middles.

    The first middles are drawn far from one another (k-means++).
    """
    rng = np.random.default_rng(seed)
    middles = vectors[rng.integers(len(vectors))][None]
    while len(middles) < k:
        far = np.maximum(1 - (vectors @ middles.T).max(axis=1), 0)  # grows with the squared distance
        chances = far / far.sum() if far.sum() > 0 else np.full(len(far), 1 / len(far))
        middles = np.vstack([middles, vectors[rng.choice(len(vectors), p=chances)]])
    clusters = np.full(len(vectors), -1)
    for _ in range(rounds):
        nearest = (vectors @ middles.T).argmax(axis=1)
        if np.array_equal(nearest, clusters):
            break
        clusters = nearest
        for place in np.unique(clusters):  # a cluster that lost all of its members stays where it was
            mean = vectors[clusters == place].mean(axis=0)
            middles[place] = mean / max(np.linalg.norm(mean), 1e-12)
    return clusters, middles


def adjusted_rand(a: np.ndarray, b: np.ndarray) -> float:
    """How far two partitions agree on which pairs belong together: 1 if they are equal, 0 on average by chance."""
    _, a = np.unique(a, return_inverse=True)
    _, b = np.unique(b, return_inverse=True)
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    both, left, right, all_pairs = (float((n * (n - 1) / 2).sum()) for n in (
        table, table.sum(axis=1), table.sum(axis=0), table.sum()))
    by_chance = left * right / all_pairs
    return 1.0 if left + right == 2 * by_chance else (both - by_chance) / ((left + right) / 2 - by_chance)


def same_as_neighbour(vectors: np.ndarray, labels: np.ndarray) -> float:
    """The share of texts whose nearest other text has their label."""
    near = vectors @ vectors.T
    np.fill_diagonal(near, -np.inf)
    return float((labels[near.argmax(axis=1)] == labels).mean())


def main(argv: Sequence[str] | None = None) -> dict[str, tuple[float, float]]:
    """Cluster, show, measure; returns (agreement, neighbour) of both kinds of vectors."""
    parser = argparse.ArgumentParser(description="Cluster customer requests, and find more like one.")
    parser.add_argument("--data", default="banking77-test", help="a table of requests [%(default)s]")
    parser.add_argument("--text-column", default="text", help="the column of texts [%(default)s]")
    parser.add_argument("--label-column", default="category", help="the column of labels to compare with [%(default)s]")
    parser.add_argument("--model", default="minilm", help="model of sentence vectors [%(default)s]")
    parser.add_argument("--clusters", type=int, default=None, help="how many [as many as there are labels]")
    parser.add_argument("--show", type=int, default=6, help="clusters to show, the largest first [%(default)s]")
    parser.add_argument("--like", default="I have lost my card!", help="find requests like this [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of the first middles [%(default)s]")
    args = parser.parse_args(argv)
    try:
        rows = read_labelled(find_table(args.data), args.text_column, args.label_column)
        encoder = SentenceEncoder.from_pretrained(args.model)
    except (OSError, ValueError) as error:  # no such file, a model that is not installed: the message says what to do
        parser.exit(2, f"34_customer_requests.py: {error}\n")

    texts, labels = [text for text, _ in rows], np.array([label for _, label in rows])
    k = min(args.clusters or len(set(labels)), len(texts))
    vectors = encoder.encode([*texts, args.like])
    vectors, like = vectors[:-1], vectors[-1]
    clusters, middles = k_means(vectors, k, args.seed)
    for place, size in Counter(clusters.tolist()).most_common(args.show):
        members = np.flatnonzero(clusters == place)
        label, n = Counter(labels[members].tolist()).most_common(1)[0]
        print(f"\n{size} requests, {n} of them labelled {label}:")
        for member in members[np.argsort(-(vectors[members] @ middles[place]))[:3]]:
            print(f"  {texts[member]}")
    print(f"\nmore like {args.like!r}:")
    for place in np.argsort(-(vectors @ like))[:5]:
        print(f"  {vectors[place] @ like:.2f}  {texts[place]}   [{labels[place]}]")

    counts = by_words(texts)
    found = {"MiniLM": (adjusted_rand(clusters, labels), same_as_neighbour(vectors, labels)),
             "TF-IDF": (adjusted_rand(k_means(counts, k, args.seed)[0], labels), same_as_neighbour(counts, labels))}
    print(f"\n{len(texts):,} requests, {len(set(labels))} labels, {k} clusters")
    for name, (agreement, neighbour) in found.items():
        print(f"{name}   agreement {agreement:.2f}   neighbour {neighbour:.1%}")
    return found


if __name__ == "__main__":
    main()
