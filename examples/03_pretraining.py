"""03: pretraining, the calls behind `tinygpt pretrain`, one after the other.

    python examples/03_pretraining.py                              the documentation inside every Python
    python examples/03_pretraining.py --data my-text.txt           a text of your own

Text becomes documents, documents become token ids, ids become windows, and a GPT learns to predict each window's next
tokens. Takes 8 minutes on 2 busy cores (4 minutes of processor time), needs no network, and leaves a folder that
04_generation.py and `tinygpt generate` read. The command does the same, and more: it saves as it goes, resumes, keeps
metrics, and trains longer.

Prerequisites: 02_tokenizer.py. Next: 04_generation.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import tinygpt
from tinygpt.data import Documents, WindowSampler, split_documents, token_array
from tinygpt.evaluation import byte_lengths, text_loss
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE
from tinygpt.training import Criterion, Progress, Trainer, TrainingOptions, language_loss


def main(argv: Sequence[str] | None = None) -> float:
    """Train and save a model; returns its validation loss in nats per token."""
    parser = argparse.ArgumentParser(description="Pretrain a small GPT on text.")
    parser.add_argument("--data", nargs="*", default=[], help="files, folders or named corpora [the embedded corpus]")
    parser.add_argument("--steps", type=int, default=500, help="training steps [500]")
    parser.add_argument("--vocab-size", type=int, default=1024, help="tokens of the tokenizer [1024]")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and data order [0]")
    parser.add_argument("--out", default="runs/pretraining", metavar="DIR", help="folder to save to [runs/pretraining]")
    args = parser.parse_args(argv)

    # Text -> tokenizer -> ids. The tokenizer, like the model, learns from the first nine tenths alone.
    train_text, validation_text = split_documents(Documents(args.data), validation=0.1)
    tokenizer = ByteBPE.train(train_text, vocab_size=args.vocab_size, special_tokens=["<|endoftext|>"])
    train_ids, validation_ids = token_array(train_text, tokenizer), token_array(validation_text, tokenizer)  # (N,) each

    # A model of 4 blocks, 4 heads and 128 channels that sees 128 tokens at a time.
    tinygpt.manual_seed(args.seed)
    model = GPT(GPTConfig(vocab_size=len(tokenizer), block_size=128, n_layer=4, n_head=4, n_embd=128,
                          bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id))
    print(f"{model.n_parameters:,} parameters, {len(train_ids):,} tokens, and {len(validation_ids):,} to validate")

    # What to do now and then: measure the loss on text that it never saw, and look at what it writes.
    lengths = byte_lengths(tokenizer)

    def validate(keep_going: Callable[[], bool]) -> dict[str, float]:
        found = text_loss(model, validation_ids, model.config.block_size, loss=language_loss, lengths=lengths,
                          keep_going=keep_going)
        return {"validation_loss": found.loss, "bits_per_byte": found.bits_per_byte}

    def sample(n: int = 60) -> str:
        ids = model.eval().generate([[tokenizer.eos_token_id]], n, temperature=0.8, seed=args.seed, eos_token_id=None)
        model.train()
        return tokenizer.decode(ids[0], skip_special_tokens=True)

    # The loop: a batch of windows, its loss and gradient, AdamW; the learning rate rises, then falls along a cosine.
    progress = Progress(args.steps)
    windows = WindowSampler(train_ids, model.config.block_size, batch_size=32, seed=args.seed)
    options = TrainingOptions(steps=args.steps, batch_size=32, lr=1e-3, weight_decay=0.1, seed=args.seed)
    trainer = Trainer(model, Criterion(language_loss), windows, options, validate=validate, sample=sample,
                      progress=progress)
    trainer.run()
    progress.close()

    model.save_pretrained(args.out, tokenizer)
    print(sample(200))
    latest = trainer.validation or validate(lambda: True)  # Ctrl-C may have come before the first validation
    print(f"validation loss {latest['validation_loss']:.4f}, saved to {args.out}")
    return latest["validation_loss"]


if __name__ == "__main__":
    main()
