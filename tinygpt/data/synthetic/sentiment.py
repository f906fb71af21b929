"""Synthetic opinions in English and Spanish, POSITIVE or NEGATIVE, with negation.

    The breakfast was not boring.                POSITIVE
    La batería resultó lenta y ruidosa.          NEGATIVE

Counting good and bad words is not enough: a negated one means the opposite, and half of the sentences that say "not" or
"no" are positive. A combination, in the sense of draw.py, is a thing and what is said of it.

Prerequisites: draw.py. Next: instructions.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .draw import Example, Part, choose, distinct_examples, in_part

__all__ = ["LABELS", "RESERVED", "sentiment"]

LABELS = ("NEGATIVE", "POSITIVE")

# Shown in the documentation: no four words in a row of it are in any example, of either part.
RESERVED = "El servicio al cliente fue excelente y rápido."


@dataclass(frozen=True)
class Adjective:
    """How it agrees with a masculine and with a feminine noun; `degrees`: it can be more or less so ("very slow")."""

    masculine: str
    feminine: str
    degrees: bool


def _adjectives(degrees: str, absolute: str) -> tuple[Adjective, ...]:
    """From two lists; in "malo/a" the feminine has another last letter, in "encantador/ra" two more."""
    def parse(word: str, has_degrees: bool) -> Adjective:
        stem, _, ending = word.partition("/")
        feminine = stem if not ending else stem[:-1] + ending
        return Adjective(stem, feminine, has_degrees)
    return (*(parse(word, True) for word in degrees.split()), *(parse(word, False) for word in absolute.split()))


@dataclass(frozen=True)
class Language:
    """The words of one language.

    Attributes:
        things: what opinions are about, with the article; in Spanish "la …" is feminine.
        adjectives: of label 0 and of label 1.
        verbs: whole judgements of label 0 and of label 1, before the thing.
        copulas: with an adjective after it, and the same negated.
        neither: negated copula, and what stands before each of two adjectives.
        very: for adjectives that have degrees. truly: for all.
        openings: how a sentence may begin. exclamation: what stands around one.
        negate: makes a verb mean the opposite.
        join: joins two adjectives.
    """

    code: str
    things: tuple[str, ...]
    adjectives: tuple[tuple[Adjective, ...], tuple[Adjective, ...]]
    verbs: tuple[tuple[str, ...], tuple[str, ...]]
    copulas: tuple[tuple[str, str], ...]
    neither: tuple[tuple[str, str, str], ...]
    very: tuple[str, ...]
    truly: tuple[str, ...]
    openings: tuple[str, ...]
    exclamation: tuple[str, str]
    negate: Callable[[str], str]
    join: Callable[[str, str], str]


ENGLISH = Language(
    code="en",
    things=("the service", "the customer service", "the food", "the hotel", "the room", "the film", "the book",
            "the music", "the breakfast", "the staff", "the shop", "the product", "the delivery", "the price",
            "the phone", "the battery", "the trip", "the visit", "the concert", "the play", "the course", "the dinner",
            "the coffee", "the class", "the museum"),
    adjectives=(
        _adjectives("bad slow boring unpleasant disappointing dirty noisy uncomfortable ugly confusing weak sad",
                    "terrible horrible awful useless dreadful unbearable pathetic mediocre"),
        _adjectives("good fast pleasant comfortable useful pretty interesting funny charming clever lovely helpful",
                    "excellent wonderful fantastic perfect brilliant superb splendid unforgettable")),
    verbs=(
        ("I hated", "I disliked", "I regretted", "I detested"), ("I loved", "I liked", "I enjoyed", "I recommended")),
    copulas=(("was", "was not"), ("is", "is not"), ("seemed", "did not seem"), ("was", "wasn't"),
             ("felt", "never felt")),
    neither=(("was", "neither", "nor"), ("is", "neither", "nor"), ("seemed", "neither", "nor")),
    very=("very", "quite", "so"), truly=("really", "truly"),
    openings=("", "", "", "overall, ", "honestly, ", "in the end, ", "this time, "), exclamation=("", "!"),
    negate=lambda verb: "I did not " + {
        "I hated": "hate", "I disliked": "dislike", "I regretted": "regret", "I detested": "detest", "I loved": "love",
        "I liked": "like", "I enjoyed": "enjoy", "I recommended": "recommend"}[verb],
    join=lambda one, other: f"{one} and {other}")

SPANISH = Language(
    code="es",
    things=("el servicio", "la atención al cliente", "el trato al cliente", "la comida", "el hotel", "la habitación",
            "la película", "el libro", "la música", "el desayuno", "el personal", "la tienda", "el producto",
            "la entrega", "el precio", "el teléfono", "la batería", "el viaje", "la visita", "el concierto", "la obra",
            "el curso", "la cena", "el café", "la clase"),
    adjectives=(
        _adjectives("malo/a lento/a aburrido/a desagradable decepcionante sucio/a ruidoso/a incómodo/a feo/a confuso/a "
                    "flojo/a triste", "pésimo/a terrible horrible inútil espantoso/a insoportable lamentable mediocre"),
        _adjectives("bueno/a rápido/a agradable cómodo/a útil bonito/a interesante divertido/a amable práctico/a "
                    "simpático/a recomendable",
                    "excelente maravilloso/a fantástico/a perfecto/a brillante estupendo/a impecable inolvidable")),
    verbs=(("odié", "me disgustó", "detesté", "me decepcionó"), ("me encantó", "me gustó", "disfruté", "recomiendo")),
    copulas=(("fue", "no fue"), ("es", "no es"), ("era", "no era"), ("me pareció", "no me pareció"),
             ("resultó", "no resultó"), ("ha sido", "nunca ha sido")),
    neither=(("no fue", "ni", "ni"), ("no es", "ni", "ni"), ("no me pareció", "ni", "ni")),
    very=("muy", "bastante", "tan"), truly=("realmente", "verdaderamente"),
    openings=("", "", "", "en general, ", "sinceramente, ", "al final, ", "esta vez, "), exclamation=("¡", "!"),
    negate=lambda verb: f"no {verb}",
    join=lambda one, other: f"{one} {'e' if other.startswith('i') else 'y'} {other}")  # "y" before the sound i is "e"


def _said_of(part: Part, language: Language, thing: int, label: int) -> tuple[list[Adjective], list[str]]:
    """The adjectives and verbs of a label that a part combines with a thing."""
    adjectives = [word for number, word in enumerate(language.adjectives[label]) if in_part(part, thing, number)]
    verbs = [word for number, word in enumerate(language.verbs[label]) if in_part(part, thing, number)]
    return adjectives, verbs


def _sentence(rng: np.random.Generator, part: Part, language: Language, label: int) -> str:
    number = int(rng.integers(len(language.things)))
    thing = language.things[number]
    negated = rng.random() < 0.4
    adjectives, verbs = _said_of(part, language, number, 1 - label if negated else label)
    if verbs and rng.random() < 0.2:
        verb = choose(rng, verbs)
        return f"{language.negate(verb) if negated else verb} {thing}"
    one, other = (adjectives[place] for place in rng.permutation(len(adjectives))[:2])
    first, second = ((a.feminine if thing.startswith("la ") else a.masculine) for a in (one, other))
    if rng.random() < 0.3:
        if negated:
            copula, before_one, before_other = choose(rng, language.neither)
            return f"{thing} {copula} {before_one} {first} {before_other} {second}"
        return f"{thing} {choose(rng, language.copulas)[0]} {language.join(first, second)}"
    copula = choose(rng, language.copulas)[negated]
    degree = choose(rng, ("", "", *language.truly, *(language.very if one.degrees else ())))
    return " ".join(filter(None, (thing, copula, degree, first)))


def _fours(text: str) -> set[tuple[str, ...]]:
    """All runs of four words, in small letters and without punctuation."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[start:start + 4]) for start in range(len(words) - 3)}


def sentiment(n: int, part: Part = "train", seed: int = 0) -> list[Example]:
    """Synthetic opinions: {"text", "label", "language"}, half of each label and half of each language, none twice.

    Args:
        n: how many; fewer of the same seed are a prefix of more.
        part: "train", or "test" for things combined with words that "train" never says of them.
        seed: not negative.

    Raises:
        ValueError: there are not so many, or there is no such part.

    >>> for example in sentiment(4):
    ...     print(example["language"], example["label"])
    en NEGATIVE
    es NEGATIVE
    en POSITIVE
    es POSITIVE
    """
    reserved = _fours(RESERVED)

    def draw(rng: np.random.Generator, number: int) -> Example:
        language, label = (ENGLISH, SPANISH)[number % 2], number // 2 % 2
        while True:
            text = choose(rng, language.openings) + _sentence(rng, part, language, label)
            if not reserved & _fours(text):
                before, after = choose(rng, (("", "."), ("", "."), language.exclamation))
                return {"text": before + text[0].upper() + text[1:] + after, "label": LABELS[label],
                        "language": language.code}

    return distinct_examples(draw, n, seed, f"synthetic sentiment ({part})")
