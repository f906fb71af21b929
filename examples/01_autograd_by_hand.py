"""01: automatic differentiation by hand, and the questions that everybody asks about it.

    python examples/01_autograd_by_hand.py

A derivative of one's own becomes an operation of the engine; a two-layer network's gradients are worked out by hand,
and compared with the engine's and with differences; that network learns XOR; and the classic questions are answered by
running them: why gradients add, why the order matters, what the causal mask prevents. Takes 1 second.

Next: 02_tokenizer.py; and tinygpt/autograd/, which does all this.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygpt import Tensor, ops
from tinygpt.autograd import differentiable

# ---------------------------------------------------------------------------------------------------------------------
# 1. A rule by hand: the output, and a closure that turns the output's gradient into the input's


@differentiable
def softplus(xp: Any, x: np.ndarray) -> Any:
    """log(1 + e^x), a smooth relu."""
    def backward(g: np.ndarray) -> tuple[np.ndarray]:  # d log(1 + e^x) = e^x / (1 + e^x) dx
        return (g / (1 + xp.exp(-x)),)
    return xp.logaddexp(0, x), backward


def slopes(f: Callable[[], float], x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """df/dx by differences: move each number of x by ±h, and see how much f changes. Slow, and hard to get wrong."""
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        before = x[i]
        x[i] = before + h
        above = f()
        x[i] = before - h
        gradient[i] = (above - f()) / (2 * h)
        x[i] = before
    return gradient


def a_rule_by_hand() -> float:
    """Check softplus; returns its largest error."""
    x = Tensor(np.linspace(-3.0, 3.0, 7), requires_grad=True)
    softplus(x).sum().backward()
    assert x.grad is not None
    by_differences = slopes(lambda: float(softplus(x).sum()), x.data)
    print("   x                ", *(f"{value:7.3f}" for value in x.data))
    print("   softplus'(x)     ", *(f"{value:7.3f}" for value in x.grad))
    print("   by differences   ", *(f"{value:7.3f}" for value in by_differences))
    return float(abs(x.grad - by_differences).max())


# ---------------------------------------------------------------------------------------------------------------------
# 2. and 3. A network with two layers: y = tanh(x W1 + b1) W2 + b2, and its loss mean((y - target)²)

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])  # (B, 2)
TARGET = np.array([[0.0], [1.0], [1.0], [0.0]])  # (B, 1): exclusive or, which no single layer can do


def new_weights(rng: np.random.Generator, hidden: int = 8) -> dict[str, Tensor]:
    """Random matrices, biases of zero."""
    arrays = {"W1": rng.normal(size=(2, hidden)), "b1": np.zeros(hidden),
              "W2": rng.normal(size=(hidden, 1)), "b2": np.zeros(1)}
    return {name: Tensor(array, requires_grad=True) for name, array in arrays.items()}


def network(w: dict[str, Tensor]) -> Tensor:
    """The outputs (B, 1). Written once; the engine knows the way back."""
    return ops.tanh(X @ w["W1"] + w["b1"]) @ w["W2"] + w["b2"]


def loss_of(w: dict[str, Tensor]) -> Tensor:
    """The mean squared error, one number."""
    return ((network(w) - TARGET) ** 2).mean()


def gradients_by_hand(w: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """The chain rule, line by line: forward, then every line again from the last to the first."""
    W1, b1, W2, b2 = (w[name].data for name in ("W1", "b1", "W2", "b2"))
    h = np.tanh(X @ W1 + b1)  # (B, hidden)
    y = h @ W2 + b2  # (B, 1)

    dy = 2 * (y - TARGET) / y.size  # loss = mean((y - target)²)
    dh = dy @ W2.T  # y = h W2: what h[b, j] does to the loss goes through W2[j]
    dz = dh * (1 - h ** 2)  # tanh' = 1 - tanh²
    # A bias serves every row, so it collects the gradient of every row; a weight too, which is what the product sums.
    return {"W1": X.T @ dz, "b1": dz.sum(axis=0), "W2": h.T @ dy, "b2": dy.sum(axis=0)}


def three_ways_to_a_gradient(w: dict[str, Tensor]) -> float:
    """Compare them; returns the largest disagreement."""
    by_hand = gradients_by_hand(w)
    loss_of(w).backward()
    worst = 0.0
    for name, tensor in w.items():
        assert tensor.grad is not None
        hand = float(abs(by_hand[name] - tensor.grad).max())
        differences = float(abs(slopes(lambda: float(loss_of(w)), tensor.data) - tensor.grad).max())
        print(f"   {name} {str(tensor.shape):7} engine - hand: {hand:.0e}   engine - differences: {differences:.0e}")
        worst = max(worst, hand, differences)
    return worst


def learn_xor(w: dict[str, Tensor], steps: int, lr: float = 0.2) -> float:
    """Gradient descent: every weight a little way against its gradient; returns the last loss."""
    for _ in range(steps):
        for tensor in w.values():
            tensor.grad = None  # or the gradients of all steps would add up
        loss = loss_of(w)
        loss.backward()
        for tensor in w.values():
            tensor.data -= lr * tensor.grad
    for row, y in zip(X.astype(int), network(w).data[:, 0]):
        print(f"   {row[0]} xor {row[1]} = {y:5.2f}")
    return float(loss_of(w))


# ---------------------------------------------------------------------------------------------------------------------
# 4. to 6. The classic questions


def why_gradients_add() -> None:
    """A number used twice acts on the result in two ways."""
    a = Tensor(3.0, requires_grad=True)
    b = a + a
    b.backward()
    print(f"   b = a + a: moving a by 1 moves b by 1 through each of its two uses, so db/da = {float(a.grad):g}.")
    print("   If the second use overwrote the first, it would be 1.")


def why_a_topological_order() -> None:
    """A node may pass its gradient on only when all of it has arrived."""
    a = Tensor(1.0, requires_grad=True)
    b = a + a
    c = b + b
    c.backward()

    grad = {"a": 0, "b": 0, "c": 1}  # the hasty walk: an input is visited as soon as something reaches it
    inputs = {"c": ("b", "b"), "b": ("a", "a"), "a": ()}

    def visit(node: str) -> None:
        for source in inputs[node]:
            grad[source] += grad[node]
            visit(source)

    visit("c")
    print(f"   b = a + a; c = b + b: dc/da = {float(a.grad):g}. A walk that goes on from b before both parts of b's")
    print(f"   gradient are there passes the first part on twice, and finds {grad['a']}.")

    x = a
    for _ in range(60):
        x = x + x
    a.grad = None
    x.backward()
    print(f"   Following each path by itself would be right, and hopeless: 60 doublings have 2^60 paths. In topological"
          f"\n   order they are 60 visits: gradient {float(a.grad):.4g} = 2^60.")


def what_the_causal_mask_prevents(rng: np.random.Generator, length: int = 5) -> None:
    """Which positions does an output depend on? Its gradient tells."""
    for causal in (True, False):
        print(f"   causal={causal}")
        for t in range(length):
            x = Tensor(rng.normal(size=(1, length, 4)), requires_grad=True)  # (H, T, D)
            ops.scaled_dot_product_attention(x, x, x, causal=causal)[0, t].sum().backward()
            assert x.grad is not None
            seen = abs(x.grad[0]).sum(axis=-1) > 0  # (T,)
            print(f"     output {t} depends on inputs", *("x" if s else "." for s in seen))
    print("   Output t is to predict token t + 1. Without the mask it can read it off its input: in training the loss\n"
          "   falls towards 0, and nothing is learnt that helps where the next token is not there yet.")


def main(argv: Sequence[str] | None = None) -> float:
    """Run all parts; returns the largest disagreement between two ways to one gradient."""
    parser = argparse.ArgumentParser(description="Automatic differentiation by hand.")
    parser.add_argument("--steps", type=int, default=1000, help="steps of gradient descent on XOR [1000]")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random weights [0]")
    args = parser.parse_args(argv)
    rng = np.random.default_rng(args.seed)

    print("1. A rule by hand: softplus(x) = log(1 + e^x)")
    worst = a_rule_by_hand()
    print("2. A two-layer network: its gradients by hand, from the engine, by differences")
    w = new_weights(rng)
    worst = max(worst, three_ways_to_a_gradient(w))
    print(f"3. The network learns XOR in {args.steps:,} steps")
    print(f"   loss {learn_xor(w, args.steps):.1e}")
    print("4. Why do gradients add?")
    why_gradients_add()
    print("5. Why a topological order?")
    why_a_topological_order()
    print("6. What breaks without the causal mask?")
    what_the_causal_mask_prevents(rng)
    print(f"largest disagreement between two ways to one gradient: {worst:.0e}")
    return worst


if __name__ == "__main__":
    main()
