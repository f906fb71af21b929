"""21: a transformer that looks at pictures: patches instead of tokens, beside a convolutional network.

    python examples/21_vision_transformer.py                    # drawn digits; 4 minutes
    python examples/21_vision_transformer.py --digits real      # scikit-learn's handwritten ones, where it is installed

A picture of 8 by 8 points is cut into 16 patches of 2 by 2. One Linear makes C channels of the four points of a patch,
and from there on it is the encoder that reads texts: a table of positions, blocks of attention and feed-forward, and no
mask. Nothing tells it that patch 5 lies below patch 1, or that a stroke looks the same one point further left. The
convolutional network has both built in. So it should need fewer pictures, and the question is how many more the
transformer needs: both learn from 50 pictures, then from more, and have about as many parameters.

Prerequisites: 20_word_vectors.py. Next: 22_gan.py. Dosovitskiy et al., "An image is worth 16x16 words" (2021).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

import tinygpt as tg
from tinygpt import Tensor, nn, ops
from tinygpt.data import drawn_digits, handwritten_digits, step_generator
from tinygpt.models import PictureCNN
from tinygpt.optim import AdamW, cosine_schedule

C, HEADS, BLOCKS, SIDE = 32, 4, 2, 2  # channels, heads, blocks, points of a patch's side
BATCH, N_TEST = 50, 500


class VisionTransformer(nn.Module):
    """Patches through one Linear into an encoder; the mean over the patches gives the label."""

    def __init__(self, size: int, n_labels: int) -> None:
        self.patch = nn.Linear(SIDE * SIDE, C, std=0.5)
        self.positions = nn.LearnedPositions((size // SIDE) ** 2, C, std=0.1)
        self.blocks = [nn.Block(nn.MultiHeadAttention(C, HEADS, std=C ** -0.5),
                                nn.FeedForward(C, 4 * C, std=C ** -0.5, out_std=(4 * C) ** -0.5),
                                lambda: nn.LayerNorm(C)) for _ in range(BLOCKS)]
        self.norm, self.out = nn.LayerNorm(C), nn.Linear(C, n_labels, std=C ** -0.5)

    def forward(self, pictures: Any) -> Tensor:
        """(B, S, S) -> scores of the labels, (B, K)."""
        n, size, _ = pictures.shape
        x = Tensor(pictures).reshape(n, size // SIDE, SIDE, size // SIDE, SIDE).transpose(0, 1, 3, 2, 4)
        x = self.patch(x.reshape(n, -1, SIDE * SIDE))  # (B, T, C): the patches, row by row
        where = np.arange(x.shape[1])
        x = self.positions.add(x, where)
        sight = nn.Sight(self.positions, nn.Mask(), where)
        for block in self.blocks:
            x = block(x, sight)
        return self.out(ops.mean(self.norm(x), axis=1))


def train(model: nn.Module, pictures: np.ndarray, labels: np.ndarray, steps: int, lr: float, seed: int) -> None:
    """Learn what pictures show."""
    optimizer = AdamW(model, lr=lr, weight_decay=0.05)
    for step in range(steps):
        rng = step_generator(seed, step)
        some = rng.integers(len(labels), size=BATCH)
        ops.cross_entropy(model(pictures[some]), labels[some]).backward()
        optimizer.step(lr=cosine_schedule(step, max_lr=lr, min_lr=0.0, warmup_steps=steps // 20, total_steps=steps))
        optimizer.zero_grad()


@tg.no_grad()
def accuracy(model: nn.Module, pictures: np.ndarray, labels: np.ndarray) -> float:
    """The part of the pictures that get their label."""
    return float((model(pictures).data.argmax(axis=1) == labels).mean())


def main(argv: Sequence[str] | None = None) -> dict[str, list[float]]:
    """Train both on more and more pictures; returns the accuracies of each."""
    parser = argparse.ArgumentParser(description="Recognise digits with a transformer and with a convolution.")
    parser.add_argument("--digits", choices=["drawn", "real"], default="drawn", help="which pictures [%(default)s]")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 200, 500, 1200], help="pictures to learn "
                        "from [%(default)s]")
    parser.add_argument("--steps", type=int, default=600, help="training steps [%(default)s]")
    parser.add_argument("--seeds", type=int, default=3, help="how many initial weights and splits [%(default)s]")
    args = parser.parse_args(argv)
    kinds = {"convolution": lambda: PictureCNN(10, n_kernels=26), "transformer": lambda: VisionTransformer(8, 10)}
    try:
        splits = [drawn_digits(N_TEST + max(args.sizes), seed) if args.digits == "drawn" else handwritten_digits(seed)
                  for seed in range(args.seeds)]
    except ImportError:
        parser.exit(2, "21_vision_transformer.py: real digits come with scikit-learn, which is not installed; install "
                       "it, or leave out --digits\n")
    if max(args.sizes) > len(splits[0][1]) - N_TEST:
        parser.exit(2, f"21_vision_transformer.py: there are {len(splits[0][1]):,} pictures, and {N_TEST} of them are "
                       f"kept to test on; --sizes must be at most {len(splits[0][1]) - N_TEST}\n")

    print("parameters: " + ", ".join(f"{name} {new().n_parameters:,}" for name, new in kinds.items()))
    print("pictures     " + "".join(f"{name:>16}" for name in kinds))
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for size in args.sizes:
        for name, new in kinds.items():
            right = []
            for seed, (pictures, labels) in enumerate(splits):
                tg.manual_seed(seed)
                model = new()
                train(model, pictures[N_TEST:N_TEST + size], labels[N_TEST:N_TEST + size], args.steps, 3e-3, seed)
                right.append(accuracy(model, pictures[:N_TEST], labels[:N_TEST]))
            found[name].append(float(np.mean(right)))
        print(f"{size:8,}     " + "".join(f"{accuracies[-1]:>16.1%}" for accuracies in found.values()), flush=True)
    return found


if __name__ == "__main__":
    main()
