"""04: generation, every way to choose the next token side by side, with the model that 03_pretraining.py saved.

    python examples/03_pretraining.py                              first, once
    python examples/04_generation.py --prompt "The function returns"

--model takes another folder: one that `tinygpt pretrain` or Hugging Face's save_pretrained wrote. Takes 3 seconds.

Prerequisites: 03_pretraining.py. Next: 05_sorting.py; and tinygpt/generation/sampling.py, a function a strategy.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import Any

import tinygpt
from tinygpt.generation import left_pad
from tinygpt.models import GPT
from tinygpt.tokenizers import Tokenizer

STRATEGIES: dict[str, dict[str, Any]] = {
    "greedy: always the likeliest token": dict(temperature=0.0),
    "temperature 0.7: sharper than the model's own distribution": dict(temperature=0.7),
    "temperature 1: the model's own distribution": dict(temperature=1.0),
    "temperature 1.5: flatter": dict(temperature=1.5),
    "top-k 10: drawn from the 10 likeliest": dict(top_k=10),
    "top-p 0.8: from the likeliest that share 80%": dict(top_p=0.8),
    "min-p 0.1: from those at least a tenth as likely as the likeliest": dict(min_p=0.1),
    "greedy with repetition penalty 1.3": dict(temperature=0.0, repetition_penalty=1.3),
    "beam search: the likeliest of 4 whole texts": dict(num_beams=4),
}


def side_by_side(model: GPT, tokenizer: Tokenizer, prompt: str, n: int, seed: int) -> None:
    """The same prompt and the same seed, continued by each strategy."""
    ids = tokenizer.encode_prompt(prompt)
    for name, settings in STRATEGIES.items():
        out = model.generate([ids], n, seed=seed, **settings)  # (1, T + n)
        show(name, tokenizer.decode(out[0], skip_special_tokens=True))


def streamed(model: GPT, tokenizer: Tokenizer, prompt: str, n: int, seed: int) -> None:
    """Text as it comes: `stream_text` waits until a character is whole."""
    print(f"\n--- streaming\n  {prompt}", end="")
    ids = tokenizer.encode_prompt(prompt)
    for piece in model.stream_text([ids], n, decode=tokenizer.decode, temperature=0.8, seed=seed):
        print(piece.replace("\n", "\n  "), end="", flush=True)
    print()


def in_a_batch(model: GPT, tokenizer: Tokenizer, prompts: Sequence[str], n: int) -> bool:
    """Prompts of unequal length in one batch: the short ones are padded on the left, and the mask hides the padding, so
    each is continued as if it were alone. Returns whether it was."""
    ids, attention_mask = left_pad([tokenizer.encode_prompt(prompt) for prompt in prompts])  # (B, T) each
    together = model.generate(ids, n, temperature=0.0, attention_mask=attention_mask, eos_token_id=None)  # (B, T + n)
    same = True
    for row, mask, prompt in zip(together, attention_mask, prompts):
        alone = model.generate([tokenizer.encode_prompt(prompt)], n, temperature=0.0, eos_token_id=None)[0]
        n_padding = int((mask == 0).sum())
        same &= row[n_padding:].tolist() == alone.tolist()
        show(f"in a batch, {n_padding} tokens of padding", tokenizer.decode(row[n_padding:], skip_special_tokens=True))
    print(f"\neach is continued as it is alone: {same}")
    return same


def show(title: str, text: str) -> None:
    """One result, wrapped."""
    print(f"\n--- {title}\n" + textwrap.fill(text, 100, initial_indent="  ", subsequent_indent="  "))


def main(argv: Sequence[str] | None = None) -> bool:
    """Show everything; returns whether prompts in a batch are continued as each is alone."""
    parser = argparse.ArgumentParser(description="Every way to generate text, side by side.")
    parser.add_argument("--model", default="runs/pretraining", metavar="DIR", help="a model folder [runs/pretraining]")
    parser.add_argument("--prompt", default="The function returns", help="text to continue [The function returns]")
    parser.add_argument("--steps", type=int, default=40, help="new tokens [40]")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same text [0]")
    args = parser.parse_args(argv)
    if not args.prompt.strip():
        parser.error("--prompt needs at least one word to continue")
    try:
        model, tokenizer = GPT.from_pretrained(args.model), tinygpt.load_tokenizer(args.model)
        tokenizer.encode_prompt(args.prompt)
    except FileNotFoundError as error:
        parser.exit(2, f"04_generation.py: {error}; 03_pretraining.py makes such a folder\n")
    except ValueError as error:  # a damaged folder, or a character that its tokenizer lacks
        parser.exit(2, f"04_generation.py: {error}\n")

    side_by_side(model, tokenizer, args.prompt, args.steps, args.seed)
    streamed(model, tokenizer, args.prompt, args.steps, args.seed)
    words = args.prompt.split()
    return in_a_batch(model, tokenizer, [" ".join(words[:i]) for i in range(1, len(words) + 1)], args.steps)


if __name__ == "__main__":
    main()
