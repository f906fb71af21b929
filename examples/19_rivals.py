"""19: the transformer's rivals: LSTM, GRU and a convolutional network against GPT, of equal size and in equal time.

    python examples/19_rivals.py                     # tinyshakespeare, 4 networks, a minute each: 4 minutes
    python examples/19_rivals.py --data my-text.txt --seconds 300

All four predict the next character from those before it, and have about 200,000 parameters. They differ in how they
look back: GPT at every earlier character at once, the LSTM and the GRU at a state of fixed size that they carry along,
the convolution at a window that its layers widen, here to 127 characters. All get the same batches, optimizer, schedule
and processor time, and each its own learning rate: a network that is slower sees less text.

The loss by position shows who uses the text before: at the first character of a window nobody knows anything; where the
loss stops falling, a network has stopped to look further back. The last columns lie beyond the windows of training.
There GPT's table of positions has no row, and the others go on.

Prerequisites: 03_pretraining.py. Next: 20_word_vectors.py. Hochreiter and Schmidhuber, "Long short-term memory" (1997);
Cho et al. (2014), the GRU; Dauphin et al., "Language modeling with gated convolutional networks" (2017).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tinygpt as tg
from tinygpt import Tensor, nn, ops
from tinygpt.blas import blas_threads
from tinygpt.data import Documents, WindowSampler, split_documents, token_array
from tinygpt.models import GPT, GPTConfig, RecurrentConfig, RecurrentLM
from tinygpt.optim import AdamW, clip_grad_norm, cosine_schedule
from tinygpt.tokenizers import CharTokenizer

T, BATCH = 128, 8
BANDS = ((0, 1), (1, 4), (4, 16), (16, 64), (64, 128), (128, 256), (256, 512))  # positions whose losses are averaged


class ConvLM(nn.Module):
    """A language model of gated causal convolutions, each with twice the dilation of the one below.

    Args:
        vocab_size: V. n_embd: C. n_layer: 6 layers of width 3 see 1 + 2 (1 + 2 + … + 32) = 127 characters.
    """

    def __init__(self, vocab_size: int, n_embd: int = 75, n_layer: int = 6) -> None:
        self.embedding = nn.Embedding(vocab_size, n_embd, std=0.05)
        self.layers = [nn.Conv1d(n_embd, 2 * n_embd, 3, dilation=2 ** i) for i in range(n_layer)]
        self.norms = [nn.LayerNorm(n_embd) for _ in range(n_layer + 1)]

    def forward(self, ids: np.ndarray) -> Tensor:
        """(B, T) -> (B, T, V)."""
        x = self.embedding(ids)
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms)):
            seen = np.pad(norm(x).swapaxes(1, 2), ((0, 0), (0, 0), (2 << i, 0)))  # (B, C, T + 2·2^i): nothing later
            value, gate = np.split(layer(seen).swapaxes(1, 2), 2, axis=2)  # (B, T, C) each
            x = x + value * ops.sigmoid(gate)
        return ops.linear(self.norms[-1](x), self.embedding.weight)


def networks(v: int) -> dict[str, tuple[float, Callable[[], Any]]]:
    """The four, of about equal size, for v characters: the highest learning rate, and a function that makes one.

    Each rate was no worse than 0.4 and 2.5 times it (by 0.004 at most) on another text: docs/results.md.
    """
    def recurrent(kind: str, n_embd: int) -> RecurrentLM:
        return RecurrentLM(RecurrentConfig(vocab_size=v, n_layer=2, n_embd=n_embd, architecture=kind,
                                           initializer_range=0.05))
    return {"GPT": (0.003, lambda: GPT(GPTConfig(vocab_size=v, block_size=T, n_layer=4, n_head=4, n_embd=64,
                                                 initializer_range=0.05))),
            "LSTM": (0.01, lambda: recurrent("lstm", 112)), "GRU": (0.01, lambda: recurrent("gru", 128)),
            "CNN": (0.01, lambda: ConvLM(v))}


def train(model: Any, windows: WindowSampler, seconds: float, steps: int | None, lr: float) -> tuple[int, float]:
    """Train until the processor time is used up, or so many steps are done; (steps, seconds)."""
    optimizer = AdamW(model, lr=lr, betas=(0.9, 0.99), weight_decay=0.1)
    model.train()
    step, start, part = 0, time.process_time(), 0.0
    while part < 1:
        batch = windows.batch(step)
        ops.cross_entropy(model(batch["ids"]), batch["targets"]).backward()
        clip_grad_norm(optimizer.flat, 1.0)
        optimizer.step(lr=cosine_schedule(int(1000 * part), max_lr=lr, min_lr=lr / 10, warmup_steps=50,
                                          total_steps=1000))
        optimizer.zero_grad()
        step += 1
        part = step / steps if steps else (time.process_time() - start) / seconds
    return step, time.process_time() - start


@tg.no_grad()
def losses(model: Any, ids: np.ndarray, length: int, n: int) -> np.ndarray:
    """The mean loss at each position of n windows of a text, (length,), in nats."""
    model.eval()
    starts = np.linspace(0, len(ids) - length - 1, n).astype(int)
    windows = ids[starts[:, None] + np.arange(length + 1)].astype(np.int64)
    found = [ops.cross_entropy(model(some[:, :-1]), some[:, 1:], reduction="none").data
             for some in np.array_split(windows, max(1, n // 20))]
    return np.concatenate(found).reshape(n, length).mean(axis=0)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train and measure the four; returns the validation loss of each."""
    parser = argparse.ArgumentParser(description="Train four kinds of networks alike, and compare them.")
    parser.add_argument("--data", default="tinyshakespeare", help="files, folders or named corpora [%(default)s]")
    parser.add_argument("--seconds", type=float, default=60, help="of processor time for each [%(default)s]")
    parser.add_argument("--steps", type=int, default=None, help="train for so many steps instead")
    parser.add_argument("--windows", type=int, default=400, help="of held-out text to measure on [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches [%(default)s]")
    args = parser.parse_args(argv)
    try:
        text, held_out = split_documents(Documents([args.data]), validation=0.1)
        tokenizer = CharTokenizer.train(Documents([args.data]))
        ids, held_out_ids = token_array(text, tokenizer), token_array(held_out, tokenizer)
        windows = WindowSampler(ids, T, BATCH, seed=args.seed)
    except (OSError, ValueError) as error:  # no such file, no network, too little text: the message says what to do
        parser.exit(2, f"19_rivals.py: {error}\n")

    print(f"{len(ids):,} characters to learn from, {len(held_out_ids):,} to measure on\n\n"
          "       parameters  steps  characters/s    loss   at position " + "".join(
              f"{f'{a + 1}-{b}' if b > a + 1 else b:>9}" for a, b in BANDS))
    found = {}
    for name, (lr, new) in networks(len(tokenizer)).items():
        tg.manual_seed(args.seed)
        model = new()
        with blas_threads(1):
            steps, seconds = train(model, windows, args.seconds, args.steps, lr)
            far = min(BANDS[-1][1] if name != "GPT" else T, len(held_out_ids) - 2)
            by_position = losses(model, held_out_ids, far, args.windows)
        found[name] = float(by_position[:T].mean())
        bands = "".join(f"{by_position[a:b].mean():9.3f}" if b <= far else f"{'-':>9}" for a, b in BANDS)
        print(f"{name:5}{model.n_parameters:12,}{steps:7,}{steps * BATCH * T / seconds:14,.0f}{found[name]:8.3f}"
              f"{'':15}{bands}", flush=True)
    return found


if __name__ == "__main__":
    main()
