"""36: code completed: a function's name and what it does in, its body out; how many are right.

    python examples/36_code_completion.py                                              # some seconds on 2 cores
    python examples/36_code_completion.py --head "def last(items):" --doc "The last of a list."

SmolLM2-135M has read code, and goes on with it. Two examples before the function show what is wanted, a body of one
line; without them it writes a lecture. Whether a body is right is told by comparing it, as a syntax tree, with ways to
write it that stand beside the task. Nothing that the model wrote is run: do not run it either before you have read it.

What it has often seen, it knows: the sum, the largest, a text backwards. What has two steps, it gets wrong in a
line that looks right: `radius * radius * radius` for the area of a circle.

The model comes with pip; without it the first line says how. Prerequisites: 35_rewriting.py. Next: 37_lora.py. Chen et
al., "Evaluating large language models trained on code" (2021), the idea of the test.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from dataclasses import dataclass

from tinygpt import pipeline

SHOWN = '''def double(n):
    """Twice a number."""
    return 2 * n


def first(items):
    """The first of a list."""
    return items[0]


'''


@dataclass(frozen=True)
class Task:
    """A function to be written: its head, what it does, and bodies that are right."""

    head: str
    doc: str
    right: tuple[str, ...] = ()


TASKS = (
    Task("def add(a, b):", "The sum of two numbers.", ("a + b", "b + a", "sum([a, b])")),
    Task("def is_even(n):", "Whether n is even.", ("n % 2 == 0", "not n % 2")),
    Task("def largest(numbers):", "The largest of the numbers.", ("max(numbers)", "sorted(numbers)[-1]")),
    Task("def reverse(text):", "The text backwards.", ("text[::-1]", "''.join(reversed(text))")),
    Task("def mean(numbers):", "The mean of a list of numbers.", ("sum(numbers) / len(numbers)",)),
    Task("def last(items):", "The last of a list.", ("items[-1]", "items[len(items) - 1]")),
    Task("def distance(a, b):", "How far two numbers are apart.", ("abs(a - b)", "abs(b - a)")),
    Task("def upper(text):", "The text in capital letters.", ("text.upper()",)),
    Task("def area(radius):", "The area of a circle.",
         ("3.14 * radius ** 2", "math.pi * radius ** 2", "3.14159 * radius ** 2", "3.14 * radius * radius")),
    Task("def fahrenheit(celsius):", "A temperature in degrees Fahrenheit.",
         ("celsius * 9 / 5 + 32", "celsius * 1.8 + 32", "celsius * 9.0 / 5.0 + 32", "(celsius * 9 / 5) + 32")),
    Task("def words(text):", "How many words a text has.", ("len(text.split())", "len(text.split(' '))")),
    Task("def squares(n):", "The squares of the numbers from 1 to n.",
         tuple(f"[{x} for i in range(1, n + 1)]" for x in ("i ** 2", "i * i"))
         + tuple(f"[{x} for x in range(1, n + 1)]" for x in ("x ** 2", "x * x"))),
)


def body(written: str) -> str:
    """The first line of what the model wrote, without `return`."""
    line = (written.strip().splitlines() or [""])[0].strip()
    return line.removeprefix("return ").strip()


def tree(expression: str) -> str | None:
    """An expression's syntax tree, by which two that differ in spaces are the same; None for what is none."""
    try:
        return ast.dump(ast.parse(expression, mode="eval"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def main(argv: Sequence[str] | None = None) -> float | None:
    """Complete functions; of the tasks above, returns the share that is right."""
    parser = argparse.ArgumentParser(description="Complete functions of one line.")
    parser.add_argument("--head", default=None, help="a function of your own, such as \"def last(items):\"")
    parser.add_argument("--doc", default="", help="what it does")
    parser.add_argument("--model", default="smollm2", help="a model that writes [%(default)s]")
    args = parser.parse_args(argv)
    try:
        write = pipeline("text-generation", args.model)
    except (OSError, ValueError) as error:  # the model is not installed, say: the message says what to do
        parser.exit(2, f"36_code_completion.py: {error}\n")

    tasks = TASKS if args.head is None else (Task(args.head, args.doc),)
    # The prompt ends where a token ends: the line break and the indent are one token with what follows.
    prompts = [f'{SHOWN}{task.head}\n    """{task.doc}"""' for task in tasks]
    answers = write(prompts, max_new_tokens=32, do_sample=False, return_full_text=False, stop_sequence="\n\n")
    n_right = 0
    for task, (answer,) in zip(tasks, answers):
        found = body(answer["generated_text"])
        right = (seen := tree(found)) is not None and seen in map(tree, task.right)
        n_right += right
        print(f"{task.head:26} {task.doc:42} {found}" + "   right" * right)
    if args.head is not None:
        return None
    print(f"{n_right} of {len(tasks)} right")
    return n_right / len(tasks)


if __name__ == "__main__":
    main()
