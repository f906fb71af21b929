"""Which characters are letters, marks, numbers and spaces, by Unicode 16.0.

The split patterns ask for a character's class, and new Unicode versions give classes to characters that had none. Were
the classes taken from Python or from the `regex` package, the same text would get other ids after an update. So they
are pinned here, to the version with which tiktoken and Hugging Face's tokenizers split.

Source: the general categories of the Unicode Character Database 16.0.
Prerequisites: nothing. Next: `patterns.py`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache, lru_cache
from itertools import accumulate

import regex

__all__ = ["WHITESPACE", "ranges_of", "stand_in", "is_word", "without_newer", "BEYOND"]

WHITESPACE = ("\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
              "\u2028\u2029\u202f\u205f\u3000")  # str.isspace() has four more, the separators U+001C to U+001F
BEYOND = re.compile("[\U00010000-\U0010ffff]")

# All characters from U+0000 on, in runs of the same class: u l t m o are upper-case, lower-case, title-case, modifier
# and other letters, M marks, N numbers, "." all else; "u26" is 26 of them, and "ul*27" is u and l in turn, 27 times.
_RUNS = """
    .48 N10 .7 u26 .6 l26 .47 o .7 N2 . l .3 N o . N3 . u23 . u7 l24 . l8 ul*27 u l2 ul*7 u l2 ul*23 u2 l u l u l3 u2
    l u l u2 l u3 l2 u4 l u2 l u3 l3 u2 l u2 l ul*2 u2 l u l2 u l u2 l u3 l u l u2 l2 o u l3 o4 u t l u t l u t l ul*7
    u l2 ul*8 u l2 u t l u l u3 l ul*28 u l7 u2 l u2 l2 u l u4 l ul*3 u l69 o l27 m18 .4 m12 .14 m5 .7 m . m .17 M112
    ul*2 m . u l .2 m l3 . u .6 u . u3 . u . u2 l u17 . u9 l35 u l2 u3 l3 ul*11 u l5 u l . u l u2 l2 u51 l48 ul*17 .
    M7 ul*27 u2 l ul*5 u l2 ul*48 . u38 .2 m .6 l41 .8 M45 . M . M2 . M2 . M .8 o27 .4 o4 .29 M11 .5 o32 m o10 M21 N10
    .4 o2 M o99 . o M7 .2 M6 m2 M2 . M4 o2 N10 o3 .2 o .16 o M o30 M27 .2 o89 M11 o .14 N10 o33 M9 m2 .4 m .2 M .2 o22
    M4 m M9 m M3 m M5 .18 o25 M3 .4 o11 .5 o24 . o6 .8 M9 o41 m M24 . M33 o54 M3 o M18 o M7 o10 M2 .2 N10 . m o15 M3 .
    o8 .2 o2 .2 o22 . o7 . o .3 o4 .2 M o M7 .2 M2 .2 M3 o .8 M .4 o2 . o3 M2 .2 N10 o2 .2 N6 .2 o . M .2 M3 . o6 .4
    o2 .2 o22 . o7 . o2 . o2 . o2 .2 M . M5 .4 M2 .2 M3 .3 M .7 o4 . o .7 N10 M2 o3 M .11 M3 . o9 . o3 . o22 . o7 . o2
    . o5 .2 M o M8 . M3 . M3 .2 o .15 o2 M2 .2 N10 .9 o M6 . M3 . o8 .2 o2 .2 o22 . o7 . o2 . o5 .2 M o M7 .2 M2 .2 M3
    .7 M3 .4 o2 . o3 M2 .2 N10 . o N6 .10 M o . o6 .3 o3 . o4 .3 o2 . o . o2 .3 o2 .3 o3 .3 o12 .4 M5 .3 M3 . M4 .2 o
    .6 M .14 N13 .13 M5 o8 . o3 . o23 . o16 .2 M o M7 . M3 . M4 .7 M2 . o3 .2 o .2 o2 M2 .2 N10 .8 N7 . o M3 . o8 . o3
    . o23 . o10 . o5 .2 M o M7 . M3 . M4 .7 M2 .6 o2 . o2 M2 .2 N10 . o2 M .12 M4 o9 . o3 . o41 M2 o M7 . M3 . M4 o .5
    o3 M N7 o3 M2 .2 N19 . o6 . M3 . o18 .3 o24 . o9 . o .2 o7 .3 M .4 M6 . M . M8 .6 N10 .2 M2 .13 o48 M o2 M7 .5 o6
    m M8 . N10 .39 o2 . o . o5 . o24 . o . o10 M o2 M9 o .2 o5 . m . M7 . N10 .2 o4 .32 o .23 M2 .6 N20 . M . M . M .4
    M2 o8 . o36 .4 M20 . M2 o5 M11 . M36 .9 M .57 o43 M20 o N10 .6 o6 M4 o4 M3 o M3 o2 M7 o3 M4 o13 M12 o M N10 M4 .2
    u38 . u .5 u .2 l43 . m l3 o329 . o4 .2 o7 . o . o4 .2 o41 . o4 .2 o33 . o4 .2 o7 . o . o4 .2 o15 . o57 . o4 .2
    o67 .2 M3 .9 N20 .3 o16 .16 u86 .2 l6 .3 o620 .2 o17 . o26 .5 o75 .3 N3 o8 .7 o18 M4 .9 o19 M3 .11 o18 M2 .12 o13
    . o3 . M2 .12 o52 M32 .3 m .4 o M .2 N10 .6 N10 .17 M3 . M N10 .6 o35 m o53 .7 o5 M2 o34 M o .5 o70 .10 o31 . M12
    .4 M12 .10 N10 o30 .2 o5 .11 o44 .4 o26 .6 N11 .37 o23 M5 .4 o53 M10 . M29 .2 M N10 .6 N10 .13 m .8 M31 .49 M5 o47
    M17 o8 .3 N10 .17 M9 .12 M3 o30 M13 o2 N10 o44 M14 .12 o36 M20 .8 N10 .3 o3 N10 o30 m6 .2 l9 u l .5 u43 .2 u3 .16
    M3 . M21 o4 M o6 M o2 M3 o .5 l44 m63 l13 m l34 m37 M64 ul*74 u l9 ul*48 u l9 u8 l6 .2 u6 .2 l8 u8 l8 u8 l6 .2 u6
    .2 l8 . u . u . u . u l8 u8 l14 .2 l8 t8 l8 t8 l8 t8 l5 . l2 u4 t . l .3 l3 . l2 u4 t .3 l4 .2 l2 u4 .4 l8 u5 .5
    l3 . l2 u4 t .115 N m .2 N6 .5 m N10 .6 m13 .51 M33 .17 u .4 u .2 l u3 l2 u3 l . u .3 u5 .6 u . u . u . u4 . l u4
    l o4 l .2 l2 u2 .5 u l4 .4 l . N51 u l N5 .726 N60 .78 N22 .630 N30 .1132 u48 l48 u l u3 l2 ul*3 u4 l u l2 u l6 m2
    u3 l ul*48 u l2 .6 ul*2 M3 u l .9 N .2 l38 . l .5 l .2 o56 .7 m .15 M o23 .9 o7 . o7 . o7 . o7 . o7 . o7 . o7 . o7
    . M32 .47 m .469 m o N .25 N9 M6 . m5 .2 N3 m o .4 o86 .2 M2 .2 m2 o . o90 . m3 o .5 o43 . o94 .3 N4 .10 o32 .48
    o16 .32 N10 .30 N8 . N15 .32 N10 .39 N15 .320 o6592 .64 o21013 m o1143 .67 o40 m6 .2 o268 m .3 o16 N10 o2 .20
    ul*23 o M4 . M10 . m ul*14 m2 M2 o70 N10 M2 .37 m9 .2 ul*6 u l3 ul*31 m l8 ul*2 u2 l ul*4 m .2 ul*2 o u l u l3
    ul*10 u5 l u5 l ul*7 u4 l u l u2 l .2 u l . l . l ul*3 u .21 m3 u l o m2 l o7 M o3 M o4 M o23 M5 .4 M .3 N6 .10
    o52 .12 M2 o50 M18 .10 N10 .6 M18 o6 .3 o . o2 M N10 o28 M8 .2 o23 M13 .12 o29 .3 M4 o47 M14 .14 m N10 .6 o5 M m
    o9 N10 o5 . o41 M14 .9 o3 M o8 M2 .2 N10 .6 o16 m o6 .3 o M3 o50 M o M3 o2 M2 o5 M2 o M o .24 o2 m .2 o11 M5 .2 o
    m2 M2 .10 o6 .2 o6 .2 o6 .9 o7 . o7 . l43 . m4 l9 m .6 l80 o35 M8 . M2 .2 N10 .6 o11172 .12 o23 .4 o49 .8452 o366
    .2 o106 .38 l7 .12 l5 .5 o M o10 . o13 . o5 . o . o2 . o2 . o108 .33 o363 .18 o64 .2 o54 .40 o12 .4 M16 .16 M16
    .64 o5 . o135 .19 N10 .7 u26 .6 l26 .11 o10 m o45 m2 o31 .3 o6 .2 o6 .2 o6 .2 o3 .35 o12 . o26 . o19 . o2 . o15 .2
    o14 .34 o123 .12 N45 .12 N57 .17 N2 .113 M .130 o29 .3 o49 .15 M N27 .4 o32 N4 .9 o20 N o8 N .5 o38 M5 .5 o30 .2
    o36 .4 o8 . N5 .42 u40 l40 o78 .2 N10 .6 u36 .4 l36 .4 o40 .8 o52 .12 u11 . u15 . u7 . u2 . l11 . l15 . l7 . l2 .3
    o52 .12 o311 .9 o22 .10 o8 .24 m6 . m42 . m9 .69 o6 .2 o . o44 . o2 .3 o .2 o23 .2 N8 o23 .2 N7 o31 .8 N9 .48 o19
    . o2 .5 N5 o22 N6 .4 o26 .70 o56 .4 N2 o2 N16 .2 N46 o M3 . M2 .5 M4 o4 . o3 . o29 .2 M3 .4 M N9 .23 o29 N2 . o29
    N3 .32 o8 . o28 M2 .4 N5 .16 o54 .10 o22 .2 N8 o19 .5 N8 o18 .23 N7 .80 o73 .55 u51 .13 l51 .7 N6 o36 M4 .8 N10 .6
    N10 o4 m o u22 .3 M5 . m l22 .218 N31 . o42 . M2 .3 o2 .16 o3 .55 M4 o29 N10 o .8 o22 M11 N4 .27 o18 M4 .42 o21 N7
    .20 o23 .9 M3 o53 M15 .11 N30 M o2 M2 o .9 M4 o45 M11 .7 M .13 o25 .7 N10 .6 M3 o36 M14 . N10 .4 o M2 o .8 o35 M
    .2 o .9 M3 o48 M14 o4 .4 M4 . M2 N10 o . o .4 N20 .11 o18 . o25 M12 .6 M o2 M .62 o7 . o . o4 . o15 . o10 .7 o47
    M12 .5 N10 .6 M4 . o8 .2 o2 .2 o22 . o7 . o2 . o5 . M2 o M7 .2 M2 .2 M3 .2 o .6 M .5 o5 M2 .2 M7 .3 M5 .11 o10 . o
    .2 o . o38 . o M9 . M .2 M . M4 . M5 o M o .13 M2 .29 o53 M18 o4 .5 N10 .4 M o3 .30 o48 M20 o2 . o .8 N10 .166 o47
    M7 .2 M9 .23 o4 M2 .34 o48 M17 .3 o .11 N10 .38 o43 M13 o .7 N10 .6 N20 .28 o27 .2 M15 .4 N12 .4 o7 .185 o44 M15
    .101 u32 l32 N19 .12 o8 .2 o .2 o8 . o2 . o24 M6 . M2 .2 M4 o M o M2 .12 N10 .70 o8 .2 o39 M7 .2 M7 o . o M .27 o
    M10 o40 M7 o M4 .8 M .8 o M11 o46 M16 .3 o .18 o73 .199 o33 .15 N10 .6 o9 . o37 M8 . M8 o .15 N29 .5 o30 .2 M22 .
    M14 .73 o7 . o2 . o38 M6 .3 M . M2 . M7 o M .8 N10 .6 o6 . o2 . o32 M5 . M2 . M5 o .7 N10 .310 o19 M4 .9 M2 o M
    o13 . o34 M7 .3 M5 .13 N10 M .85 o .15 N21 .43 o922 .102 N111 .17 o196 .2636 o97 .15 o1072 .16 M o6 M15 .10 o3995
    .5 o583 .6841 o30 M18 N10 .1734 o569 .7 o31 . N10 .6 o79 . N10 .6 o30 .2 M5 .11 o48 M7 .9 m4 .12 N10 . N7 . o21 .5
    o19 .432 m3 o40 m2 .3 N10 .198 u32 l32 N23 .105 o75 .4 M o M55 .7 M4 m13 .64 m2 . m M .11 M2 .14 o6136 .8 o1238
    .41 o10 .8935 m4 . m7 . m2 . o291 .15 o .29 o3 .2 o .14 o4 .8 o396 .2308 o107 .5 o13 .3 o9 .7 o10 .3 M2 .4177 N10
    .518 M46 .2 M23 .542 M5 .3 M6 .8 M8 .2 M7 .30 M4 .148 M3 .123 N20 .12 N20 .108 N25 .135 u26 l26 u26 l7 . l18 u26
    l26 u . u2 .2 u .2 u2 .2 u4 . u8 l4 . l . l7 . l11 u26 l26 u2 . u4 .2 u8 . u7 . l26 u2 . u4 . u5 . u .3 u7 . l26
    u26 l26 u26 l26 u26 l26 u26 l26 u26 l26 u26 l28 .2 u25 . l25 . l6 u25 . l25 . l6 u25 . l25 . l6 u25 . l25 . l6 u25
    . l25 . l6 u l .2 N50 .512 M55 .4 M50 .8 M .14 M .22 M5 . M15 .1104 l10 o l20 .6 l6 .213 M7 . M17 .2 M7 . M2 . M5
    .5 m62 .33 M .112 o45 .3 M7 m7 .2 N10 .4 o .321 o30 M .17 o44 M4 N10 .470 o27 m M4 N10 .214 o30 M2 o N10 .485 o7 .
    o4 . o2 . o15 . o197 .2 N9 M7 .41 u34 l34 M7 m .4 N10 .791 N59 . N3 . N4 .76 N45 . N15 .194 o4 . o27 . o2 . o .2 o
    . o10 . o4 . o . o .6 o .4 o . o . o . o3 . o2 . o .2 o . o . o . o . o . o2 . o .2 o4 . o7 . o4 . o4 . o . o10 .
    o17 .5 o3 . o5 . o17 .580 N13 .2787 N10 .1030 o42720 .32 o4154 .6 o222 .2 o5762 .14 o7473 .15 o622 .2466 o542
    .1506 o4939 .5 o4192 .712016 M240 .196112
"""

_KINDS = {r"\p{L}": "ultmo", r"\p{Lu}": "u", r"\p{Ll}": "l", r"\p{Lt}": "t", r"\p{Lm}": "m", r"\p{Lo}": "o",
          r"\p{M}": "M", r"\p{N}": "N"}
_OTHER_WORDS = regex.compile(r"(?V1)[\w--\p{L}--\p{M}]")
_STAND_INS = {"u": "Ø", "l": "ø", "t": "ǅ", "m": "ʰ", "o": "ª", "M": "\u0301", "N": "0", ".": "#"}


@cache
def _runs() -> tuple[str, list[int]]:
    """The class of each run, and where each begins; the last run, of all that remains, is empty in the table."""
    kinds: list[str] = []
    lengths: list[int] = []
    for kind, alternating, length in re.findall(r"([ultmoMN.])(?:(l)\*)?(\d*)", _RUNS):
        times = int(length or 1)
        kinds += [kind, alternating] * times if alternating else [kind]
        lengths += [1] * (2 * times) if alternating else [times]
    return "".join(kinds), [0, *accumulate(lengths)][:-1]


@cache
def ranges_of(unicode_class: str) -> str:
    """The characters of a class such as `\\p{L}`, up to U+FFFF, as the inside of a bracketed set."""
    kinds, starts = _runs()
    return "".join(f"{re.escape(chr(start))}-{re.escape(chr(end - 1))}"
                   for kind, start, end in zip(kinds, starts, starts[1:])
                   if kind in _KINDS[unicode_class] and end <= 0x10000)


@lru_cache(1 << 12)
def stand_in(character: str) -> str:
    """A character below U+10000 of the same class, which no pattern asks for by itself."""
    kinds, starts = _runs()
    return _STAND_INS[kinds[bisect_right(starts, ord(character)) - 1]]


def is_word(character: str) -> bool:
    """Whether a character is part of a word by Unicode's rule: letters, marks, digits, "_" and the like."""
    return stand_in(character) in "Øøǅʰª\u0301" or _OTHER_WORDS.match(character) is not None


@cache
def _newer() -> dict[int, str]:
    """Letters, marks and numbers of the installed `regex` package that are none here: younger than Unicode 16."""
    kinds, starts = _runs()
    others = "".join(map(chr, (code for kind, start, end in zip(kinds, starts, [*starts[1:], 0x110000]) if kind == "."
                               for code in range(start, end))))
    return {ord(character): "\u0378" for character in regex.findall(r"[\p{L}\p{M}\p{N}]", others)}


def without_newer(text: str) -> str:
    """The text with characters that Unicode 16 does not have as others that it does not have, one for one.

    >>> without_newer("a\u0558b") == "a\u0378b"
    True
    """
    return text if text.isascii() or _newer().keys().isdisjoint(map(ord, set(text))) else text.translate(_newer())
