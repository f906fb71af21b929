"""Instructions whose following a rule can check: so many words, in capitals, as JSON, without a comma.

A judge is a matter of taste, and another model has tastes of its own. These 20 instructions need neither: each comes
with a function that says whether an answer follows it. Prompts are made by a seeded grammar: a thing to write about,
and one instruction with its numbers and words drawn.

Two figures: **strict** checks the answer as it is; **loose** also lets pass what would follow the rule without its
first line ("Sure, here it is:"), its last line, or its asterisks.

What it does not see: whether the answer is about the thing asked for, true, or any good. An empty answer follows none.

Prerequisites: answers.py. Next: consistency.py. Zhou et al., "Instruction-following evaluation for large language
models" (2023), whose idea this is; rules and prompts are our own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from ..files import parse_json
from .words import words

__all__ = ["RULES", "RulePrompt", "follows", "follows_loosely", "rule_prompts"]

Check = Callable[[str], bool]
Drawn = tuple[str, Check]  # an instruction, and what checks an answer

LONGEST_JSON = 100_000  # characters

# The commonest words of four languages, by which a text of some length is told.
COMMON = {
    "English": {"the", "and", "of", "to", "a", "in", "is", "it", "that", "for", "with", "are", "on", "as", "this"},
    "Spanish": {"el", "la", "de", "que", "y", "en", "un", "una", "los", "las", "es", "por", "con", "para", "del"},
    "French": {"le", "la", "les", "de", "des", "et", "un", "une", "est", "que", "dans", "pour", "il", "du", "qui"},
    "German": {"der", "die", "das", "und", "ist", "ein", "eine", "nicht", "mit", "den", "von", "zu", "auf", "im", "es"},
}
WORDS = ("light", "water", "morning", "stone", "winter", "bridge", "garden", "music", "paper", "river")
ENDINGS = ("That is all.", "Is there anything else?", "Thank you for reading.")


def _count(text: str) -> int:
    """How many words, punctuation left out."""
    return len(re.findall(r"\w+(?:['’-]\w+)*", text))


def _sentences(text: str) -> int:
    return len([part for part in re.split(r"[.!?…]+(?:\s|$)", text.strip()) if re.search(r"\w", part)])


def _paragraphs(text: str) -> int:
    return len([part for part in re.split(r"\n\s*\n", text.strip()) if part.strip()])


def _bullets(text: str) -> int:
    return len(re.findall(r"(?m)^\s*[-*•]\s+\S", text))


def _is_json(text: str) -> bool:
    text = re.sub(r"^```(?:json)?\s*|\s*```$", "", text.strip())
    try:
        return len(text) <= LONGEST_JSON and isinstance(parse_json(text, "the answer"), (dict, list))
    except ValueError:
        return False


def _language(text: str) -> str:
    """The language of whose commonest words a text has the most."""
    found = words(text)
    return max(COMMON, key=lambda name: sum(word in COMMON[name] for word in found))


def _is_upper(text: str) -> bool:
    return text == text.upper() and text != text.lower()


def _is_lower(text: str) -> bool:
    return text == text.lower() and text != text.upper()


def _at_most(rng: random.Random) -> Drawn:
    n = rng.choice((10, 20, 30, 50))
    return f"Use at most {n} words.", lambda text: _count(text) <= n


def _at_least(rng: random.Random) -> Drawn:
    n = rng.choice((40, 60, 80))
    return f"Use at least {n} words.", lambda text: _count(text) >= n


def _n_sentences(rng: random.Random) -> Drawn:
    n = rng.choice((2, 3, 4))
    return f"Write exactly {n} sentences.", lambda text: _sentences(text) == n


def _n_paragraphs(rng: random.Random) -> Drawn:
    n = rng.choice((2, 3))
    return f"Write exactly {n} paragraphs with an empty line between them.", lambda text: _paragraphs(text) == n


def _n_bullets(rng: random.Random) -> Drawn:
    n = rng.choice((3, 4, 5))
    return (f"Answer with exactly {n} bullet points, each on a line that begins with *.",
            lambda text: _bullets(text) == n)


def _with_word(rng: random.Random) -> Drawn:
    word = rng.choice(WORDS)
    return f"Include the word {word}.", lambda text: word in words(text)


def _without_word(rng: random.Random) -> Drawn:
    word = rng.choice(("the", "and", "is", "very"))
    return f"Do not use the word {word}.", lambda text: word not in words(text)


def _word_often(rng: random.Random) -> Drawn:
    word, n = rng.choice(WORDS), rng.choice((2, 3))
    return f"Use the word {word} at least {n} times.", lambda text: words(text).count(word) >= n


def _ends_with(rng: random.Random) -> Drawn:
    ending = rng.choice(ENDINGS)
    return f"End with exactly these words: {ending}", lambda text: text.rstrip().endswith(ending)


def _begins_with(rng: random.Random) -> Drawn:
    word = rng.choice(("Well", "Listen", "Today", "Once"))
    return f"Begin with the word {word}.", lambda text: words(text)[:1] == [word.lower()]


def _in_language(rng: random.Random) -> Drawn:
    name = rng.choice(tuple(COMMON))
    return f"Answer in {name}.", lambda text: _count(text) >= 5 and _language(text) == name


def _placeholders(rng: random.Random) -> Drawn:
    n = rng.choice((1, 2, 3))
    return (f"Leave at least {n} blanks to be filled in, written in square brackets such as [name].",
            lambda text: len(re.findall(r"\[[^\[\]\n]+\]", text)) >= n)


RULES: dict[str, Callable[[random.Random], Drawn]] = {
    "at most so many words": _at_most,
    "at least so many words": _at_least,
    "so many sentences": _n_sentences,
    "so many paragraphs": _n_paragraphs,
    "so many points": _n_bullets,
    "with a word": _with_word,
    "without a word": _without_word,
    "a word so often": _word_often,
    "a given end": _ends_with,
    "a given beginning": _begins_with,
    "a given language": _in_language,
    "blanks": _placeholders,
    "capitals": lambda rng: ("Write in capital letters only.", _is_upper),
    "small letters": lambda rng: ("Write in small letters only, without any capital letter.", _is_lower),
    "no comma": lambda rng: ("Do not use any comma.", lambda text: "," not in text),
    "no digit": lambda rng: ("Do not use any digit.", lambda text: not re.search(r"\d", text)),
    "JSON": lambda rng: ("Answer in JSON and nothing else.", _is_json),
    "quotation marks": lambda rng: ("Put your whole answer in double quotation marks.", lambda text: bool(
        re.fullmatch(r'(?s)\s*["“].+["”]\s*', text))),
    "a title": lambda rng: ("Give it a title in double angle brackets, such as <<a title>>.", lambda text: bool(
        re.search(r"<<[^<>\n]+>>", text))),
    "a postscript": lambda rng: ("Add a postscript at the end that begins with P.S.", lambda text: bool(
        re.search(r"(?m)^\s*P\.\s?S\.", text))),
}

ACTS = ("Write a short text about {}.", "Describe {} to a child.", "What is good about {}?", "Tell me about {}.")
THINGS = ("a rainy day", "a train journey", "a small village", "the moon", "bread", "a library", "learning to swim",
          "an old clock", "friendship", "the sea")


@dataclass(frozen=True)
class RulePrompt:
    """A prompt whose answer can be checked. `rule` is the row of RULES it comes from."""

    text: str
    rule: str
    check: Check


def rule_prompts(n: int, seed: int = 0) -> list[RulePrompt]:
    """n prompts, the rules in turn, each with a thing to write about.

    >>> rule_prompts(1)[0].text
    'What is good about a library? Use at most 50 words.'
    """
    rng, found = random.Random(f"rules {seed}"), []
    for number in range(n):
        rule = list(RULES)[number % len(RULES)]
        instruction, check = RULES[rule](rng)
        found.append(RulePrompt(f"{rng.choice(ACTS).format(rng.choice(THINGS))} {instruction}", rule, check))
    return found


def follows(prompt: RulePrompt, answer: str) -> bool:
    """Whether the answer follows the rule as it stands.

    >>> follows(RulePrompt("…", "no comma", lambda text: "," not in text), "Yes, sure.")
    False
    """
    return bool(answer.strip()) and prompt.check(answer)


def follows_loosely(prompt: RulePrompt, answer: str) -> bool:
    """Whether it does with or without its first line, its last line, and asterisks."""
    lines = answer.strip().split("\n")
    cuts = {"\n".join(lines[first:len(lines) - last]) for first, last in product((0, 1), (0, 1))}
    return any(follows(prompt, text) for cut in cuts for text in (cut.strip(), cut.replace("*", "").strip()))
