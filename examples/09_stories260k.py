"""A model trained elsewhere, in a format of its own, becomes a Llama folder and tells its story.

    python examples/09_stories260k.py FOLDER --out stories260K-hf        # 2 seconds

FOLDER holds stories260K.bin and tok512.bin of llama2.c (https://huggingface.co/karpathy/tinyllamas, folder
stories260K, MIT licence): a Llama of 260,000 parameters trained on TinyStories. The written folder is an ordinary
Hugging Face one: `GPT.from_pretrained` opens it, and so does transformers. Its tokenizer is a SentencePiece one, which
tinygpt does not implement; to print the story it is enough to know each token's text, and tok512.bin says that.

A checkpoint of llama2.c is seven integers and then all weights in one row, so reading it is a lesson in what a Llama
consists of. One thing must be rearranged. Rotary positions turn pairs of channels; llama2.c pairs neighbours, (0, 1),
(2, 3), …; Hugging Face and tinygpt pair the halves, (0, D/2), (1, D/2 + 1), …
"""

from __future__ import annotations

import argparse
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np

from tinygpt.models import GPT, GPTConfig

BOS = 1


def halves_from_neighbours(weight: np.ndarray, n_head: int) -> np.ndarray:
    """Reorder the rows of queries or keys (H·D, C) from paired neighbours to paired halves, head by head."""
    rows, n_embd = weight.shape
    by_pair = weight.reshape(n_head, rows // n_head // 2, 2, n_embd)  # (H, D/2, 2, C)
    return by_pair.swapaxes(1, 2).reshape(rows, n_embd)


def read_checkpoint(path: Path) -> GPT:
    """The model in a llama2.c file (version 0: float32, no magic number)."""
    data = path.read_bytes()
    dim, hidden, n_layer, n_head, n_kv_head, vocab, context = struct.unpack_from("<7i", data)
    numbers, at = np.frombuffer(data, "<f4", offset=28), 0
    tied, vocab, d = vocab > 0, abs(vocab), dim // n_head  # a negative vocabulary says: the output has its own matrix

    def take(*shape: int) -> np.ndarray:
        nonlocal at
        at += int(np.prod(shape))
        if at > numbers.size:
            raise ValueError(f"{path} ends too early for the sizes in its header; is it a llama2.c checkpoint?")
        return numbers[at - int(np.prod(shape)):at].reshape(shape)

    state = {"token_embedding.weight": take(vocab, dim)}
    attention_norm = take(n_layer, dim)
    q, k, v = take(n_layer, n_head * d, dim), take(n_layer, n_kv_head * d, dim), take(n_layer, n_kv_head * d, dim)
    out, feed_forward_norm = take(n_layer, dim, n_head * d), take(n_layer, dim)
    gate, down, up = take(n_layer, hidden, dim), take(n_layer, dim, hidden), take(n_layer, hidden, dim)
    state["norm.weight"] = take(dim)
    take(2, context, d // 2)  # cos and sin of the rotary angles, which are computed here
    if not tied:
        state["lm_head.weight"] = take(vocab, dim)
    for i in range(n_layer):
        state |= {
            f"blocks.{i}.attention_norm.weight": attention_norm[i],
            f"blocks.{i}.attention.qkv.weight": np.concatenate(
                [halves_from_neighbours(q[i], n_head), halves_from_neighbours(k[i], n_kv_head), v[i]]),
            f"blocks.{i}.attention.out.weight": out[i],
            f"blocks.{i}.feed_forward_norm.weight": feed_forward_norm[i],
            f"blocks.{i}.feed_forward.gate.weight": gate[i],
            f"blocks.{i}.feed_forward.up.weight": up[i],
            f"blocks.{i}.feed_forward.down.weight": down[i],
        }
    model = GPT(GPTConfig(
        vocab_size=vocab, block_size=context, n_layer=n_layer, n_head=n_head, n_kv_head=n_kv_head, n_embd=dim,
        n_inner=hidden, architecture="llama", norm_epsilon=1e-5, tie_word_embeddings=tied, bos_token_id=BOS,
        eos_token_id=2))
    model.load_state_dict(state)
    return model.eval()


def read_vocabulary(path: Path) -> list[bytes]:
    """Each token's bytes, from a tokenizer file of llama2.c: (score, length, bytes) after the longest length."""
    data, at, tokens = path.read_bytes(), 4, []
    while at < len(data):
        _, length = struct.unpack_from("<fi", data, at)
        token = data[at + 8:at + 8 + length]
        is_byte = len(token) == 6 and token.startswith(b"<0x") and token.endswith(b">")  # "<0x0A>": that byte itself
        tokens.append(bytes([int(token[3:5], 16)]) if is_byte else token)
        at += 8 + length
    return tokens


def text_of(ids: list[int], vocabulary: list[bytes]) -> str:
    """The text of ids that follow the BOS token; the space that begins a SentencePiece text is dropped."""
    return b"".join(vocabulary[i] for i in ids).decode("utf-8", errors="replace").removeprefix(" ")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds stories260K.bin and tok512.bin")
    parser.add_argument("--out", type=Path, help="where to write the Hugging Face folder (default: a temporary one)")
    parser.add_argument("--tokens", type=int, default=200, help="length of the story (default: %(default)s)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or Path(temporary)
        model = read_checkpoint(args.folder / "stories260K.bin")
        model.save_pretrained(out)
        print(f"{model.n_parameters:,} parameters, written to {out}", file=sys.stderr)
        model = GPT.from_pretrained(out)  # the story is told by the folder, not by the checkpoint
    ids = model.generate([[BOS]], max_new_tokens=args.tokens, temperature=0.0, eos_token_id=BOS)[0, 1:]
    print(text_of([i for i in ids.tolist() if i != BOS], read_vocabulary(args.folder / "tok512.bin")))


if __name__ == "__main__":
    main()
