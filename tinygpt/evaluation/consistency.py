"""Does a model answer alike when it is asked alike? The same question in three wordings, answers by likelihood.

A model that knows something gives the same answer however it is asked. The figure is the share of questions whose three
wordings get the same choice of four; models that guess agree by chance once in sixteen.

What it does not see: whether the common answer is right (the accuracy beside it does), and a preference for one choice
in all wordings, which looks like consistency.

Prerequisites: multiple_choice.py. Next: injection.py. Elazar et al., "Measuring and improving consistency in pretrained
language models" (2021).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..models import PretrainedModel
from ..tokenizers import Tokenizer
from .multiple_choice import answer_questions
from .questions import Question
from .running import Track, untracked

__all__ = ["FACTS", "Consistency", "measure_consistency", "paraphrased"]

# Three wordings, and four choices of which the first is right.
FACTS: tuple[tuple[tuple[str, str, str], tuple[str, str, str, str]], ...] = (
    (("The capital of France is", "France's capital city is called", "The seat of the French government is in"),
     ("Paris", "Rome", "Berlin", "Madrid")),
    (("The capital of Japan is", "Japan's capital city is called", "The seat of the Japanese government is in"),
     ("Tokyo", "Seoul", "Beijing", "Bangkok")),
    (("The colour of a clear sky is", "On a day without clouds the sky looks", "When the sun shines, the sky is"),
     ("blue", "green", "red", "brown")),
    (("Snow has the colour", "The colour of fresh snow is", "Fresh snow looks"), ("white", "black", "green", "red")),
    (("A spider has this many legs:", "The number of legs of a spider is", "Spiders walk on legs, and they have"),
     ("eight", "six", "four", "ten")),
    (("A week has this many days:", "The number of days in a week is", "How many days are in a week? There are"),
     ("seven", "five", "nine", "twelve")),
    (("The opposite of hot is", "What is not hot is", "If something is the reverse of hot, it is"),
     ("cold", "loud", "tall", "sweet")),
    (("The opposite of big is", "What is not big is", "If something is the reverse of big, it is"),
     ("small", "early", "bright", "dry")),
    (("Bees make", "What bees produce is", "From a beehive we get"), ("honey", "milk", "wool", "salt")),
    (("Cows give us", "The drink that comes from cows is", "A farmer gets from his cows"),
     ("milk", "honey", "coffee", "wine")),
    (("Water freezes and becomes", "When water gets very cold it turns into", "Frozen water is called"),
     ("ice", "steam", "sand", "oil")),
    (("A young dog is called a", "The child of a dog is a", "Dogs give birth to a"),
     ("puppy", "kitten", "calf", "chick")),
    (("A young cat is called a", "The child of a cat is a", "Cats give birth to a"),
     ("kitten", "puppy", "lamb", "foal")),
    (("To cut paper we use", "The tool for cutting paper is", "Paper is cut with"),
     ("scissors", "a spoon", "a towel", "a pillow")),
    (("At night we see in the sky the", "What shines in the sky at night is the", "In the dark sky there is the"),
     ("moon", "grass", "floor", "table")),
    (("People read a", "Something that people read is a", "In the evening she sat down to read a"),
     ("book", "shoe", "chair", "glass")),
    (("Fish live in", "The home of fish is", "You find fish in"), ("water", "trees", "sand", "clouds")),
    (("The language of Spain is", "People in Spain speak", "In Madrid the people talk to each other in"),
     ("Spanish", "German", "Chinese", "Russian")),
    (("The planet we live on is", "Our own planet is called", "All people live on the planet"),
     ("Earth", "Mars", "Venus", "Saturn")),
    (("After Monday comes", "The day that follows Monday is", "If today is Monday, tomorrow is"),
     ("Tuesday", "Sunday", "Friday", "Saturday")),
)


def paraphrased() -> list[Question]:
    """All wordings of all facts, those of a fact together; the right choice at a place that changes from fact to fact.

    >>> len(paraphrased())
    60
    """
    return [Question(text, (*choices[1:][:place % 4], choices[0], *choices[1:][place % 4:]), place % 4, f"fact {place}")
            for place, (texts, choices) in enumerate(FACTS) for text in texts]


@dataclass(frozen=True)
class Consistency:
    """What asking in several wordings came to.

    Attributes:
        n_alike: questions with the same choice in all wordings, of n_facts.
        n_right: right answers, of n_questions.
    """

    n_alike: int
    n_facts: int
    n_right: int
    n_questions: int


def measure_consistency(model: PretrainedModel, tokenizer: Tokenizer, limit: int | None = None,
                        track: Track = untracked) -> Consistency:
    """Ask the first `limit` facts, all by default, in three wordings each."""
    questions = paraphrased()[:None if limit is None else 3 * limit]
    found = answer_questions(model, tokenizer, questions, track=track)
    chosen = found.chosen["per_character"]
    alike = [len(set(chosen[start:start + 3])) == 1 for start in range(0, len(chosen), 3)]
    return Consistency(sum(alike), len(alike), found.n_right["per_character"], len(questions))
