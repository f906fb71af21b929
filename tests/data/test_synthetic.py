"""Synthetic data: parts never meet, labels, answers and agreements are right, and a name stands for each."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.data import Documents, SYNTHETIC, find_table, located_records, read_columns
from tinygpt.data.pairs import read_pairs
from tinygpt.data.synthetic import instructions, phrases, sentiment
from tinygpt.data.synthetic.draw import distinct_examples, in_part
from tinygpt.data.synthetic.instructions import JOBS
from tinygpt.data.synthetic.sentiment import ENGLISH, SPANISH

MAKERS = [sentiment, instructions, phrases]
PROBE = "El servicio al cliente fue excelente y rápido."


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_sizes_seeds_and_prefixes(make):
    some = make(300, seed=5)
    assert len(some) == 300 and some == make(300, seed=5) and some[:100] == make(100, seed=5)
    assert some != make(300, seed=6) and make(0) == []
    assert len({tuple(example.values()) for example in some}) == 300
    assert all(value == value.strip() for example in some for value in example.values())
    for bad in (dict(n=-1), dict(n=1, seed=-1), dict(n=1, part="validation")):
        with pytest.raises(ValueError):
            make(**bad)


def test_a_grammar_that_has_no_more_says_so():
    with pytest.raises(ValueError, match="dice has hardly more than 6 different examples, and 7 were asked for"):
        distinct_examples(lambda rng, number: {"pips": str(rng.integers(6))}, 7, 0, "dice")


@given(st.integers(0, 40))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_every_word_is_in_both_parts(number):
    held = [in_part("test", number, other) for other in range(10)]
    assert sum(held) == 2 and [not h for h in held] == [in_part("train", number, other) for other in range(10)]


# -- sentiment --------------------------------------------------------------------------------------------------------


def said(example: dict[str, str]) -> set[tuple[str, str]]:
    """The combinations in a sentence, found from outside: things and adjectives or verbs by their words."""
    language = ENGLISH if example["language"] == "en" else SPANISH
    text = example["text"].lower()
    thing, = [t for t in language.things if re.search(rf"\b{t}\b", text)]
    forms = {form: a.masculine for group in language.adjectives for a in group for form in (a.masculine, a.feminine)}
    verbs = {form: verb for group in language.verbs for verb in group for form in (verb, language.negate(verb))}
    found = {forms[word] for word in words(text) if word in forms}
    return {(thing, what) for what in found or {verbs[verb] for verb in verbs if verb in text}}


def test_things_and_what_is_said_of_them_are_held_out_together():
    train = set().union(*map(said, sentiment(6000)))
    test = set().union(*map(said, sentiment(1500, "test", seed=3)))
    assert len(train) > 1500 and len(test) > 350 and not train & test
    for place in (0, 1):
        assert {combination[place] for combination in test} <= {combination[place] for combination in train}


def test_the_label_follows_from_the_words_and_the_negation():
    for example in sentiment(2000, seed=1) + sentiment(500, "test"):
        language = ENGLISH if example["language"] == "en" else SPANISH
        text = words(example["text"])
        groups = [{w for a in group for w in (a.masculine, a.feminine)} for group in language.adjectives]
        found = [group for group in (0, 1) for word in text if word in groups[group]]
        if not found:
            continue  # a verb
        negated = bool({"not", "neither", "never", "wasn", "no", "nunca"} & set(text))
        assert len(set(found)) == 1 and example["label"] == ("NEGATIVE", "POSITIVE")[found[0] ^ negated], example


def test_labels_languages_and_negations_are_balanced():
    some = sentiment(2000)
    assert Counter((e["label"], e["language"]) for e in some) == {
        (label, language): 500 for label in ("POSITIVE", "NEGATIVE") for language in ("en", "es")}
    for label in ("POSITIVE", "NEGATIVE"):
        share = sum(bool({"not", "no", "never", "nunca", "neither", "wasn"} & set(words(e["text"])))
                    for e in some if e["label"] == label) / 1000
        assert 0.3 < share < 0.5


def test_the_sentence_of_the_documentation_is_not_in_it_but_its_words_are():
    probe = words(PROBE)
    fours = {tuple(probe[start:start + 4]) for start in range(len(probe) - 3)}
    vocabulary: set[str] = set()
    for seed in range(3):
        for example in sentiment(4000, seed=seed) + sentiment(500, "test", seed=seed):
            text = words(example["text"])
            assert not fours & {tuple(text[start:start + 4]) for start in range(len(text) - 3)}, example
            vocabulary |= set(text)
    assert vocabulary >= set(probe) and vocabulary >= set(words("The customer service was not excellent."))
    counts = Counter(word for example in sentiment(2000) for word in set(words(example["text"])))
    assert min(counts[word] for word in probe) >= 10


def test_spanish_agrees():
    feminine = [e["text"] for e in sentiment(3000) if e["language"] == "es" and " buen" in e["text"]]
    assert feminine
    for text in feminine:
        assert ("buena" in words(text)) == ("la" in words(text)), text
    joined = [e["text"] for e in sentiment(3000) if re.search(r" [ye] i\w", e["text"])]
    assert joined and not [text for text in joined if re.search(r" y i\w", text)]


# -- instructions -----------------------------------------------------------------------------------------------------


def operands(example: dict[str, str]) -> list[str]:
    """What an instruction is about, found by matching its wording."""
    if example["input"]:
        return example["input"].split()
    job, = (job for job in JOBS if job.name == example["task"])
    matches = [re.fullmatch(re.escape(wording).replace(r"\{\}", r"(\w+)"), example["instruction"])
               for wording in job.wordings]
    match, = filter(None, matches)
    return list(match.groups())


def test_answers_are_right():
    for example in instructions(3000, seed=2):
        given = operands(example)
        word = given[0]
        expected = {
            "copy": word, "double": f"{word} {word}", "reverse": "".join(reversed(word)), "capitals": word.upper(),
            "first": word[:1], "last": word[-1:], "length": f"{len(word)}", "spell": "-".join(list(word)),
            "add": lambda: str(sum(map(int, given))), "larger": lambda: str(max(map(int, given))),
            "next": lambda: str(int(word) + 1)}[example["task"]]
        assert example["output"] == (expected() if callable(expected) else expected), example


def test_jobs_and_operands_are_held_out_together():
    symmetric = {job.name for job in JOBS if job.symmetric}

    def combinations(examples):
        return {(e["task"], *(sorted(operands(e)) if e["task"] in symmetric else operands(e))) for e in examples}

    train, test = combinations(instructions(10_000)), combinations(instructions(2000, "test", seed=9))
    assert symmetric == {"add", "larger"} and len(train) > 7000 and len(test) > 1000 and not train & test
    assert {job for job, *_ in test} == {job.name for job in JOBS}


# -- phrases ----------------------------------------------------------------------------------------------------------


def test_verbs_and_objects_are_held_out_together():
    from tinygpt.data.synthetic.phrases import NOUNS, VERBS
    nouns = {form: noun[0] for noun in NOUNS for form in noun[:2]}
    verbs = {form: verb[0] for verb in VERBS for form in verb[:2]}

    def combinations(examples):
        found = set()
        for example in examples:
            text = example["english"].lower()
            verb, = {verbs[form] for form in verbs if re.search(rf"\b{form}\b", text)}
            noun, = {nouns[word] for word in words(text) if word in nouns}
            found.add((verb, noun))
        return found

    train, test = combinations(phrases(4000)), combinations(phrases(1500, "test", seed=4))
    assert len(train) == 180 and len(test) == 45 and not train & test


def test_one_translation_each_and_agreement():
    some = phrases(4000, seed=1)
    assert len({e["english"] for e in some}) == len(some) == len({tuple(e.values()) for e in some})
    for example in some:
        spanish = words(example["spanish"])
        if "roja" in spanish or "rojas" in spanish:
            assert not {"el", "los", "un", "este"} & set(spanish), example
        if "no" in spanish:
            assert "not" in words(example["english"])
        assert example["spanish"].startswith("¿") == example["english"].endswith("?")


def test_golden_phrases():
    found = {e["english"]: e["spanish"] for e in phrases(20_000) + phrases(4000, "test")}
    for english, spanish in (("They sell a small book.", "Ellos venden un libro pequeño."),
                             ("We do not repair this white shirt.", "Nosotros no reparamos esta camisa blanca."),
                             ("Do you use the book?", "¿Usas tú el libro?")):
        assert found[english] == spanish


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SYNTHETIC)
def test_names_stand_for_data(name):
    records = [record for _, record in located_records(name)]
    assert len(records) == SYNTHETIC[name].n >= 500 and find_table(name) == name
    texts = list(Documents(name))
    assert len(texts) == len(records) and list(records[0].values())[0] in texts[0]
    assert name.endswith("-test") == (SYNTHETIC[name].part == "test")


def test_columns_pairs_and_files_of_the_same_name(tmp_path, monkeypatch):
    text, label = next(iter(read_columns("synthetic-sentiment", ["text", "label"])))
    assert label in ("POSITIVE", "NEGATIVE") and text[-1] in ".!"
    assert read_pairs("synthetic-phrases-test")[0] == tuple(phrases(1, "test")[0].values())
    with pytest.raises(ValueError, match="synthetic-sentiment, record 1: no column named 'stars'; it has text, label"):
        list(read_columns("synthetic-sentiment", ["stars"]))
    with pytest.raises(FileNotFoundError, match="did you mean 'synthetic-phrases'"):
        find_table("synthetic-phrase")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        find_table(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "synthetic-phrases").write_text("one\tuno\n", encoding="utf-8")
    assert read_pairs("synthetic-phrases") == [("one", "uno")]
    assert list(Documents("synthetic-phrases")) == ["one\tuno\n"]
