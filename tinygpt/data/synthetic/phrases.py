"""Synthetic English phrases with their Spanish translations, always the same one.

    She does not sell the red cars.          Ella no vende los coches rojos.
    Do we need my small table?               ¿Necesitamos nosotros mi mesa pequeña?

There is something to learn beside the words: verbs agree with who acts, articles and adjectives with gender and number,
the adjective follows the noun, "do" has no counterpart, and a question turns verb and subject around. Every phrase has
one translation, so exact match is a fair measure. A combination, in the sense of draw.py, is a verb and its object.

Prerequisites: draw.py. Next: ../sources.py.
"""

from __future__ import annotations

import numpy as np

from .draw import Example, Part, choose, distinct_examples, in_part

__all__ = ["phrases"]

# English, Spanish, and which form of a Spanish verb it takes; the second of English ends in s.
SUBJECTS = (("I", "yo", 0), ("you", "tú", 1), ("she", "ella", 2), ("he", "él", 2), ("we", "nosotros", 3),
            ("they", "ellos", 4))
THIRD = 2

# English with and without s; Spanish for yo, tú, ella, nosotros, ellos.
VERBS = (
    ("buy", "buys", "compro compras compra compramos compran"),
    ("sell", "sells", "vendo vendes vende vendemos venden"),
    ("see", "sees", "veo ves ve vemos ven"),
    ("want", "wants", "quiero quieres quiere queremos quieren"),
    ("need", "needs", "necesito necesitas necesita necesitamos necesitan"),
    ("have", "has", "tengo tienes tiene tenemos tienen"),
    ("find", "finds", "encuentro encuentras encuentra encontramos encuentran"),
    ("lose", "loses", "pierdo pierdes pierde perdemos pierden"),
    ("paint", "paints", "pinto pintas pinta pintamos pintan"),
    ("bring", "brings", "traigo traes trae traemos traen"),
    ("clean", "cleans", "limpio limpias limpia limpiamos limpian"),
    ("use", "uses", "uso usas usa usamos usan"),
    ("look for", "looks for", "busco buscas busca buscamos buscan"),
    ("carry", "carries", "llevo llevas lleva llevamos llevan"),
    ("repair", "repairs", "reparo reparas repara reparamos reparan"),
)

# English and Spanish, one and several; the gender.
NOUNS = (
    ("car", "cars", "coche", "coches", "m"), ("table", "tables", "mesa", "mesas", "f"),
    ("book", "books", "libro", "libros", "m"), ("chair", "chairs", "silla", "sillas", "f"),
    ("shoe", "shoes", "zapato", "zapatos", "m"), ("shirt", "shirts", "camisa", "camisas", "f"),
    ("hat", "hats", "sombrero", "sombreros", "m"), ("box", "boxes", "caja", "cajas", "f"),
    ("clock", "clocks", "reloj", "relojes", "m"), ("house", "houses", "casa", "casas", "f"),
    ("boat", "boats", "barco", "barcos", "m"), ("bicycle", "bicycles", "bicicleta", "bicicletas", "f"),
    ("plate", "plates", "plato", "platos", "m"), ("door", "doors", "puerta", "puertas", "f"),
    ("coat", "coats", "abrigo", "abrigos", "m"),
)

# English; Spanish for masculine and feminine, one and several.
DETERMINERS = (("the", "el la los las"), ("my", "mi mi mis mis"), ("her", "su su sus sus"))
SINGLE_DETERMINERS = (("a", "un una"), ("this", "este esta"))
ADJECTIVES = (
    ("red", "rojo roja rojos rojas"), ("white", "blanco blanca blancos blancas"),
    ("black", "negro negra negros negras"), ("small", "pequeño pequeña pequeños pequeñas"),
    ("new", "nuevo nueva nuevos nuevas"), ("old", "viejo vieja viejos viejas"),
    ("big", "grande grande grandes grandes"), ("green", "verde verde verdes verdes"),
    ("blue", "azul azul azules azules"), ("cheap", "barato barata baratos baratas"),
)


def _object(rng: np.random.Generator, noun: tuple[str, str, str, str, str]) -> tuple[str, str]:
    """A noun with determiner and perhaps adjective, in both languages."""
    several = int(rng.integers(2))
    form = 2 * several + (noun[4] == "f")
    determiner = choose(rng, DETERMINERS if several else DETERMINERS + SINGLE_DETERMINERS)
    english, spanish = noun[several], noun[2 + several]
    if rng.random() < 0.6:
        adjective = choose(rng, ADJECTIVES)
        english, spanish = f"{adjective[0]} {english}", f"{spanish} {adjective[1].split()[form]}"
    return f"{determiner[0]} {english}", f"{determiner[1].split()[form]} {spanish}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def phrases(n: int, part: Part = "train", seed: int = 0) -> list[Example]:
    """Synthetic phrases: {"english", "spanish"}, none twice, each English one with a single translation.

    Args:
        n: how many; fewer of the same seed are a prefix of more.
        part: "train", or "test" for verbs with objects that "train" never gives them.
        seed: not negative.

    Raises:
        ValueError: there are not so many, or there is no such part.
    """
    pairs = [(verb, noun) for i, verb in enumerate(VERBS) for j, noun in enumerate(NOUNS) if in_part(part, i, j)]

    def draw(rng: np.random.Generator, number: int) -> Example:
        (plain, with_s, spanish_forms), noun = choose(rng, pairs)
        who, quien, person = choose(rng, SUBJECTS)
        what, que = _object(rng, noun)
        verb, does = spanish_forms.split()[person], "does" if person == THIRD else "do"
        kind = rng.random()
        if kind < 0.5:
            english = f"{who} {with_s if person == THIRD else plain} {what}."
            spanish = f"{quien} {verb} {que}."
        elif kind < 0.75:
            english = f"{who} {does} not {plain} {what}."
            spanish = f"{quien} no {verb} {que}."
        else:
            english = f"{does} {who} {plain} {what}?"
            return {"english": _capital(english), "spanish": f"¿{_capital(verb)} {quien} {que}?"}
        return {"english": _capital(english), "spanish": _capital(spanish)}

    return distinct_examples(draw, n, seed, f"synthetic phrases ({part})")
