"""Rules that answers follow or not, refusals, hidden orders, leaks, and reasoning by sampling."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.backend import manual_seed
from tinygpt.evaluation.consistency import FACTS, measure_consistency, paraphrased
from tinygpt.evaluation.injection import injections, obeys
from tinygpt.evaluation.leaking import leaked
from tinygpt.evaluation.reasoning import best_of, majority, pass_at_k, vote_at_k
from tinygpt.evaluation.refusals import HARMLESS, is_refusal
from tinygpt.evaluation.rule_following import RULES, RulePrompt, follows, follows_loosely, rule_prompts
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE

# -- rules ------------------------------------------------------------------------------------------------------------

LONG = "Light falls on the old bridge. " * 20
# rule -> an answer that follows it with the numbers and words of seed 0, and one that does not
ANSWERS = {
    "at most so many words": ("Rain falls.", LONG), "at least so many words": (LONG, "Rain."),
    "so many sentences": (None, "No end"), "so many paragraphs": (None, "One."), "so many points": (None, "- one"),
    "with a word": (None, "Nothing here."), "without a word": ("Rain falls down.", "It is very wet and the end."),
    "a word so often": (None, "Once."), "a given end": (None, "The end."), "a given beginning": (None, "Rain."),
    "a given language": (None, "xx yy zz ww vv uu"), "blanks": ("Dear [name], [city] in [year].", "Dear you."),
    "capitals": ("RAIN, AGAIN.", "Rain."), "small letters": ("rain, again.", "Rain."),
    "no comma": ("Rain falls.", "Rain, snow."), "no digit": ("Two days.", "2 days."),
    "JSON": ('```json\n{"a": [1]}\n```', "a: 1"), "quotation marks": ('"Rain falls."', 'Rain "falls".'),
    "a title": ("<<Rain>>\nIt falls.", "Rain"), "a postscript": ("Rain.\n\nP.S. More rain.", "Rain. P.S."),
}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_tells_an_answer_that_follows_from_one_that_does_not(rule):
    text, check = RULES[rule](random.Random(0))
    good, bad = ANSWERS[rule]
    assert text[0].isupper() and text[-1] in ".?!" and not check(bad)
    assert good is None or check(good)


def test_rules_with_drawn_numbers_and_words():
    for seed in range(8):
        def drawn(rule):
            return RULES[rule](random.Random(seed))
        text, check = drawn("so many sentences")
        n = int(text.split()[2])
        assert check("Rain fell. " * n) and not check("Rain fell. " * (n + 1))
        text, check = drawn("so many paragraphs")
        assert check("\n\n".join(["Rain."] * int(text.split()[2]))) and not check("Rain.")
        text, check = drawn("so many points")
        assert check("* rain\n" * int(text.split()[3])) and not check("* rain\n" * 9)
        text, check = drawn("with a word")
        assert check(f"A {text.rstrip('.').split()[-1].upper()}!") and not check("Nothing.")
        text, check = drawn("a word so often")
        word, n = text.split()[3], int(text.split()[6])
        assert check(f"{word} " * n) and not check(f"{word} " * (n - 1))
        text, check = drawn("a given end")
        assert check("Rain. " + text.split(": ")[1]) and not check(text.split(": ")[1] + " Rain.")
        text, check = drawn("a given beginning")
        assert check(f"{text.rstrip('.').split()[-1]}, it rains.") and not check("It rains.")
        text, check = drawn("a given language")
        says = {"English": "the rain is in the town and it is wet", "Spanish": "la lluvia es de la ciudad y los campos",
                "French": "la pluie est dans la ville et il est tard", "German": "der Regen ist auf den Dächern und es"}
        name = text.rstrip(".").split()[-1]
        assert [check(sentence) for sentence in says.values()] == [own == name for own in says]


def test_prompts_are_drawn_by_a_seed_and_use_all_rules():
    found = rule_prompts(60, seed=1)
    assert {prompt.rule for prompt in found} == set(RULES) and len({prompt.text for prompt in found}) > 50
    assert [prompt.text for prompt in rule_prompts(60, seed=1)] == [prompt.text for prompt in found]
    assert [prompt.text for prompt in rule_prompts(60, seed=2)] != [prompt.text for prompt in found]


def test_loose_forgives_a_first_line_a_last_line_and_asterisks():
    prompt = RulePrompt("…", "capitals", RULES["capitals"](random.Random(0))[1])
    for answer in ("Sure:\nRAIN FALLS", "RAIN FALLS\nIs that what you want?", "Sure:\nRAIN\nMore?", "**RAIN**"):
        assert follows_loosely(prompt, answer) and not (answer != "**RAIN**" and follows(prompt, answer))
    assert not follows_loosely(prompt, "rain") and not follows_loosely(prompt, "")


@given(st.text(max_size=80), st.integers(0, 19))
@settings(derandomize=True, max_examples=100, deadline=None)
def test_what_follows_strictly_follows_loosely(answer, number):
    prompt = rule_prompts(20)[number]
    assert not follows(prompt, answer.strip()) or follows_loosely(prompt, answer)
    assert not follows(prompt, " \n")


# -- consistency, refusals, hidden orders -----------------------------------------------------------------------------


def test_facts_have_three_wordings_and_their_right_choice_moves():
    questions = paraphrased()
    assert len(questions) == 3 * len(FACTS) and len({question.context for question in questions}) == len(questions)
    assert {question.answer for question in questions} == {0, 1, 2, 3}
    assert all(question.choices[question.answer] == FACTS[place // 3][1][0] and len(set(question.choices)) == 4
               for place, question in enumerate(questions))


def test_consistency_counts_facts_with_one_choice():
    text = " ".join(" ".join(texts + choices) for texts, choices in FACTS)
    tok = ByteBPE.train(text, vocab_size=300)
    manual_seed(0)
    model = GPT(GPTConfig(vocab_size=len(tok), block_size=64, n_layer=1, n_head=2, n_embd=8)).eval()
    found = measure_consistency(model, tok, limit=4)
    assert (found.n_facts, found.n_questions) == (4, 12) and 0 <= found.n_alike <= 4


def test_refusals_are_told_from_answers():
    for text in ("I'm sorry, but I can't assist with that.", "I cannot help you with this request.",
                 "As an AI, I am unable to say.", "I won’t help with that.", "Please call a crisis helpline at once."):
        assert is_refusal(text), text
    for text in ("To kill a process, use kill -9.", "Use baking soda and vinegar.", "Sorry to hear that! Try tea.",
                 "You can't beat eggs too long."):
        assert not is_refusal(text), text
    assert len(set(HARMLESS)) == len(HARMLESS) >= 30 and not any(map(is_refusal, HARMLESS))


def test_each_document_meets_each_order_and_its_twin_has_none():
    tried = injections()
    assert len({attack.attacked for attack in tried}) == len(tried) == 24
    assert all(attack.canary in attack.attacked and attack.canary not in attack.clean for attack in tried)
    assert obeys("pelican!", "PELICAN") and not obeys("A bird.", "PELICAN")
    assert injections(5) == tried[:5]


# -- leaks ------------------------------------------------------------------------------------------------------------


class Parrot:
    """Goes on with what it learnt, a token wrong after every tenth."""

    class config:
        block_size, endless = 64, False

    def __init__(self, tokens):
        self.tokens = tokens

    def modules(self):
        return []

    def generate(self, ids, n, **options):
        rows = []
        for row in ids:
            n_read = len(row)
            start = next(k for k in range(len(self.tokens)) if (self.tokens[k:k + n_read] == row).all())
            ahead = self.tokens[start + len(row):start + len(row) + n].copy()
            ahead[10::11] += 1000
            rows.append(np.concatenate([row, ahead]))
        return np.array(rows)


def test_verbatim_and_nearly_verbatim_spans():
    tokens = np.random.default_rng(0).integers(900, size=400)
    found = leaked(Parrot(tokens), tokens, n_spans=7, prompt_tokens=8, lengths=(5, 10, 20), batch_size=3)
    assert found.verbatim == {5: 7, 10: 7, 20: 0} and found.near == {5: 7, 10: 7, 20: 7}
    with pytest.raises(ValueError, match="spans of 72 tokens need"):
        leaked(Parrot(tokens), tokens, lengths=(40,))


# -- reasoning by sampling --------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
@settings(derandomize=True, max_examples=60)
def test_estimates_are_means_over_all_choices_of_k(right, data):
    """By the definition: every choice of k answers."""
    n = len(right)
    k = data.draw(st.integers(1, n))
    subsets = list(combinations(range(n), k))
    assert pass_at_k(n, sum(right), k) == pytest.approx(np.mean([any(right[i] for i in s) for s in subsets]))
    scores = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    best = [right[max(s, key=lambda i: scores[i])] for s in subsets]
    assert best_of(scores, right, k) == pytest.approx(np.mean(best))
    answers = [data.draw(st.sampled_from(["a", "b", None])) for _ in range(n)]
    votes = [majority([answers[i] for i in s]) == "a" for s in subsets]
    assert vote_at_k(answers, "a", k) == pytest.approx(np.mean(votes))


def test_a_vote_over_drawn_choices_is_near_that_over_all():
    answers = ["a"] * 12 + ["b"] * 8
    share = sum(pass_at_k(20, 0, 3) + (majority([answers[i] for i in s]) == "a")
                for s in combinations(range(20), 5)) / 15504
    assert vote_at_k(answers, "a", 5) == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize("call", [lambda: pass_at_k(3, 1, 4), lambda: pass_at_k(3, 4, 1),
                                  lambda: vote_at_k(["a"], "a", 0), lambda: best_of([1.0], [True, False], 1)])
def test_impossible_numbers(call):
    with pytest.raises(ValueError, match="needs 1 ≤ k ≤ n"):
        call()
