"""`tinygpt evaluate`: measure a model on data, as a table or as JSON.

What is measured follows the model: a decoder and a masked model predict text, a classifier labels it, an
encoder-decoder translates. Three more tasks are for decoders: multiple choice by likelihood, answers to instructions,
and the variety of what they write. docs/evaluation.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from collections.abc import Callable
from itertools import islice
from typing import Any

from ..data import SYNTHETIC, Documents, file_format, find_table, located_columns, located_records, token_array
from ..data.chat_template import chat_template
from ..data.conversations import is_conversation, read_conversations
from ..data.masking import all_masked_windows
from ..data.pairs import read_pairs
from ..evaluation import (Classification, answer_questions, byte_lengths, continue_texts, format_table,
                          is_multiple_choice, label_numbers, label_probabilities, masking_of, measure_diversity,
                          predict_text, probe_special_tokens, read_questions, score_translations, translate,
                          wilson_interval)
from ..evaluation.answers import answer_conversations, exact_match
from ..evaluation.masked_words import masked_words
from ..models import BERT, GPT, EncoderDecoder, PretrainedModel
from ..tokenizers import Tokenizer, load_tokenizer
from ..training.objectives.base import TextEncoder
from .options import add_device, load_placed
from .watch import watch

__all__ = ["add_parser", "run"]

N_PROMPTS = 50  # of a generation, unless --limit says otherwise

Result = tuple[dict[str, Any], str]  # figures for JSON; the same as a table


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `evaluate` subcommand."""
    parser = subparsers.add_parser(
        "evaluate", help="measure a model on data",
        description="Measure a model on data: how well it predicts a text, answers multiple-choice questions, labels, "
                    "translates, or how varied its own texts are.")
    parser.set_defaults(run=run)
    parser.add_argument("--model", required=True, metavar="DIR", help="a model folder, with its tokenizer")
    parser.add_argument("--data", required=True, metavar="FILE",
                        help="a file or a named corpus: texts, questions (HellaSwag's or ARC's JSON Lines), labelled "
                             "texts, or two columns to translate")
    parser.add_argument("--task", choices=sorted(TASKS), default=None, help="what to measure [follows model and data]")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--limit", type=int, default=None, metavar="N",
                        help=f"use the first N documents, questions, texts or pairs [all; {N_PROMPTS} prompts]")
    parser.add_argument("--text-column", default="text", metavar="C",
                        help="classification: the column of texts; a number from 0 if there is no header line [text]")
    parser.add_argument("--label-column", default="label", metavar="C",
                        help="classification: the column of labels, likewise [label]")
    parser.add_argument("--num-beams", type=int, default=1, metavar="N", help="translation: beam search [1: greedy]")
    parser.add_argument("--max-new-tokens", type=int, default=64, metavar="N", help="generation: tokens a text [64]")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="T", help="generation: as for generate [0.8]")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="generation: same seed, same texts [0]")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    if args.limit is not None and args.limit < 1:
        raise ValueError(f"--limit must be at least 1, got {args.limit}")
    tokenizer = load_tokenizer(args.model)
    model = load_placed(args)
    if len(tokenizer) > model.config.vocab_size:
        raise ValueError(f"the tokenizer in {args.model} is of another model: it has {len(tokenizer)} tokens, and the "
                         f"model {model.config.vocab_size}")
    task = args.task or _task(model, tokenizer, args)
    figures, table = TASKS[task](model, tokenizer, args)
    if args.json:
        print(json.dumps(_finite({"task": task, "model": args.model, "data": args.data, **figures}),
                         ensure_ascii=False))
    else:
        print(table)
    return 0


def _finite(value: Any) -> Any:
    """The same with None for infinities, which JSON cannot write."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _task(model: PretrainedModel, tokenizer: Tokenizer, args: argparse.Namespace) -> str:
    """What to measure when nothing is said."""
    if isinstance(model, EncoderDecoder):
        return "translation"
    if isinstance(model, (GPT, BERT)) and model.config.head == "classification":
        return "classification"
    path, chats = _path(args.data), tokenizer.chat_template is not None
    if args.data != "-" and (file_format(path) == "jsonl" or chats and (path in SYNTHETIC or path.endswith(".json"))):
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


def _wrong(model: PretrainedModel, args: argparse.Namespace, needed: str) -> ValueError:
    head = getattr(model.config, "head", None)
    return ValueError(f"this task needs {needed}, and {args.model} holds a {type(model).__name__} "
                      + (f"with the head {head!r}" if head else "without a head"))


def _rows(figures: dict[str, Any], names: dict[str, str]) -> str:
    """Figures under readable names; an interval stands behind its figure."""
    rows: list[list[str]] = []
    for key, name in names.items():
        value, interval = figures[key], figures.get(f"{key}_interval")
        shown = format_table([["", value]]).strip()
        rows.append([name, shown if interval is None else f"{shown} ({interval[0]:.4f} … {interval[1]:.4f})"])
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {shown}" for name, shown in rows)


# ---------------------------------------------------------------------------------------------------------------------
# The tasks


def _text(model: PretrainedModel, tokenizer: Tokenizer, args: argparse.Namespace) -> Result:
    """How well the tokens of a text are predicted: each from those before it, or hidden ones from both sides."""
    masked = isinstance(model, BERT) and model.config.head == "masked_lm"
    if not masked and not (isinstance(model, GPT) and model.config.head == "lm"):
        raise _wrong(model, args, "a decoder or a masked language model")
    documents = islice(Documents(args.data), args.limit)
    if isinstance(model, BERT):
        masking = masking_of(tokenizer)
        tokens = token_array(documents, TextEncoder(tokenizer, template=False))  # the template belongs around windows
        length = min(model.config.block_size, len(tokens) + masking.n_frame)
        n_batches = -(-len(tokens) // (32 * max(1, length - masking.n_frame)))
        batches = watch(all_masked_windows(tokens, length, 32, masking), n_batches)
        figures: dict[str, Any] = masked_words(model, batches).to_dict()
        return figures, _rows(figures, {
            "loss": "loss (nats per hidden token)", "accuracy": "accuracy on hidden tokens",
            "most_frequent": "… of one answer for all", "n_tokens": "hidden tokens"})
    assert isinstance(model, GPT)
    tokens = token_array(documents, tokenizer)
    if len(tokens) < 2:
        raise ValueError(f"{args.data} has {len(tokens)} tokens, expected two at least: one to predict from another")
    figures = predict_text(model, tokens, lengths=byte_lengths(tokenizer), track=watch).to_dict()
    return figures, _rows(figures, {
        "loss": "loss (nats per token)", "perplexity": "perplexity", "bits_per_byte": "bits per byte",
        "accuracy": "next-token accuracy", "n_tokens": "tokens predicted", "n_bytes": "bytes predicted"})


def _multiple_choice(model: PretrainedModel, tokenizer: Tokenizer, args: argparse.Namespace) -> Result:
    """Which ending is the likeliest."""
    if not isinstance(model, GPT) or model.config.head != "lm":
        raise _wrong(model, args, "a decoder")
    questions = read_questions(find_table(args.data), args.limit)
    figures = answer_questions(model, tokenizer, questions, track=watch).to_dict()
    return figures, _rows(figures, {
        "accuracy": "accuracy", "accuracy_per_byte": "accuracy per byte", "accuracy_per_token": "accuracy per token",
        "chance": "chance", "n_questions": "questions"}) + "\n(in brackets: 95% confidence)"


def _instruction(model: PretrainedModel, tokenizer: Tokenizer, args: argparse.Namespace) -> Result:
    """Which questions are answered exactly as expected."""
    if not isinstance(model, GPT) or model.config.head != "lm":
        raise _wrong(model, args, "a decoder")
    template, chats = chat_template(tokenizer), read_conversations(args.data)[:args.limit]
    answers = answer_conversations(model, template, chats)
    right = round(exact_match(answers, chats) * len(chats))
    figures = {"exact_match": right / len(chats), "exact_match_interval": list(wilson_interval(right, len(chats))),
               "n_questions": len(chats)}
    return figures, _rows(figures, {"exact_match": "exact match", "n_questions": "questions"}) \
        + "\n(in brackets: 95% confidence)"


def _classification(model: PretrainedModel, tokenizer: Tokenizer, args: argparse.Namespace) -> Result:
    """Which label."""
    if not isinstance(model, (GPT, BERT)) or model.config.head != "classification":
        raise _wrong(model, args, "a model with a classification head")
    rows = list(islice(located_columns(find_table(args.data), [args.text_column, args.label_column]), args.limit))
    if empty := [place for place, (text, _) in rows if not text.strip()]:
        raise ValueError(f"{empty[0]}: the text is empty")
    places, texts, written = zip(*((place, text, label.strip()) for place, (text, label) in rows))
    names = list((model.config.id2label or {}).values())
    truth = label_numbers(written, names, places)
    if len(set(truth)) == 1:
        warnings.warn(f"{args.data} holds the label {names[truth[0]]} only: precision and recall of the others say "
                      "nothing", stacklevel=2)
    predicted = label_probabilities(model, tokenizer, texts, track=watch).argmax(axis=1)
    found = Classification.of([names[number] for number in truth], [names[number] for number in predicted], names)
    return found.to_dict(), found.table()


def _translation(model: PretrainedModel, tokenizer: Tokenizer, args: argparse.Namespace) -> Result:
    """How close to the reference."""
    if not isinstance(model, EncoderDecoder):
        raise _wrong(model, args, "an encoder-decoder")
    pairs = read_pairs(args.data)[:args.limit]
    translations = translate(model, tokenizer, [source for source, _ in pairs], num_beams=args.num_beams,
                             track=watch)
    figures = score_translations(translations, [target for _, target in pairs]).to_dict()
    return figures, _rows(figures, {"bleu": "BLEU (13a)", "chrf": "chrF2", "exact_match": "exact match",
                                    "brevity_penalty": "brevity penalty", "n_pairs": "pairs"})


def _generation(model: PretrainedModel, tokenizer: Tokenizer, args: argparse.Namespace) -> Result:
    """How varied, and whether text can pass for special tokens."""
    if not isinstance(model, GPT) or model.config.head != "lm":
        raise _wrong(model, args, "a decoder")
    lines = (line for document in Documents(args.data) for line in document.splitlines() if line.strip())
    texts = list(islice(lines, args.limit or N_PROMPTS))
    if not texts:
        raise ValueError(f"{args.data} has no line to begin a text with")
    written = continue_texts(model, tokenizer, texts, max_new_tokens=args.max_new_tokens,
                             temperature=args.temperature, seed=args.seed, track=watch)
    probe = probe_special_tokens(_as_a_user_writes(tokenizer), tokenizer.special_tokens)
    figures = measure_diversity(written).to_dict() | {
        "forging_prompts": probe.n_prompts, "forged": len(probe.forgeries), "refused": probe.n_refused}
    return figures, _rows(figures, {
        "n_texts": "texts", "n_words": "words a text", "distinct_1": "distinct-1", "distinct_2": "distinct-2",
        "distinct_3": "distinct-3", "repeated_4": "repeated 4-grams", "loop_rate": "texts that end in a loop",
        "forging_prompts": "prompts that forge special tokens", "forged": "… that succeeded",
        "refused": "… refused: no such character"})


def _as_a_user_writes(tokenizer: Tokenizer) -> Callable[[str], list[int]]:
    """How a text of somebody else's becomes ids: as a turn of a chat where there is a template for that."""
    if tokenizer.chat_template is None:
        return tokenizer.encode
    template = chat_template(tokenizer)
    return lambda text: template.prompt([{"role": "user", "content": text}])


TASKS: dict[str, Callable[[PretrainedModel, Tokenizer, argparse.Namespace], Result]] = {
    "text": _text, "multiple-choice": _multiple_choice, "classification": _classification, "instruction": _instruction,
    "translation": _translation, "generation": _generation}
