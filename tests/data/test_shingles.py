"""Runs of characters, what they say of two texts, and the steps that drop texts."""

from __future__ import annotations

import numpy as np
import pytest

from tinygpt.data import minhash, quality
from tinygpt.data.shingles import BLOCK, WIDTH, shingles
from tinygpt.data.tokens import growing_file

RNG = np.random.default_rng(0)
LETTERS = np.array(list("abcdefghij klmno"))


def text(n: int, rng: np.random.Generator = RNG) -> str:
    """n characters, none of them white space at an end."""
    return "x" + "".join(rng.choice(LETTERS, n - 2)).replace("  ", "zz") + "y"


def numbers(words: str) -> np.ndarray:
    return np.concatenate([np.empty(0, np.uint64), *shingles(words)])


@pytest.mark.parametrize("n", [0, 1, 5, 15, 16, 17, 100, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 16, 2 * BLOCK + 3])
def test_every_run_of_characters_has_its_number(n):
    words = text(n) if n > 2 else "q" * n
    found = numbers(words)
    width = WIDTH if n >= WIDTH else max(w for w in (1, 2, 4, 8) if w <= max(n, 1))
    runs = [words[i:i + width] for i in range(n - width + 1)]
    assert len(found) == len(runs) and len(set(found.tolist())) == len(set(runs))
    by_run: dict[str, set[int]] = {}
    for run, number in zip(runs, found.tolist()):
        by_run.setdefault(run, set()).add(number)
    assert all(len(same) == 1 for same in by_run.values())


def test_capitals_and_white_space_make_no_difference():
    one, other = "A small  step\n for one, and a long way", "a SMALL step for one,\tand a long way"
    assert np.array_equal(numbers(one), numbers(other))
    assert numbers("日本語のテキスト" * 4).size == 32 - WIDTH + 1 and numbers("\ud800 lone") is not None


def test_a_signature_estimates_what_two_texts_have_in_common():
    errors = []
    for changed in np.linspace(0.02, 0.9, 40):
        one = text(3000)
        keep = int(3000 * (1 - changed))
        other = one[:keep] + text(3000 - keep)
        a, b = set(numbers(one).tolist()), set(numbers(other).tolist())
        agree = (minhash.signature(one) == minhash.signature(other)).mean()
        errors.append(agree - len(a & b) / len(a | b))
    assert abs(np.mean(errors)) < 0.02 and np.std(errors) < 0.08


def write(path, texts):
    with growing_file(path, np.dtype(np.uint32)) as append:
        for one in texts:
            append(minhash.signature(one))
    return path


def test_the_first_of_each_group_stays_whatever_file_it_is_in(tmp_path):
    originals = [text(800) for _ in range(60)]
    near = [one[:400] + "CHANGED" + one[405:] for one in originals[:20]]  # 22 runs of some 800 differ
    far = [one[:300] + text(500) for one in originals[20:30]]
    files = [write(tmp_path / "0", originals[:40]), write(tmp_path / "1", []),
             write(tmp_path / "2", [*near, *originals[40:], *far, originals[5]])]
    found = minhash.near_duplicates(files, 0.8)
    expected = np.zeros(40 + 20 + 20 + 10 + 1, bool)
    expected[40:60] = expected[-1] = True
    assert np.array_equal(found, expected)
    alike = minhash.near_duplicates(files, 1.0)  # 64 of 64 numbers: of the equal text, and of a few others by chance
    assert alike[-1] and alike.sum() < 10
    assert len(minhash.near_duplicates([write(tmp_path / "3", [])], 0.8)) == 0


def test_alike_to_a_third_one_is_one_group(tmp_path):
    base, more = text(2000), text(400)
    chain = [base, base[200:] + more[:200], base[400:] + more]  # neighbours share 0.82, the first and the last 0.67
    assert minhash.near_duplicates([write(tmp_path / "0", chain)], 0.75).tolist() == [False, True, True]
    assert minhash.near_duplicates([write(tmp_path / "1", chain[::2])], 0.75).tolist() == [False, False]


@pytest.mark.parametrize("name, setting, stays, goes", [
    ("length", "10", "0123456789", " 012345678 \n"),
    ("repetition", "0.3", "every word of this sentence is a new one for the reader", "again and again " * 20),
    ("language", "Latin", "una canción y 12 números, más Ω", "один два три four"),
    ("language", "Han+Hiragana+Katakana", "日本語のテキスト、カタカナ abc", "plain English text"),
    ("language", "Cyrillic", "один, два, три", "123 … 456"),
])
def test_a_step_drops_what_it_says(name, setting, stays, goes):
    step = quality.STEPS[name]
    value = step.read(setting)
    assert not step.drops(stays, value) and step.drops(goes, value)


def test_settings_are_read_and_duplicates_come_last():
    assert quality.parse_steps(["duplicates=0.9", "length", "language=Greek"]) == {
        "length": 200.0, "language": "Greek", "duplicates": 0.9}
    assert list(quality.parse_steps(["duplicates", "length"])) == ["length", "duplicates"]
    for step in quality.STEPS.values():
        step.read(step.default)


@pytest.mark.parametrize("words, message", [
    (["nonsense"], "no step 'nonsense'.*length, repetition"), (["length", "length=3"], "given twice"),
    (["length=-1"], "a number from 1"), (["length=nan"], "a number"), (["repetition=2"], "from 0 to 1"),
    (["duplicates=0"], "from 0.1 to 1"), (["language=Klingon"], "names of scripts"),
    (["language=("], "names of scripts"), (["language="], "names of scripts"), (["length="], "a number"),
])
def test_wrong_steps_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        quality.parse_steps(words)
