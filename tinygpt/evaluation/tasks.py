"""What can be measured of a model in a folder, from data in a file: one function for each task, and the table of them.

A decoder and a masked model predict text, a classifier labels it, an encoder-decoder translates; all but the last
compare sentences. Three more tasks are for decoders: multiple choice by likelihood, answers to instructions, and the
variety of what they write.

A new task is one function here, and one row in TASKS.

Prerequisites: the other files of evaluation/. Next: cli/evaluate.py.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..data import SYNTHETIC, Documents, file_format, find_table, located_columns, located_records, token_array
from ..data.chat_template import chat_template
from ..data.conversations import is_conversation, read_conversations
from ..data.masking import all_masked_windows
from ..data.pairs import read_pairs
from ..data.tokens import TextEncoder
from ..files import shown
from ..models import BERT, GPT, EncoderDecoder, PretrainedModel, SentenceEncoder, cosines
from ..pretrained import resolve_folder
from ..pretrained.sentence_folder import read_modules
from ..tokenizers import Tokenizer
from .answers import answer_conversations, exact_match
from .classification import Classification
from .confidence import wilson_interval
from .continuations import continue_texts
from .correlation import pearson, spearman
from .diversity import measure_diversity
from .labelling import label_numbers, label_probabilities
from .language_modeling import byte_lengths
from .masked_words import masked_words, masking_of
from .multiple_choice import answer_questions, is_multiple_choice, read_questions
from .next_token import predict_text
from .robustness import probe_special_tokens
from .rouge import KINDS, mean_rouge
from .running import Track, untracked
from .summarization import first_sentence, read_summaries, summarize
from .table import format_table
from .translation import score_translations, translate

__all__ = ["N_PROMPTS", "TASKS", "Asked", "Result", "task_for"]

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
        max_new_tokens, temperature, seed: of generation.
        track: watches the batches.
    """

    data: str
    model_name: str = "the folder"
    limit: int | None = None
    text_column: str = "text"
    label_column: str = "label"
    num_beams: int = 1
    max_new_tokens: int = 64
    temperature: float = 0.8
    seed: int = 0
    track: Track = untracked

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit}")

    def misfit(self, model: PretrainedModel, needed: str) -> ValueError:
        """The error of a model that a task cannot measure."""
        head = getattr(model.config, "head", None)
        return ValueError(f"this task needs {needed}, and {self.model_name} holds a {type(model).__name__} "
                          + (f"with the head {head!r}" if head else "without a head"))


def task_for(model: PretrainedModel, tokenizer: Tokenizer, data: str) -> str:
    """The name of the task that model and data suggest."""
    if isinstance(model, EncoderDecoder):
        return "translation"
    if isinstance(model, (GPT, BERT)) and model.config.head == "classification":
        return "classification"
    if isinstance(model, BERT) and model.config.head is None:
        return "sentence-similarity"
    path, chats = _path(data), tokenizer.chat_template is not None
    if data != "-" and (file_format(path) == "jsonl" or chats and (path in SYNTHETIC or path.endswith(".json"))):
        record = next(located_records(path))[1]
        if is_multiple_choice(record):
            return "multiple-choice"
        if chats and is_conversation(record):
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


def _decoder(model: PretrainedModel, asked: Asked, needed: str = "a decoder") -> GPT:
    """The model, if it writes texts."""
    if not isinstance(model, GPT) or model.config.head != "lm":
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


def _multiple_choice(model: PretrainedModel, tokenizer: Tokenizer, asked: Asked) -> Result:
    """Which ending is the likeliest."""
    decoder = _decoder(model, asked)
    questions = read_questions(find_table(asked.data), asked.limit)
    figures = answer_questions(decoder, tokenizer, questions, track=asked.track).to_dict()
    return figures, _rows(figures, {
        "accuracy": "accuracy", "accuracy_per_byte": "accuracy per byte", "accuracy_per_token": "accuracy per token",
        "chance": "chance", "n_questions": "questions"}) + CONFIDENCE


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
    if not isinstance(model, (GPT, BERT)) or model.config.head != "classification":
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
    probe = probe_special_tokens(_as_a_user_writes(tokenizer), tokenizer.special_tokens)
    figures = measure_diversity(written).to_dict() | {
        "forging_prompts": probe.n_prompts, "forged": len(probe.forgeries), "refused": probe.n_refused}
    return figures, _rows(figures, {
        "n_texts": "texts", "n_words": "words a text", "distinct_1": "distinct-1", "distinct_2": "distinct-2",
        "distinct_3": "distinct-3", "repeated_4": "repeated 4-grams", "loop_rate": "texts that end in a loop",
        "forging_prompts": "prompts that forge special tokens", "forged": "… that succeeded",
        "refused": "… refused: no such character"})


def _as_a_user_writes(tokenizer: Tokenizer) -> Callable[[str], list[int]]:
    """How an untrusted text becomes ids: as a turn of a chat where there is a template for that."""
    if tokenizer.chat_template is None:
        return tokenizer.encode
    template = chat_template(tokenizer)
    return lambda text: template.prompt([{"role": "user", "content": text}])


TASKS: dict[str, Callable[[PretrainedModel, Tokenizer, Asked], Result]] = {
    "text": _text,
    "multiple-choice": _multiple_choice,
    "classification": _classification,
    "instruction": _instruction,
    "translation": _translation,
    "summarization": _summarization,
    "sentence-similarity": _similarity,
    "generation": _generation,
}
