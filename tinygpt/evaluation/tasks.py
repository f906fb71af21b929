"""What can be measured of a model in a folder, from data in a file: one function for each task, and the table of them.

A decoder and a masked model predict text and choose between texts, a classifier labels, an encoder-decoder
translates; all but the last compare sentences. Further tasks are for decoders: free answers, answers to instructions,
the variety of what they write; which of two answers they prefer, as reward models do; and how often a judge prefers
theirs. The name of a benchmark is a task as well: how it is scored stands in its row of benchmarks.py.

A new task is one function here, and one row in TASKS; a new benchmark is one row of BENCHMARKS.

Prerequisites: the other files of evaluation/. Next: cli/evaluate.py.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..data import SYNTHETIC, Documents, file_format, find_table, located_columns, located_records, token_array
from ..data.chat_template import chat_template
from ..data.conversations import is_conversation, read_conversations
from ..data.masking import all_masked_windows
from ..data.pairs import read_pairs
from ..data.preferences import Turns, read_preferences, read_prompts
from ..data.tokens import TextEncoder
from ..files import shown
from ..models import (BERT, GPT, CausalLM, EncoderDecoder, PretrainedModel, SentenceEncoder, cosines,
                      load_model)
from ..pretrained import resolve_folder
from ..pretrained.sentence_folder import read_modules
from ..tokenizers import Tokenizer, load_tokenizer
from .answers import answer_conversations, exact_match
from .benchmarks import BENCHMARKS, benchmark_of, located_questions, read_questions
from .classification import Classification
from .confidence import wilson_interval
from .continuations import continue_texts
from .correlation import pearson, spearman
from .diversity import measure_diversity
from .free_answers import write_answers
from .labelling import label_numbers, label_probabilities
from .language_modeling import byte_lengths
from .last_word import guess_last_words
from .masked_words import masked_words, masking_of
from .multiple_choice import answer_questions
from .next_token import predict_text
from .preferences import Judge, accuracy_of, best_answers, is_reward_model, pair_log_probs, win_rate
from .questions import Question, with_shots
from .robustness import probe_special_tokens
from .rouge import KINDS, mean_rouge
from .running import Track, untracked
from .summarization import first_sentence, read_summaries, summarize
from .table import format_table
from .text_pairs import pair_scorer
from .translation import score_translations, translate

__all__ = ["N_PROMPTS", "TASKS", "Asked", "Result", "as_a_user_writes", "task_for", "task_named"]

N_PROMPTS = 50  # of a generation, unless a limit is given
CONFIDENCE = "\n(in brackets: 95% confidence)"

Result = tuple[dict[str, Any], str]  # figures by name, in types that JSON knows; the same as a table


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to measure on, and how.

    Attributes:
        data: a file or a named corpus.
        model_name: where the model comes from: a folder, say, which may hold more than the model.
        limit: use the first so many documents, questions, texts or pairs; None: all, or N_PROMPTS prompts.
        text_column, label_column: of classification; a number from 0 where there is no header line.
        num_beams: of translation and summarization: beam search, above 1.
        shots: of questions: so many examples with their answers stand before each.
        max_new_tokens, temperature: of generation, and of answers in a win rate; the first of free answers too.
        seed: of these, and of the draw of examples.
        reference: of preference: the folder of a model whose log-probabilities are subtracted.
        reward_model, against, best_of: of win-rate: the folder of the judge; that of the other model, by default the
            same one; and from how many answers the judge chooses the first model's.
        track: watches the batches.
    """

    data: str
    model_name: str = "the folder"
    limit: int | None = None
    text_column: str = "text"
    label_column: str = "label"
    num_beams: int = 1
    shots: int = 0
    max_new_tokens: int = 64
    temperature: float = 0.8
    seed: int = 0
    reference: str | None = None
    reward_model: str | None = None
    against: str | None = None
    best_of: int = 1
    track: Track = untracked

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit}")
        if self.best_of < 1:
            raise ValueError(f"best_of must be at least 1, got {self.best_of}")

    def misfit(self, model: PretrainedModel, needed: str) -> ValueError:
        """The error of a model that a task cannot measure."""
        head = getattr(model.config, "head", None)
        return ValueError(f"this task needs {needed}, and {self.model_name} holds a {type(model).__name__} "
                          + (f"with the head {head!r}" if head else "without a head"))


def task_for(model: PretrainedModel, tokenizer: Tokenizer, data: str) -> str:
    """The name of the task that model and data suggest."""
    if isinstance(model, EncoderDecoder):
        return "translation"
    if is_reward_model(model):
        return "preference"
    if getattr(model.config, "head", None) == "classification":
        return "classification"
    if isinstance(model, BERT) and model.config.head is None:
        return "sentence-similarity"
    path, chats = _path(data), tokenizer.chat_template is not None
    if data != "-" and file_format(path) in ("jsonl", "csv"):
        record = next(located_questions(path))[1]
        if (name := benchmark_of(record)) is not None:
            return BENCHMARKS[name].task
        if "chosen" in record and "rejected" in record:
            return "preference"
        if chats and is_conversation(record):
            return "instruction"
    elif chats and (path in SYNTHETIC or path.endswith(".json")) and is_conversation(next(located_records(path))[1]):
        return "instruction"
    return "text"


def _path(spec: str) -> str:
    """The file that a name stands for, or the name itself where `Documents` knows more of it: a folder, say."""
    try:
        return str(find_table(spec))
    except (FileNotFoundError, IsADirectoryError):
        return spec


def _rows(figures: dict[str, Any], names: dict[str, str]) -> str:
    """Figures under readable names; an interval stands behind its figure."""
    rows: list[list[str]] = []
    for key, name in names.items():
        value, interval = figures[key], figures.get(f"{key}_interval")
        shown = format_table([["", value]]).strip()
        rows.append([name, shown if interval is None else f"{shown} ({interval[0]:.4f} … {interval[1]:.4f})"])
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {shown}" for name, shown in rows)


def _decoder(model: PretrainedModel, asked: Asked, needed: str = "a decoder") -> CausalLM:
    """The model, if it writes texts."""
    if not isinstance(model, CausalLM) or model.config.head != "lm":
        raise asked.misfit(model, needed)
    return model


# ---------------------------------------------------------------------------------------------------------------------
# The tasks


def _text(model: PretrainedModel, tokenizer: Tokenizer, asked: Asked) -> Result:
    """How well the tokens of a text are predicted: each from those before it, or hidden ones from both sides."""
    if isinstance(model, BERT) and model.config.head == "masked_lm":
        return _hidden_tokens(model, tokenizer, asked)
    decoder = _decoder(model, asked, "a decoder or a masked language model")
    tokens = token_array(islice(Documents(asked.data), asked.limit), tokenizer)
    if len(tokens) < 2:
        raise ValueError(f"{asked.data} has {len(tokens)} tokens, expected two at least: one to predict from another")
    figures = predict_text(decoder, tokens, lengths=byte_lengths(tokenizer), track=asked.track).to_dict()
    return figures, _rows(figures, {
        "loss": "loss (nats per token)", "perplexity": "perplexity", "bits_per_byte": "bits per byte",
        "accuracy": "next-token accuracy", "n_tokens": "tokens predicted", "n_bytes": "bytes predicted"})


def _hidden_tokens(model: BERT, tokenizer: Tokenizer, asked: Asked) -> Result:
    masking, documents = masking_of(tokenizer), islice(Documents(asked.data), asked.limit)
    tokens = token_array(documents, TextEncoder(tokenizer, template=False))  # the template belongs around windows
    length = min(model.config.block_size, len(tokens) + masking.n_frame)
    n_batches = -(-len(tokens) // (32 * max(1, length - masking.n_frame)))
    batches = asked.track(all_masked_windows(tokens, length, 32, masking), n_batches)
    figures = masked_words(model, batches).to_dict()
    return figures, _rows(figures, {
        "loss": "loss (nats per hidden token)", "accuracy": "accuracy on hidden tokens",
        "most_frequent": "… of one answer for all", "n_tokens": "hidden tokens"})


def _questions(asked: Asked, task: str, name: str | None) -> tuple[str, list[Question]]:
    """The benchmark of the data, and its questions, each after as many examples as are asked for."""
    path = find_table(asked.data)
    name, questions = read_questions(path, name, None if asked.shots else asked.limit, task)
    return name, with_shots(questions, asked.shots, asked.seed)[:asked.limit]


def _scoring(model: PretrainedModel, asked: Asked) -> PretrainedModel:
    """The model, if it can say which of two texts is the likelier."""
    if pair_scorer(model) is None:
        raise asked.misfit(model, "a decoder or a masked language model")
    return model


def _choices(model: PretrainedModel, tokenizer: Tokenizer, asked: Asked, *, task: str,
             name: str | None = None) -> Result:
    """Which choice is the likeliest, or which of two sentences."""
    model = _scoring(model, asked)
    name, questions = _questions(asked, task, name)
    figures = {"benchmark": name} | answer_questions(model, tokenizer, questions, track=asked.track).to_dict()
    groups = [[f"  {group}", share] for group, share in figures.get("groups", {}).items()]
    return figures, _rows(figures, {
        "accuracy": "accuracy", "accuracy_per_character": "accuracy per character",
        "accuracy_per_byte": "accuracy per byte", "accuracy_per_token": "accuracy per token",
        "chance": "chance", "n_questions": "questions"}) + CONFIDENCE + (f"\n{format_table(groups)}" if groups else "")


def _last_word(model: PretrainedModel, tokenizer: Tokenizer, asked: Asked, *, name: str | None = None) -> Result:
    """Whether the last word of a passage is what the model would have written."""
    model = _scoring(model, asked)
    name, questions = _questions(asked, "last-word", name)
    figures = {"benchmark": name} | guess_last_words(model, tokenizer, questions, track=asked.track).to_dict()
    return figures, _rows(figures, {"accuracy": "accuracy", "perplexity": "perplexity of the word",
                                    "n_questions": "passages"}) + CONFIDENCE


def _free_answers(model: PretrainedModel, tokenizer: Tokenizer, asked: Asked, *, name: str | None = None) -> Result:
    """Which answers a check finds right."""
    decoder = _decoder(model, asked)
    name, questions = _questions(asked, "free-answers", name)
    found = write_answers(decoder, tokenizer, questions, BENCHMARKS[name].check, max_new_tokens=asked.max_new_tokens,
                          track=asked.track)
    figures = {"benchmark": name, "check": BENCHMARKS[name].check} | found.to_dict()
    return figures, _rows(figures, {"accuracy": "accuracy", "check": "checked by", "n_questions": "questions"}) \
        + CONFIDENCE


def _instruction(model: PretrainedModel, tokenizer: Tokenizer, asked: Asked) -> Result:
    """Which questions are answered exactly as expected."""
    decoder = _decoder(model, asked)
    template, chats = chat_template(tokenizer), read_conversations(asked.data)[:asked.limit]
    answers = answer_conversations(decoder, template, chats)
    right = round(exact_match(answers, chats) * len(chats))
    figures = {"exact_match": right / len(chats), "exact_match_interval": list(wilson_interval(right, len(chats))),
               "n_questions": len(chats)}
    return figures, _rows(figures, {"exact_match": "exact match", "n_questions": "questions"}) + CONFIDENCE


def _classification(model: PretrainedModel, tokenizer: Tokenizer, asked: Asked) -> Result:
    """Which label."""
    if getattr(model.config, "head", None) != "classification":
        raise asked.misfit(model, "a model with a classification head")
    rows = list(islice(located_columns(find_table(asked.data), [asked.text_column, asked.label_column]), asked.limit))
    if empty := [place for place, (text, _) in rows if not text.strip()]:
        raise ValueError(f"{empty[0]}: the text is empty")
    places, texts, written = zip(*((place, text, label.strip()) for place, (text, label) in rows))
    names = list((model.config.id2label or {}).values())
    truth = label_numbers(written, names, places)
    if len(set(truth)) == 1:
        warnings.warn(f"{asked.data} holds the label {names[truth[0]]} only: precision and recall of the others say "
                      "nothing", stacklevel=2)
    predicted = label_probabilities(model, tokenizer, texts, track=asked.track).argmax(axis=1)
    found = Classification.of([names[number] for number in truth], [names[number] for number in predicted], names)
    return found.to_dict(), found.table()


def _translation(model: PretrainedModel, tokenizer: Tokenizer, asked: Asked) -> Result:
    """How close to the reference."""
    if not isinstance(model, EncoderDecoder):
        raise asked.misfit(model, "an encoder-decoder")
    pairs = read_pairs(asked.data)[:asked.limit]
    translations = translate(model, tokenizer, [source for source, _ in pairs], num_beams=asked.num_beams,
                             track=asked.track)
    figures = score_translations(translations, [target for _, target in pairs]).to_dict()
    return figures, _rows(figures, {"bleu": "BLEU (13a)", "chrf": "chrF2", "exact_match": "exact match",
                                    "brevity_penalty": "brevity penalty", "n_pairs": "pairs"})


def _summarization(model: PretrainedModel, tokenizer: Tokenizer, asked: Asked) -> Result:
    """How much of a reference the summaries say, beside the first sentences of the texts."""
    needed = "an encoder-decoder, or a decoder with a chat template"
    if not isinstance(model, EncoderDecoder):
        _decoder(model, asked, needed)
        if tokenizer.chat_template is None:
            raise asked.misfit(model, needed)
    texts, references = zip(*read_summaries(find_table(asked.data), asked.limit))
    written = summarize(model, tokenizer, texts, num_beams=asked.num_beams, track=asked.track)  # type: ignore[arg-type]
    figures: dict[str, Any] = {"n_texts": len(texts)}
    for prefix, summaries in ("", written), ("first_sentence_", [first_sentence(text) for text in texts]):
        figures |= {prefix + kind: score.f1 for kind, score in mean_rouge(summaries, references).items()}
    return figures, _rows(figures, {
        **{kind: f"ROUGE-{kind[5:]} (F1)" for kind in KINDS},
        **{f"first_sentence_{kind}": f"… of the first sentence, {kind[5:]}" for kind in KINDS}, "n_texts": "texts"})


def _similarity(model: PretrainedModel, tokenizer: Tokenizer, asked: Asked) -> Result:
    """How alike two sentences are, beside what people say."""
    if not isinstance(model, (GPT, BERT)):
        raise asked.misfit(model, "a decoder or an encoder")
    rows = list(islice(_scored_pairs(find_table(asked.data)), asked.limit))
    encoder = SentenceEncoder(model, tokenizer, read_modules(resolve_folder(asked.model_name)))
    first, second, scores = zip(*rows)
    vectors = encoder.encode([*first, *second], track=asked.track)
    found = cosines(vectors[:len(rows)], vectors[len(rows):])
    figures = {"spearman": spearman(found, scores), "pearson": pearson(found, scores), "n_pairs": len(rows)}
    return figures, _rows(figures, {"spearman": "Spearman's correlation", "pearson": "Pearson's correlation",
                                    "n_pairs": "pairs"})


SCORED = ("sentence1", "sentence2", "score")


def _scored_pairs(path: str | Path) -> Iterator[tuple[str, str, float]]:
    """Two texts and how alike they are: the columns of these names where there is a header, or the first three."""
    first = next(located_records(path, header=False))[1]
    named = set(SCORED) <= {*first, *first.values()}
    for where, (one, other, score) in located_columns(path, SCORED if named else [0, 1, 2]):
        try:
            value = float(score)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"{where}: expected two texts and a number, how alike they are (columns "
                             f"{', '.join(SCORED)}, or without a header the first three), got {shown(score)}")
        yield one, other, value


def _generation(model: PretrainedModel, tokenizer: Tokenizer, asked: Asked) -> Result:
    """How varied, and whether text can pass for special tokens."""
    decoder = _decoder(model, asked)
    lines = (line for document in Documents(asked.data) for line in document.splitlines() if line.strip())
    texts = list(islice(lines, asked.limit or N_PROMPTS))
    if not texts:
        raise ValueError(f"{asked.data} has no line to begin a text with")
    written = continue_texts(decoder, tokenizer, texts, max_new_tokens=asked.max_new_tokens,
                             temperature=asked.temperature, seed=asked.seed, track=asked.track)
    probe = probe_special_tokens(as_a_user_writes(tokenizer), tokenizer.special_tokens)
    figures = measure_diversity(written).to_dict() | {
        "forging_prompts": probe.n_prompts, "forged": len(probe.forgeries), "refused": probe.n_refused}
    return figures, _rows(figures, {
        "n_texts": "texts", "n_words": "words a text", "distinct_1": "distinct-1", "distinct_2": "distinct-2",
        "distinct_3": "distinct-3", "repeated_4": "repeated 4-grams", "loop_rate": "texts that end in a loop",
        "forging_prompts": "prompts that forge special tokens", "forged": "… that succeeded",
        "refused": "… refused: no such character"})


def _preference(model: PretrainedModel, tokenizer: Tokenizer, asked: Asked) -> Result:
    """Which of two answers is preferred: by its reward, or by its probability, alone or compared with a reference."""
    pairs = read_preferences(asked.data)[:asked.limit]
    further: dict[str, Any] = {}
    if isinstance(model, (GPT, BERT)) and is_reward_model(model):
        rewards = Judge(model, tokenizer, asked.model_name).rewards(
            [pair.prompt for pair in pairs for _ in range(2)],
            [answer for pair in pairs for answer in (pair.chosen, pair.rejected)], asked.track).reshape(-1, 2)
        margins = rewards[:, 0] - rewards[:, 1]
    else:
        decoder, turns = _decoder(model, asked, "a decoder or a reward model"), Turns(tokenizer)
        scores, lengths = pair_log_probs(decoder, turns, pairs, asked.track)
        if asked.reference is not None:
            scores = scores - pair_log_probs(_other(asked.reference, decoder), turns, pairs, asked.track)[0]
        margins = scores[:, 0] - scores[:, 1]
        further = {"accuracy_per_token": accuracy_of(np.diff(-scores / lengths)[:, 0])}
    accuracy = accuracy_of(margins)
    figures = {"accuracy": accuracy,
               "accuracy_interval": list(wilson_interval(round(accuracy * len(pairs)), len(pairs))), **further,
               "margin": float(margins.mean()), "n_pairs": len(pairs)}
    names = {"accuracy": "accuracy", "accuracy_per_token": "accuracy per token", "margin": "margin", "n_pairs": "pairs"}
    return figures, _rows(figures, {key: name for key, name in names.items() if key in figures}) + CONFIDENCE


def _other(name: str, decoder: CausalLM) -> CausalLM:
    """Another decoder with the same vocabulary."""
    other = load_model(name)
    if not isinstance(other, CausalLM) or getattr(other.config, "head", "lm") != "lm" or (
            other.config.vocab_size != decoder.config.vocab_size):
        raise ValueError(f"{name} must hold a decoder with a vocabulary of {decoder.config.vocab_size:,}, as the model")
    return other


def _win_rate(model: PretrainedModel, tokenizer: Tokenizer, asked: Asked) -> Result:
    """How often a judge likes a model's answer, the best of some of them, better than another model's."""
    decoder = _decoder(model, asked)
    if asked.reward_model is None:
        raise ValueError("a win rate needs a judge: give --reward-model a folder that tinygpt align --method reward "
                         "made")
    if asked.against is None and asked.best_of == 1:
        raise ValueError("a win rate needs another model (--against), or several answers to choose from (--best-of)")
    judge = Judge(load_model(asked.reward_model), load_tokenizer(asked.reward_model), asked.reward_model)
    prompts = [prompt.prompt for prompt in read_prompts(asked.data)[:asked.limit]]
    settings: dict[str, Any] = dict(max_new_tokens=asked.max_new_tokens, temperature=asked.temperature)
    ours = best_answers(decoder, tokenizer, prompts, judge, asked.best_of, seed=asked.seed, track=asked.track,
                        **settings)
    other, words = (decoder, tokenizer) if asked.against is None else (load_model(asked.against),
                                                                       load_tokenizer(asked.against))
    theirs = best_answers(_decoder(other, asked), words, prompts, seed=asked.seed + 1_000_003, track=asked.track,
                          **settings)
    figures = win_rate(judge.rewards(prompts, ours), judge.rewards(prompts, theirs)) | {
        "best_of": asked.best_of, "n_questions": len(prompts)}
    return figures, _rows(figures, {
        "win_rate": "win rate", "ties": "ties", "reward": "reward", "reward_against": "reward of the other",
        "best_of": "best of", "n_questions": "questions"}) + CONFIDENCE


def as_a_user_writes(tokenizer: Tokenizer) -> Callable[[str], list[int]]:
    """How an untrusted text becomes ids: as a turn of a chat where there is a template for that."""
    if tokenizer.chat_template is None:
        return tokenizer.encode
    template = chat_template(tokenizer)
    return lambda text: template.prompt([{"role": "user", "content": text}])


TASKS: dict[str, Callable[[PretrainedModel, Tokenizer, Asked], Result]] = {
    "text": _text,
    "multiple-choice": partial(_choices, task="multiple-choice"),
    "minimal-pairs": partial(_choices, task="minimal-pairs"),
    "last-word": _last_word,
    "free-answers": _free_answers,
    "classification": _classification,
    "instruction": _instruction,
    "translation": _translation,
    "summarization": _summarization,
    "sentence-similarity": _similarity,
    "generation": _generation,
    "preference": _preference,
    "win-rate": _win_rate,
}


def task_named(name: str) -> Callable[[PretrainedModel, Tokenizer, Asked], Result]:
    """The task of a name, or that of a benchmark, whose records the data then have to be."""
    if name in TASKS:
        return TASKS[name]
    task: Callable[..., Result] = TASKS[BENCHMARKS[name].task]
    return partial(task, name=name)
