"""22: two networks that learn from each other: a GAN makes eight heaps of points, then pictures of digits.

    python examples/22_gan.py                        # points, then drawn digits; 4 minutes
    python examples/22_gan.py --digits real          # scikit-learn's handwritten ones, where it is installed

A generator turns noise into samples. A critic learns to tell samples from real things, and its gradient tells the
generator what to change. The loss says who is ahead, not how good samples are; so a small convolutional network says
which digits it sees, and the Fréchet distance compares its features of made digits with those of real ones. Nothing is
read from left to right or has a likelihood, and a letter cannot be changed a little: this makes no language model.

Prerequisites: 21_vision_transformer.py. Next: 23_pasted_attention.py. Goodfellow et al. (2014).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import tinygpt as tg
from tinygpt import Tensor, nn, ops
from tinygpt.blas import blas_threads
from tinygpt.data import drawn_digits, handwritten_digits, picture_text
from tinygpt.evaluation import frechet_distance
from tinygpt.models import PictureCNN
from tinygpt.optim import AdamW

BATCH, TOGETHER = 128, 2  # samples a step; judged together (Lin et al. 2018), or all samples are alike
DEVIATION, HEAPS = 0.1, 2 * np.stack([f(np.arange(8) * np.pi / 4) for f in (np.cos, np.sin)], axis=1)  # on a circle


class Layers(nn.Module):
    """Matrices with a leaky ReLU between them."""

    def __init__(self, *widths: int) -> None:
        self.layers = [nn.Linear(n_in, n_out, std=(2 / n_in) ** 0.5) for n_in, n_out in zip(widths, widths[1:])]

    def forward(self, *parts: Any) -> Tensor:
        """Parts of the input, side by side, (B, …) each -> (B, n_out)."""
        x = self.layers[0](ops.concatenate(parts, axis=1))
        for layer in self.layers[1:]:
            x = layer(ops.maximum(x, 0.2 * x))
        return x


class Game:
    """A generator that makes samples (B, n) of noise (B, n_noise), and a critic; both are told what it is to be."""

    def __init__(self, n: int, n_told: int, n_noise: int, width: int, lr: float) -> None:
        self.n_noise, settings = n_noise, dict(lr=lr, betas=(0.5, 0.99), weight_decay=0.0)
        self.generator = Layers(n_noise + n_told, width, width, n)
        self.critic = Layers(TOGETHER * (n + n_told), width, width, 1)
        self.makes, self.judges = AdamW(self.generator, **settings), AdamW(self.critic, **settings)
        self.mean = self.makes.flat.data.copy()  # the two circle around each other: in the end the mean counts

    def make(self, rng: np.random.Generator, told: np.ndarray) -> Tensor:
        """Samples (B, n), each of what it is told to be, (B, n_told)."""
        return self.generator(rng.standard_normal((len(told), self.n_noise), dtype=np.float32), told)

    def doubts(self, samples: Any, told: np.ndarray, real: bool) -> Tensor:
        """−log p that samples are real, in the critic's eyes; or that they are made."""
        odds = self.critic(*(x.reshape(len(told) // TOGETHER, -1) for x in (samples, told)))
        return ops.mean(ops.logaddexp(0.0, -odds if real else odds))

    def play(self, real: np.ndarray, told: np.ndarray, steps: int, seed: int) -> Iterator[int]:
        """The critic learns from real (N, n) and made samples, then the generator from what the critic says; gives the
        number of steps so far, before each and at the end."""
        rng = np.random.default_rng(seed)
        for step in range(steps):
            yield step
            slower, some = min(1.0, 2 - 2 * step / steps), rng.integers(len(real), size=BATCH)
            made = self.make(rng, told[some])
            (self.doubts(real[some], told[some], True) + self.doubts(made.detach(), told[some], False)).backward()
            self.judges.step(lr=self.judges.lr * slower)
            self.doubts(made, told[some], True).backward()
            self.makes.step(lr=self.makes.lr * slower)
            self.makes.zero_grad()
            self.judges.zero_grad()  # the generator's loss has left gradients in the critic
            self.mean += max(0.005, 1 / (step + 1)) * (self.makes.flat.data - self.mean)
        yield steps

    @tg.no_grad()
    def best(self, told: np.ndarray) -> np.ndarray:
        """Samples of the mean generator, of the same noise each time."""
        weights, last = self.makes.flat.data, self.makes.flat.data.copy()
        weights[...] = self.mean
        made = self.make(np.random.default_rng(0), told).data
        weights[...] = last
        return made


def points(steps: int, seed: int) -> tuple[int, float]:
    """(how many of the eight heaps have their samples, the part of all samples within three deviations of one)."""
    tg.manual_seed(seed)
    rng, nothing = np.random.default_rng(seed), np.zeros((10_000, 0), dtype=np.float32)
    real = HEAPS[rng.integers(8, size=10_000)] + DEVIATION * rng.standard_normal((10_000, 2))
    game = Game(2, n_told=0, n_noise=2, width=64, lr=5e-3)
    list(game.play(real.astype(np.float32), nothing, steps, seed))
    far = np.linalg.norm(game.best(nothing)[:, None] - HEAPS, axis=2)  # (N, 8)
    near = far.min(axis=1) < 3 * DEVIATION
    heaps = int((np.bincount(far.argmin(axis=1)[near], minlength=8) > 125).sum())  # a tenth of their share at least
    print(f"points, seed {seed}: {heaps} of 8 heaps, {near.mean():.1%} of samples within 3 deviations", flush=True)
    return heaps, float(near.mean())


def digits(pictures: np.ndarray, labels: np.ndarray, steps: int) -> tuple[float, float]:
    """Show samples as they improve; (the part that is seen as what it should be, Fréchet distance to real ones)."""
    tg.manual_seed(0)
    half, told, rng = len(labels) // 2, np.eye(10, dtype=np.float32)[labels], np.random.default_rng(0)
    classifier, game = PictureCNN(10), Game(64, n_told=10, n_noise=16, width=256, lr=1e-3)
    optimizer = AdamW(classifier, lr=3e-3)
    for _ in range(min(300, steps)):
        some = rng.integers(half, size=BATCH)
        ops.cross_entropy(classifier(pictures[some]), labels[some]).backward()
        optimizer.step()
        optimizer.zero_grad()

    @tg.no_grad()
    def measure(what: str, shown: np.ndarray) -> tuple[float, float]:
        right = float((classifier(shown).data.argmax(axis=1) == labels[half:]).mean())
        far = frechet_distance(*(classifier.features(x).data for x in (shown, pictures[:half])))
        print(f"{what}: {right:.1%} are seen as what they should be, Fréchet distance {far:.2f}")
        print(picture_text(shown[[list(labels[half:]).index(digit) for digit in range(10)]]), flush=True)
        return right, far

    measure("real ones, which neither has seen", pictures[half:])
    turns = game.play(pictures[:half].reshape(half, 64), told[:half], steps, seed=0)
    return [measure(f"step {step:,}", game.best(told[half:]).reshape(-1, 8, 8)) for step in turns
            if step in (0, steps // 8, steps)][-1]


def main(argv: Sequence[str] | None = None) -> tuple[list[tuple[int, float]], tuple[float, float]]:
    """Play both games; returns (heaps, part near one) of each seed, and (part seen right, distance) of the digits."""
    parser = argparse.ArgumentParser(description="Let two networks learn from each other.")
    parser.add_argument("--digits", choices=["drawn", "real"], default="drawn", help="which digits [%(default)s]")
    parser.add_argument("--steps", type=int, nargs=2, default=[8000, 6000], help="for points, for digits [8000 6000]")
    parser.add_argument("--seeds", type=int, default=3, help="games for points [%(default)s]")
    args = parser.parse_args(argv)
    try:
        pictures, labels = drawn_digits(4000) if args.digits == "drawn" else handwritten_digits()
    except ImportError:
        parser.exit(2, "22_gan.py: scikit-learn, which brings the real digits, is not installed; leave out --digits\n")
    with blas_threads(1):  # the matrices are small
        return [points(args.steps[0], seed) for seed in range(args.seeds)], digits(pictures, labels, args.steps[1])


if __name__ == "__main__":
    main()
