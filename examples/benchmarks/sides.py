"""The two sides of training.py and ddp.py: a GPT's training step in tinygpt, and the same in PyTorch.

Each runs in a process of its own and answers on standard output, one JSON object a line: after it is ready, after each
`step N` on standard input, and after `end`.

Prerequisites: measuring.py. Next: training.py, ddp.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from measuring import LOSSES, SHAPES, batch, cpu_seconds, peak_mb, resident_mb

ADAMW = dict(lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)
CLIP = 1.0
BETA = 0.1  # of DPO

Batch = dict[str, np.ndarray]
Step = Callable[[Batch], float]  # -> the mean loss


def tinygpt_model(shape: dict[str, int]) -> Any:
    """The GPT of the given shape."""
    import tinygpt as tg
    from tinygpt.models import GPT, GPTConfig
    tg.manual_seed(0)
    return GPT(GPTConfig(vocab_size=shape["V"], block_size=shape["T"], n_layer=shape["L"], n_head=shape["H"],
                         n_embd=shape["C"], activation="gelu_tanh"))


def tinygpt_criterion(loss: str) -> Any:
    """What the Trainer makes small."""
    from tinygpt.training import AlignOptions, Criterion, language_loss
    if loss == "language":
        return Criterion(language_loss)
    options = AlignOptions(method="dpo", model="given", data=("given",), beta=BETA)
    return options.row.objective(options)


def tinygpt_step(shape: dict[str, int], threads: int, weights: Path | None, replicas_in: str = "auto",
                 loss: str = "language", group: Any = None) -> Step:
    """A training step as the Trainer makes it; writes the initial weights to a file that is not there yet. With a
    `group` of ranks, each takes its rows of the batch."""
    from threadpoolctl import threadpool_limits

    from tinygpt.kernels.cpu import keep_freed_memory
    from tinygpt.optim import AdamW, FlatParameters, clip_coefficient
    from tinygpt.ranks import Group
    from tinygpt.training import Replicas
    from tinygpt.training.exchange import Exchange
    from tinygpt.training.interrupt import StopSignals
    from tinygpt.training.parallel import processes_pay
    keep_freed_memory()
    threadpool_limits(1, "blas")
    model = tinygpt_model(shape)
    if weights is not None and not weights.exists():
        np.savez(weights, **model.state_dict())
    optimizer = AdamW(FlatParameters(model), **ADAMW)
    group = group or Group()
    exchange = Exchange(group, optimizer.flat, optimizer.cuts(group.size), StopSignals())
    exchange.begin(model, optimizer)
    processes = processes_pay(optimizer.flat, threads) if replicas_in == "auto" else replicas_in == "processes"
    replicas = Replicas(model, tinygpt_criterion(loss), optimizer.flat, threads, exchange=exchange,
                        processes=processes and exchange.alone)
    number = 0

    def step(given: Batch) -> float:
        nonlocal number
        number += 1
        loss = replicas.gradient(given, 0, number)
        optimizer.step(grad_scale=clip_coefficient(replicas.norm(), CLIP), spread=replicas.spread)
        exchange.share_weights()
        return loss
    return step


def torch_loss(loss: str) -> Callable[[Any, Any], Any]:
    """(a function from ids (N, T) to logits, a batch of tensors) -> the mean loss."""
    import torch
    from torch.nn import functional as F

    def language(logits_of: Any, given: Any) -> Any:
        logits = logits_of(given["ids"])
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), given["targets"].reshape(-1))

    def dpo(logits_of: Any, given: Any) -> Any:  # as TRL has it, with the reference's log-probabilities at hand
        B, _, T = given["ids"].shape
        ids, labels = given["ids"].view(2 * B, T), given["labels"].view(2 * B, T)[:, 1:]
        log_p = torch.log_softmax(logits_of(ids[:, :-1]), dim=-1)
        each = torch.gather(log_p, 2, labels.clamp(min=0)[:, :, None])[:, :, 0] * (labels != -100)
        scores = BETA * (each.sum(dim=-1).view(B, 2) - given["reference"])
        return -F.logsigmoid(scores[:, 0] - scores[:, 1]).mean()

    return {"language": language, "dpo": dpo}[loss]


def torch_step(shape: dict[str, int], threads: int, weights: Path, compiled: bool, device: str = "cpu",
               bfloat16: bool = False, loss: str = "language", distributed: bool = False) -> Step:
    """The same in PyTorch, written as nanoGPT writes it; with `bfloat16` under its autocast. With `distributed`, in
    each process of torch.distributed's default group, which takes its rows of the batch, under DDP."""
    import torch
    from torch import nn
    from torch.nn import functional as F
    torch.set_num_threads(threads)
    state = {name: torch.from_numpy(array) for name, array in np.load(weights).items()}

    class Block(nn.Module):
        def __init__(self, C: int, H: int) -> None:
            super().__init__()
            self.H = H
            self.norm1, self.norm2 = nn.LayerNorm(C), nn.LayerNorm(C)
            self.qkv, self.out = nn.Linear(C, 3 * C), nn.Linear(C, C)
            self.up, self.down = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

        def forward(self, x: Any) -> Any:
            B, T, C = x.shape
            q, k, v = (part.view(B, T, self.H, C // self.H).transpose(1, 2)
                       for part in self.qkv(self.norm1(x)).split(C, dim=2))
            heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(heads.transpose(1, 2).reshape(B, T, C))
            return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(shape["V"], shape["C"]), nn.Embedding(shape["T"], shape["C"])
            self.blocks = nn.ModuleList(Block(shape["C"], shape["H"]) for _ in range(shape["L"]))
            self.norm = nn.LayerNorm(shape["C"])

        def forward(self, given: Any) -> Any:
            return loss_of(self.logits, given)

        def logits(self, ids: Any) -> Any:
            x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
            for block in self.blocks:
                x = block(x)
            return F.linear(self.norm(x), self.tokens.weight)

    names = {"token_embedding": "tokens", "position_embedding": "positions", "attention_norm": "norm1",
             "feed_forward_norm": "norm2", "attention.qkv": "qkv", "attention.out": "out", "feed_forward.up": "up",
             "feed_forward.down": "down"}
    loss_of, model = torch_loss(loss), Model().to(device)
    renamed = {}
    for name, tensor in state.items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        renamed[name] = tensor
    model.load_state_dict(renamed)
    decayed = [p for name, p in model.named_parameters() if p.dim() >= 2 and "positions" not in name]
    others = [p for name, p in model.named_parameters() if p.dim() < 2 or "positions" in name]
    optimizer = torch.optim.AdamW([{"params": decayed}, {"params": others, "weight_decay": 0.0}], fused=True, **ADAMW)
    run = torch.compile(model) if compiled else model
    rows = slice(None)
    if distributed:
        import torch.distributed
        n, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
        rows = slice(shape["B"] * rank // n, shape["B"] * (rank + 1) // n)
        run = torch.nn.parallel.DistributedDataParallel(model)

    def step(given: Batch) -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=bfloat16):
            loss = run({name: torch.from_numpy(array[rows]).to(device) for name, array in given.items()})
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        if distributed:  # the mean of all rows, which are equally many in each process
            loss = loss.detach()
            torch.distributed.all_reduce(loss)
            loss /= torch.distributed.get_world_size()
        return loss.item()
    return step


def main() -> None:
    """Serve one side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=("tinygpt", "rules", "torch"))
    parser.add_argument("--shape", choices=tuple(SHAPES), required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--replicas", choices=("auto", "threads", "processes"), default="auto")
    parser.add_argument("--loss", choices=tuple(LOSSES), default="language")
    options = parser.parse_args()
    shape = SHAPES[options.shape]
    if options.side == "torch":
        import torch  # noqa: F401
    else:
        import tinygpt.models
        import tinygpt.optim
        import tinygpt.training  # noqa: F401
    imports_mb = resident_mb(peak=False)
    if options.side == "torch":
        step = torch_step(shape, options.threads, options.weights, options.compile, loss=options.loss)
    else:
        step = tinygpt_step(shape, options.threads, options.weights, options.replicas, options.loss)

    def answer(**values: Any) -> None:
        print(json.dumps(values), flush=True)

    answer(imports_mb=imports_mb)
    for line in sys.stdin:
        if line.strip() == "end":
            answer(peak_mb=peak_mb(), cpu_seconds=cpu_seconds())
            break
        given = batch(shape, int(line.split()[1]), options.loss)
        start = time.perf_counter()
        loss = step(given)
        answer(ms=(time.perf_counter() - start) * 1e3, loss=loss)


if __name__ == "__main__":
    main()
