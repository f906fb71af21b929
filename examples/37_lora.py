"""37: a task of one's own: SmolLM2 learns to note down bookings with adapters, before and after.

    python examples/37_lora.py                                                    # 4 minutes on 2 cores
    python examples/37_lora.py --out runs/bookings --steps 120                    # a little better, and kept

A message such as

    Hi, this is Nora Berg. We would like a table for six on Friday at 7 pm.

is to become `name: Nora Berg | people: 6 | day: Friday | time: 19:00`. Asked in words, and shown an example, a model of
135 million parameters does not keep to a form. LoRA trains two thin matrices beside the queries and values of each
block (Hu et al. 2021), 0.3% of the numbers, and saves these alone. Names of the test are in no training message, so
they are copied, not remembered.

The messages are made up by a grammar of a few sentences. What the model learns is this form, not how people write:
give it other sentences, and it will be wrong more often than the last line says. On the command line the same is

    tinygpt finetune --task instruction --model smollm2 --data bookings.jsonl --lora 8 --out runs/bookings

The model comes with pip; without it the first line says how. Prerequisites: 13_instructions.py, tinygpt/nn/lora.py.
Next: 38_summarization.py.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinygpt import pipeline
from tinygpt.pipelines import Pipeline
from tinygpt.training import FinetuneOptions, finetune

FIRST = "Ada Ben Carla Dario Elena Felix Greta Hugo Irene Jonas Karin Luca Mira Nora Oscar Paula".split()
LAST = "Adler Berg Costa Diaz Evans Fischer Garcia Haas Ito Jansen Keller Lopez Moreau Novak Olsen Peters".split()
NUMBERS = dict(zip("two three four five six seven eight".split(), range(2, 9)))
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
SENTENCES = (
    "Hi, this is {name}. We would like a table for {people} on {day} at {time}.",
    "Could I book a table on {day} at {time}? We are {people}. My name is {name}.",
    "{name} here. A table for {people}, please, {day} at {time}.",
    "Do you have room for {people} people at {time} on {day}? Please reply to {name}.",
)
ASKED = "Note down this booking as name, people, day and time.\n"


def booking(rng: np.random.Generator, held_out: bool) -> tuple[str, str]:
    """A message and how it is noted; first and last names of the test stand together in no training message."""
    while True:
        first, last = rng.integers(len(FIRST)), rng.integers(len(LAST))
        if ((first + last) % 4 == 0) == held_out:
            break
    people, hour = list(NUMBERS)[rng.integers(len(NUMBERS))], int(rng.integers(5, 10))
    name, day = f"{FIRST[first]} {LAST[last]}", DAYS[rng.integers(len(DAYS))]
    message = SENTENCES[rng.integers(len(SENTENCES))].format(name=name, people=people, day=day, time=f"{hour} pm")
    return message, f"name: {name} | people: {NUMBERS[people]} | day: {day} | time: {12 + hour}:00"


def exact(chat: Pipeline, tests: Sequence[tuple[str, str]], shown: Sequence[tuple[str, str]] = ()) -> float:
    """The share of messages that are noted down exactly; `shown` are turns that stand before each."""
    turns = [{"role": role, "content": text} for message, note in shown
             for role, text in (("user", ASKED + message), ("assistant", note))]
    answers = chat([[*turns, {"role": "user", "content": ASKED + message}] for message, _ in tests], do_sample=False,
                   max_new_tokens=40, return_full_text=False)
    found = [records[0]["generated_text"].strip() for records in answers]
    print("".join(f"    {message}\n        {answer.splitlines()[0] if answer else '(nothing)'}\n"
                  for (message, _), answer in list(zip(tests, found))[:2]), end="", flush=True)
    return float(np.mean([answer == note for answer, (_, note) in zip(found, tests)]))


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Ask, train, ask again; returns the shares of exact answers."""
    parser = argparse.ArgumentParser(description="Teach SmolLM2 to note down bookings.")
    parser.add_argument("--model", default="smollm2", help="a model that chats [%(default)s]")
    parser.add_argument("--out", default=None, metavar="DIR", help="keep the adapters there")
    parser.add_argument("--examples", type=int, default=400, help="messages to learn from [%(default)s]")
    parser.add_argument("--tests", type=int, default=40, help="messages to test on [%(default)s]")
    parser.add_argument("--steps", type=int, default=60, help="training steps [%(default)s]")
    parser.add_argument("--rank", type=int, default=8, help="of the adapters [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of messages and training [%(default)s]")
    args = parser.parse_args(argv)
    rng = np.random.default_rng(args.seed)
    learnt = [booking(rng, held_out=False) for _ in range(args.examples)]
    tests = [booking(rng, held_out=True) for _ in range(args.tests)]
    try:
        chat, found = pipeline("text-generation", args.model), {}
        print("asked in words:")
        found["asked"] = exact(chat, tests)
        print("with three examples before the message:")
        found["shown"] = exact(chat, tests, learnt[:3])
        del chat
        with tempfile.TemporaryDirectory() as folder:
            data, out = Path(folder, "bookings.jsonl"), args.out or f"{folder}/adapters"
            data.write_text("".join(json.dumps({"instruction": ASKED + message, "output": note}) + "\n"
                                    for message, note in learnt), encoding="utf-8")
            result = finetune(FinetuneOptions(
                task="instruction", model=args.model, data=(str(data),), lora=args.rank, steps=args.steps, batch_size=8,
                validation=0.05, eval_every=args.steps, seed=args.seed), out)
            if result.interrupted:
                parser.exit(1, f"37_lora.py: stopped by {result.interrupted} at step {result.step}\n")
            print("after training:")
            found["trained"] = exact(pipeline("text-generation", out), tests)
    except (OSError, ValueError) as error:  # the model is not installed, say: the message says what to do
        parser.exit(2, f"37_lora.py: {error}\n")
    print(f"exactly right of {args.tests}: asked {found['asked']:.0%}, with three examples {found['shown']:.0%}, after "
          f"training {found['trained']:.0%}")
    return found


if __name__ == "__main__":
    main()
