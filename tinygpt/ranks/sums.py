"""Sums in an order that does not depend on who has which part.

Rounding makes (a + b) + c and a + (b + c) two numbers. Replica gradients are therefore added up along one tree, which
depends only on how many replicas there are: neighbours first, then pairs, then fours.

    0   1   2   3   4   5      leaves: replicas of all ranks, numbered through
    └─┬─┘   └─┬─┘   └─┬─┘
     0-1     2-3     4-5       a node: its first leaf is a multiple of its size, a power of two
      └───┬───┘       │
         0-3          │
          └─────┬─────┘
               0-5             what is left at the end is added up from the left

A rank adds up what it has of the tree and sends only nodes. With 1, 2, 4, 8 … replicas a rank, that is one array,
however many replicas there are; with other numbers it is a few.

Prerequisites: group.py. Next: mpi.py.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["additions"]

Node = tuple[int, int]  # first leaf, number of leaves


def additions(nodes: Sequence[Node], whole: bool) -> tuple[list[tuple[int, int]], list[int]]:
    """How to add up some nodes of the tree, as far as they go together.

    Args:
        nodes: neighbours, in the order of their leaves.
        whole: whether these are all, so that one sum remains.

    Returns:
        Pairs (i, j), in their order: add what stands at place j to what stands at place i. And the places at which the
        sums stand then.

    >>> additions([(0, 1), (1, 1), (2, 1), (3, 1)], whole=True)
    ([(0, 1), (2, 3), (0, 2)], [0])
    >>> additions([(3, 1), (4, 1), (5, 1)], whole=False)
    ([(1, 2)], [0, 1])
    """
    pairs: list[tuple[int, int]] = []
    left: list[tuple[int, int, int]] = []  # place, first leaf, leaves
    for place, (first, size) in enumerate(nodes):
        left.append((place, first, size))
        while len(left) > 1 and left[-2][2] == left[-1][2] and left[-2][1] % (2 * left[-1][2]) == 0:
            (i, start, leaves), (j, _, _) = left[-2:]
            left[-2:] = [(i, start, 2 * leaves)]
            pairs.append((i, j))
    if whole:
        pairs += [(left[0][0], place) for place, _, _ in left[1:]]
        left = left[:1]
    return pairs, [place for place, _, _ in left]
