"""Patterns mean what Oniguruma means by them; what cannot be translated is refused."""

from __future__ import annotations

import random
import time

import pytest
from tokenizer_texts import random_texts

from tinygpt.tokenizers.oniguruma import translate
from tinygpt.tokenizers.patterns import compile_pattern
from tinygpt.tokenizers.splitter import Splitter, Stage

BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"

# Where other engines read the same pattern otherwise: the text, and the pieces of it.
PIECES = [
    (r"[a-w&&[^c-g]]+", ["ab", "cdefg", "h"]),
    (r"[^\s[.,]]+", ["a", ", ", "b", "."]),
    (r"\h+", ["x", "beef09", "gh"]),
    (r"^ ", [" ", "a\n", " ", "b"]),
    (r"\w+", ["x²", " ", "½", "."]),
    (r"[\w]+", ["x", "² ", "y"]),
    (r"[0-9]{3}+", ["123456", "7"]),
    (r"a{2}?b", ["aab", "b"]),
    (r"b\Z", ["a\nb\na", "b", "\n"]),
    (r"[[:digit:]]+", ["a", "12٣", "b"]),
    (r"[[:^alpha:]]+", ["a", "1 ", "b"]),
    (r"a$", ["a", "\n", "a"]),
    (BLOOM, ["Hello", " you", ",", "12", ".", " x"]),
    (r"\s{512}|\s{256}", ["a", " " * 512, " " * 256, " "]),
    (r"a(?i)b|C", ["aB", "-bc", "ac", "b"]),
    (r"(?m).+", ["a\nb"]),
    (r"[^a-z&&[aeiou]]+", ["bc", "a", "d"]),
    (r"(?=[A-Z])", ["get", "Item", "Count"]),
    (r"\p{^Lu}+", ["ab", "C", "d"]),
    (r"(?<n>a)(b)\k<n>", ["aba", "ab"]),
    (r"(?x) a  b  # both", ["ab", " a"]),
    (r"\R", ["a", "\r\n", "b", "\n"]),
    (r"\u0061|\x{1F600}", ["b", "a", "😀"]),
    (r"[a-]+|[]c]+", ["b", "a-", "d", "]c"]),
]

REFUSED = ["(", "[a", ")", r"\p{Nothing}", r"\G", r"a\K", r"\X", r"(?~a)", r"(a)(?(1)b)", r"\g<1>", "*a", "^*", r"\b+",
           "(?=a)?", r"\1", "[b-a]", "a{3,2}", r"\xff", r"\u00", "[[:wrong:]]", r"[\R]", "(?<n>a)\\1", r"\cA", "[a&&]"]


@pytest.mark.parametrize("pattern, pieces", PIECES)
def test_a_pattern_means_what_it_means_there(pattern, pieces):
    assert Splitter([Stage(pattern)])("".join(pieces)) == pieces


@pytest.mark.oracle
@pytest.mark.parametrize("pattern", [pattern for pattern, _ in PIECES])
def test_pieces_are_hugging_faces(hf_tokenizers, pattern):
    theirs = hf_tokenizers.pre_tokenizers.Split(hf_tokenizers.Regex(pattern), "isolated")
    ours = Splitter([Stage(pattern)])
    for text in [*filter(None, random_texts(400, seed=5)), *("".join(pieces) for _, pieces in PIECES)]:
        assert ours(text) == [piece for piece, _ in theirs.pre_tokenize_str(text)]


@pytest.mark.oracle
def test_random_patterns_split_as_hugging_faces(hf_tokenizers):
    atoms = ["a", "b", "c", "[a-c]", "[^ab]", r"\w", r"\s", r"\d", r"\W", "(a|b)", "(?:ab)", "(?i:aB)", r"\p{L}", r"\h",
             "[[a-z]&&[^b]]", r"[^\s[ab]]", r"[\w&&[^\d]]", "[[:alpha:]1]", ".", " ", r"\n"]
    anchors = ["^", "$", r"\b", r"\Z", "(?=a)", "(?!b)", "(?<=a)"]
    times = ["", "", "", "*", "+", "?", "{2}", "{1,2}", "{2}+", "{1,2}+", "+?", "*?", "++", "?+", "{2}?", "{,2}", "**"]
    rng = random.Random(11)

    def sequence() -> str:
        return "".join(rng.choice(anchors) if rng.random() < 0.2 else rng.choice(atoms) + rng.choice(times)
                       for _ in range(rng.randint(1, 3)))

    texts = ["".join(rng.choice("aabbcABZ k1²_\n .é") for _ in range(rng.randint(1, 12))) for _ in range(40)]
    for _ in range(400):
        pattern = "|".join(sequence() for _ in range(rng.randint(1, 2)))
        theirs = hf_tokenizers.pre_tokenizers.Split(hf_tokenizers.Regex(pattern), "isolated")
        ours = Splitter([Stage(pattern)])
        for text in texts:
            assert ours(text) == [piece for piece, _ in theirs.pre_tokenize_str(text)], (pattern, text)


@pytest.mark.parametrize("pattern", REFUSED)
def test_what_cannot_be_translated_is_refused(pattern):
    with pytest.raises(ValueError, match="the pattern .* nor a regular expression that can be read: .") as refused:
        compile_pattern(pattern)
    assert "\n" not in str(refused.value)


def test_what_is_refused_is_named():
    for pattern, name in ((r"\G", "the place where the search began"), (r"\p{Nothing}", "Nothing"), ("(?~a)", r"\(\?~"),
                          ("[[:wrong:]]", "wrong")):
        with pytest.raises(ValueError, match=name):
            translate(pattern)


@pytest.mark.parametrize("pattern", ["a" * 20_000, "(?:(?:a){1000}){1000}", "a{99999999999999999999}", "[" * 9000,
                                     "(" * 9000, "(?:" * 90 + "a" + "){3}" * 90, "a" + "{9}" * 3000,
                                     "(?i)" * 2000 + "a", r"\p{L}{9999}" * 100, "(?x)" + " " * 9000 + "("])
def test_patterns_without_measure_are_refused_at_once(pattern):
    start = time.process_time()
    with pytest.raises(ValueError, match="the pattern"):
        compile_pattern(pattern)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("pattern", ["(?:a|a)*$", "(a+)+b", "(?:a*)*c", r"(?:a|aa)+\Z(?<=b)", r"(?:a?){30}a{30}b"])
def test_backtracking_without_end_is_stopped(pattern):
    start = time.thread_time()
    try:
        compile_pattern(pattern)("a" * 5000)
    except ValueError as error:
        assert "needs more than" in str(error)
    assert time.thread_time() - start < 8


def test_letters_younger_than_unicode_16_are_none():
    """Whatever version the installed `regex` package has."""
    assert Splitter([Stage(r"\p{L}+|\p{N}+")])("a\u0378b\u0558c") == ["a", "\u0378", "b", "\u0558", "c"]
