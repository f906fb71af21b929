"""22: two networks that learn from each other: a GAN makes eight heaps of points, then pictures of digits.

    python examples/22_gan.py                        # points, then drawn digits; M minutes
    python examples/22_gan.py --digits real          # scikit-learn's handwritten ones, where it is installed

A generator turns noise into samples. A critic learns to tell samples from real things, and its gradient tells the
generator what to change. The loss says who is ahead, not how good samples are, so they are measured otherwise. Nothing
here has a likelihood or is read from left to right, and a letter cannot be changed a little: no language model is made
in this way. Against samples that are all alike ("mode collapse") the critic judges several at once (Lin et al. 2018);
and since the two circle around each other, the mean of the generator's weights is used in the end.

The generator is told which digit to make, and a small convolutional network, trained on real digits, says which it
sees. The Fréchet distance compares that network's features of made digits with those of real ones.

Prerequisites: 21_vision_transformer.py. Next: 23_pasted_attention.py. Goodfellow et al., "Generative adversarial nets"
(2014).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tinygpt as tg
from tinygpt import Tensor, nn, ops
from tinygpt.blas import blas_threads
from tinygpt.data import drawn_digits, handwritten_digits, picture_text
from tinygpt.evaluation import frechet_distance
from tinygpt.models import PictureCNN
from tinygpt.optim import AdamW

NOISE, BATCH, TOGETHER = 16, 256, 2  # numbers that a sample is made from, samples a step, samples judged together
DEVIATION, TURN = 0.1, np.arange(8) * np.pi / 4
HEAPS = 2 * np.stack([np.cos(TURN), np.sin(TURN)], axis=1)  # the middles of the eight, on a circle
Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]  # real things, and what the generator is told


class Layers(nn.Module):
    """Matrices with a leaky ReLU between them: (B, widths[0]) -> (B, widths[-1])."""

    def __init__(self, *widths: int) -> None:
        self.layers = [nn.Linear(n_in, n_out, std=(2 / n_in) ** 0.5) for n_in, n_out in zip(widths, widths[1:])]

    def forward(self, *parts: Any) -> Tensor:
        """Parts of the input, side by side: (B, …) each -> (B, n_out)."""
        x = ops.concatenate(parts, axis=1)
        for layer in self.layers[:-1]:
            x = layer(x)
            x = ops.maximum(x, 0.2 * x)
        return self.layers[-1](x)


class Game:
    """A generator and a critic of samples (B, n), both of which are told what it is to be, (B, n_told)."""

    def __init__(self, n: int, n_told: int = 0, width: int = 128, lr: float = 1e-3) -> None:
        self.generator, self.critic = Layers(NOISE + n_told, width, width, n), Layers(
            TOGETHER * (n + n_told), width, width, 1)
        self.makes, self.judges = (AdamW(network, lr=lr, betas=(0.5, 0.99), weight_decay=0.0)
                                   for network in (self.generator, self.critic))
        self.mean = self.makes.flat.data.copy()  # of all weights of the generator, over its last steps

    def make(self, rng: np.random.Generator, told: np.ndarray) -> Tensor:
        """Samples (B, n), each of what it is told to be."""
        return self.generator(rng.standard_normal((len(told), NOISE), dtype=np.float32), told)

    def doubts(self, samples: Any, told: np.ndarray, real: bool) -> Tensor:
        """−log p that samples are real, in the critic's eyes; or that they are made."""
        odds = self.critic(*(x.reshape(len(told) // TOGETHER, -1) for x in (samples, told)))
        return ops.mean(ops.logaddexp(0.0, -odds if real else odds))

    def train(self, draw: Draw, steps: int, seed: int, look: Callable[[int], None] = lambda step: None) -> None:
        """Take turns: the critic learns from real and made samples, then the generator from what the critic says."""
        rng = np.random.default_rng(seed)
        for step in range(steps):
            look(step)
            slower = min(1.0, 2 - 2 * step / steps)
            real, told = draw(rng)
            made = self.make(rng, told)
            (self.doubts(real, told, True) + self.doubts(made.detach(), told, False)).backward()
            self.judges.step(lr=self.judges.lr * slower)
            self.doubts(made, told, True).backward()
            self.makes.step(lr=self.makes.lr * slower)
            self.makes.zero_grad()
            self.judges.zero_grad()  # the generator's loss has left gradients in the critic
            self.mean += max(0.005, 1 / (step + 1)) * (self.makes.flat.data - self.mean)
        look(steps)

    @tg.no_grad()
    def best(self, told: np.ndarray) -> np.ndarray:
        """Samples of the mean generator, of the same noise each time."""
        last = self.makes.flat.data.copy()
        self.makes.flat.data[...] = self.mean
        made = self.make(np.random.default_rng(0), told).data
        self.makes.flat.data[...] = last
        return made


def points(steps: int, seed: int) -> tuple[int, float]:
    """(how many of the eight heaps have their samples, the part of all samples within three deviations of one)."""
    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        real = HEAPS[rng.integers(8, size=BATCH)] + DEVIATION * rng.standard_normal((BATCH, 2))
        return real.astype(np.float32), np.zeros((BATCH, 0), dtype=np.float32)

    tg.manual_seed(seed)
    game = Game(2)
    game.train(draw, steps, seed)
    far = np.linalg.norm(game.best(np.zeros((8000, 0), dtype=np.float32))[:, None] - HEAPS, axis=2)  # (N, 8)
    near = far.min(axis=1) < 3 * DEVIATION
    return int((np.bincount(far.argmin(axis=1)[near], minlength=8) > 100).sum()), float(near.mean())


def digits(pictures: np.ndarray, labels: np.ndarray, steps: int, seed: int = 0) -> tuple[float, float]:
    """Show samples as they improve; (the part that is seen as what it should be, Fréchet distance to real ones)."""
    half, names, rng = len(labels) // 2, np.eye(10, dtype=np.float32), np.random.default_rng(seed)
    tg.manual_seed(seed)
    classifier, game = PictureCNN(10), Game(64, 10, width=256, lr=5e-4)
    optimizer = AdamW(classifier, lr=3e-3)

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        some = rng.integers(half, size=BATCH)
        return pictures[some].reshape(BATCH, 64), names[labels[some]]

    for _ in range(min(300, steps)):
        some, wanted = draw(rng)
        ops.cross_entropy(classifier(some.reshape(BATCH, 8, 8)), wanted.argmax(axis=1)).backward()
        optimizer.step()
        optimizer.zero_grad()

    @tg.no_grad()
    def measure(what: str, shown: np.ndarray) -> tuple[float, float]:
        right = float((classifier(shown).data.argmax(axis=1) == labels[half:]).mean())
        far = frechet_distance(classifier.features(shown).data, classifier.features(pictures[:half]).data)
        print(f"{what}: {right:.1%} are seen as what they should be, Fréchet distance {far:.2f}")
        print(picture_text(shown[[int(np.argmax(labels[half:] == digit)) for digit in range(10)]]), flush=True)
        return right, far

    def look(step: int) -> None:
        if step in (0, steps // 16, steps // 4, steps):
            found.append(measure(f"step {step:,}", game.best(names[labels[half:]]).reshape(-1, 8, 8)))

    found = [measure("real ones, which neither has seen", pictures[half:])]
    game.train(draw, steps, seed, look)
    return found[-1]


def main(argv: Sequence[str] | None = None) -> dict[str, list[tuple[float, float]]]:
    """Play both games; returns (heaps, part near one) of each seed, and (part seen right, distance) of the digits."""
    parser = argparse.ArgumentParser(description="Let two networks learn from each other.")
    parser.add_argument("--digits", choices=["drawn", "real"], default="drawn", help="which digits [%(default)s]")
    parser.add_argument("--steps", type=int, nargs=2, default=[4000, 8000], help="for points, for digits [4000 8000]")
    parser.add_argument("--seeds", type=int, default=3, help="games for points [%(default)s]")
    args = parser.parse_args(argv)
    try:
        pictures, labels = drawn_digits(4000) if args.digits == "drawn" else handwritten_digits()
    except ImportError:
        parser.exit(2, "22_gan.py: scikit-learn, which brings the real digits, is not installed; leave out --digits\n")
    found: dict[str, list[tuple[float, float]]] = {"points": [], "digits": []}
    with blas_threads(1):  # the matrices are small
        for seed in range(args.seeds):
            found["points"].append(points(args.steps[0], seed))
            print("points, seed {}: {} of 8 heaps, {:.1%} of samples within 3 deviations of one".format(
                seed, *found["points"][-1]), flush=True)
        found["digits"].append(digits(pictures, labels, args.steps[1]))
    return found


if __name__ == "__main__":
    main()
