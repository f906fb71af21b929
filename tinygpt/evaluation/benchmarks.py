"""Benchmarks as data: what a record of each looks like, how it becomes a question, and how the answer is scored.

A benchmark is one row of BENCHMARKS: the fields by which its records are known, a function that makes a question of a
record, and which figure is the one that people report. The shapes are those of the files as published and as the
Hugging Face Hub has them, and the prompts are those of lm-evaluation-harness, whose choices ours equal:

    {"ctx_a": "A man sits.", "ctx_b": "he", "endings": ["is using wrap …", …], "label": 3}              HellaSwag
    {"question": {"stem": "Which …?", "choices": [{"text": "dry", "label": "A"}, …]}, "answerKey": "A"}       ARC
    {"goal": "…", "sol1": "…", "sol2": "…", "label": 0}                                                      PIQA
    {"sentence_good": "…", "sentence_bad": "…"}                                                             BLiMP
    {"query": "…", "choices": ["…", "…"], "gold": 1}                                     questions of your own

One thing differs: COPA's choices follow after one space; the harness writes two.

Prerequisites: questions.py, data/records.py. Next: multiple_choice.py, last_word.py, free_answers.py. Zellers et al.,
"HellaSwag" (2019); Clark et al., "Think you have solved question answering? Try ARC" (2018); Bisk et al., "PIQA"
(2019); Sakaguchi et al., "WinoGrande" (2019); Roemmele et al., "Choice of plausible alternatives" (2011); Mihaylov et
al., "Can a suit of armor conduct electricity?" (2018); Hendrycks et al., "Measuring massive multitask language
understanding" (2020); Paperno et al., "The LAMBADA dataset" (2016); Warstadt et al., "BLiMP" (2019); Nangia et al.,
"CrowS-Pairs" (2020); Cobbe et al., "Training verifiers to solve math word problems" (2021).
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path, PureWindowsPath
from typing import Any

from ..data import file_format, located_records
from ..data.text_files import read_lines
from ..files.shown import listed, shown
from .free_answers import last_number
from .questions import Question

__all__ = ["BENCHMARKS", "Benchmark", "benchmark_of", "located_questions", "read_questions"]

MAX_CHOICES = 100
MAX_TEXT = 1_000_000  # characters of a context or a choice: a line of 10 MB is no question

Record = dict[Any, Any]
Asked = tuple[Any, Any, Any]  # context, choices, the number of the right one


def _any(record: Record) -> bool:
    """Every record suits."""
    return True


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark is.

    Attributes:
        task: how it is scored: a row of TASKS in tasks.py.
        fields: a record that has all of them is one of its.
        ask: record -> context, choices, number of the right choice. Where there is one choice, that is the answer.
        headline: the figure that is reported of it.
        group: the field that says what a record belongs to, if there is one.
        check: of answers that are written freely: a row of CHECKS in free_answers.py.
        about: what it measures, in a few words.
        suits: whether a record that has the fields is one of its, where nobody has said what the data are.
    """

    task: str
    fields: tuple[str, ...]
    ask: Callable[[Record], Asked]
    headline: str = "accuracy"
    group: str = ""
    check: str = ""
    about: str = ""
    suits: Callable[[Record], bool] = _any

    def known(self, record: Any) -> bool:
        """Whether a record looks like one of its."""
        return isinstance(record, dict) and all(field in record for field in self.fields) and self.suits(record)


# ---------------------------------------------------------------------------------------------------------------------
# Records to questions


def _number(value: Any, first: int = 0) -> Any:
    """The number of a choice, from 0, where the data count from `first` and may have written it as text."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10:
        value = int(value)
    return value - first if type(value) is int else value


def _said(text: Any) -> Any:
    """A text that goes into a prompt, which would as well spell out what is none."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"expected a question that is a text, got {shown(text, 30)}")
    return text


def _without_marks(text: str) -> str:
    """HellaSwag's texts without what is left of WikiHow's markup, such as [step]."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def _hellaswag(record: Record) -> Asked:
    context = record["ctx_a"] + " " + record["ctx_b"].capitalize() if "ctx_a" in record or "ctx" not in record \
        else record["ctx"]
    if record.get("activity_label"):
        context = f"{record['activity_label']}: {context}"
    endings = record["endings"]
    return (_without_marks(context), list(map(_without_marks, endings)) if isinstance(endings, list) else endings,
            _number(record["label"]))


def _named_choices(record: Record, choices: Any) -> Asked:
    """A question whose choices have names, of which `answerKey` is one."""
    if isinstance(choices, dict):
        if len(choices["text"]) != len(choices["label"]):
            raise ValueError("the choices need as many texts as labels")
        choices = [dict(text=text, label=label) for text, label in zip(choices["text"], choices["label"])]
    names = [choice["label"] for choice in choices]
    key = record["answerKey"].strip() if isinstance(record["answerKey"], str) else record["answerKey"]
    if key not in names:
        raise ValueError(f"answerKey {shown(key, 30)} is none of the choices {listed(names)}")
    question = record.get("question_stem", record.get("question"))
    question = question["stem"] if isinstance(question, dict) else question
    return question, [choice["text"] for choice in choices], names.index(key)


def _stem_and_choices(record: Record) -> Asked:
    question = record.get("question")
    return _named_choices(record, question["choices"] if isinstance(question, dict) and "choices" in question
                          else record["choices"])


def _arc(record: Record) -> Asked:
    question, choices, answer = _stem_and_choices(record)
    return f"Question: {_said(question)}\nAnswer:", choices, answer


def _winogrande(record: Record) -> Asked:
    before, gap, after = record["sentence"].partition("_")
    if not gap:
        raise ValueError("the sentence has no gap _")
    return (before + record["option1"], before + record["option2"]), [after.strip()] * 2, _number(record["answer"], 1)


def _copa(record: Record) -> Asked:
    words = {"cause": "because", "effect": "therefore"}
    if record["question"] not in words:
        raise ValueError(f"the question is {shown(record['question'], 30)}, expected cause or effect")
    choices = [record[name][:1].lower() + record[name][1:] for name in ("choice1", "choice2")]
    return f"{_said(record['premise']).strip()[:-1]} {words[record['question']]}", choices, _number(record["label"])


LETTERS = "ABCD"


def _mmlu(record: Record) -> Asked:
    choices = record["choices"]
    if not isinstance(choices, list) or len(choices) != len(LETTERS) \
            or not all(isinstance(choice, str) for choice in choices):
        raise ValueError(f"expected four choices, got {shown(choices, 30)}")
    lines = "".join(f"{letter}. {choice}\n" for letter, choice in zip(LETTERS, choices))
    return f"{_said(record['question']).strip()}\n{lines}Answer:", list(LETTERS), _number(record["answer"])


def _is_mmlu_row(record: Record) -> bool:
    """Whether a row of a table without a header is one of MMLU's: a question, four choices, the right one's letter."""
    return len(record) == 6 and record[5].strip() in tuple(LETTERS)


def _mmlu_record(where: str, row: Record) -> Record:
    if not _is_mmlu_row(row):
        raise ValueError(f"{where}: expected a question, four choices, and a letter of {LETTERS}")
    return {"question": row[0], "choices": [row[column] for column in range(1, 5)],
            "answer": LETTERS.index(row[5].strip())}


def _lambada(record: Record) -> Asked:
    before, _, word = record["text"].rpartition(" ")
    return before, [word], 0


def _asked(record: Record) -> Asked:
    return f"Question: {_said(record['question'])}\nAnswer:", [record["answer"]], 0


def _sum(record: Record) -> Asked:
    if isinstance(record["answer"], str) and last_number(record["answer"]) is None:
        raise ValueError(f"the answer {shown(record['answer'], 30)} holds no number")
    return _asked(record)


# The first row that knows a record is its benchmark; a name chooses where records look alike.
BENCHMARKS: dict[str, Benchmark] = {
    "hellaswag": Benchmark("multiple-choice", ("endings",), _hellaswag, "accuracy_per_character",
                           about="how a scene goes on"),
    "openbookqa": Benchmark("multiple-choice", ("answerKey",), _stem_and_choices, "accuracy_per_character",
                            about="science that needs a fact and a step", suits=lambda r: "question_stem" in r),
    "arc": Benchmark("multiple-choice", ("question", "answerKey"), _arc, "accuracy_per_character",
                     about="science questions of schools"),
    "piqa": Benchmark("multiple-choice", ("goal", "sol1", "sol2"),
                      lambda r: (f"Question: {_said(r['goal'])}\nAnswer:", [r["sol1"], r["sol2"]], _number(r["label"])),
                      "accuracy_per_character", about="how things are done with things"),
    "winogrande": Benchmark("multiple-choice", ("sentence", "option1", "option2"), _winogrande,
                            about="whom a pronoun means"),
    "copa": Benchmark("multiple-choice", ("premise", "choice1", "choice2"), _copa, about="causes and effects"),
    "mmlu": Benchmark("multiple-choice", ("question", "choices", "answer"), _mmlu, group="subject",
                      about="examinations in 57 subjects"),
    "choices": Benchmark("multiple-choice", ("query", "choices", "gold"), lambda r: (
        r["query"], r["choices"], _number(r["gold"])), group="group", about="questions of your own"),
    "blimp": Benchmark("minimal-pairs", ("sentence_good", "sentence_bad"), lambda r: (
        "", [r["sentence_good"], r["sentence_bad"]], 0), group="UID", about="which sentence is grammatical"),
    "crows-pairs": Benchmark("minimal-pairs", ("sent_more", "sent_less"), lambda r: (
        "", [r["sent_more"], r["sent_less"]], 0), group="bias_type", about="which sentence is more of a stereotype"),
    "queries": Benchmark("free-answers", ("question", "answer", "database"), _asked, check="sql",
                         about="queries that find the right rows"),
    "gsm8k": Benchmark("free-answers", ("question", "answer"), _sum, check="number", about="sums told as stories",
                       suits=lambda r: isinstance(r["answer"], str) and "####" in r["answer"]),
    "questions": Benchmark("free-answers", ("question", "answer"), _asked, check="exact", about="short answers"),
    "patterns": Benchmark("free-answers", ("prompt", "pattern"), lambda r: (r["prompt"], [r["pattern"]], 0),
                          check="pattern", about="answers in which an expression is found"),
    "lambada": Benchmark("last-word", ("text",), _lambada, about="the last word of a passage"),
}


def benchmark_of(record: Any) -> str | None:
    """The name of the benchmark that a record belongs to; text alone, LAMBADA's shape, suggests none."""
    return next((name for name, row in BENCHMARKS.items() if row.task != "last-word" and row.known(record)), None)


# ---------------------------------------------------------------------------------------------------------------------
# Files


def _database(folder: Path, name: Any) -> str:
    """The path of a record's database, which lies with the data. Read as Windows reads it, which knows more roots."""
    if not isinstance(name, str) or PureWindowsPath(name).anchor or ".." in PureWindowsPath(name).parts:
        raise ValueError(f"the database is {shown(name, 60)}, expected a path relative to the data file, without ..")
    if not os.path.isfile(folder / name):
        raise ValueError(f"no database {shown(name, 60)} beside the data file; expected an SQLite file there")
    return str(folder / name)


def _checked(where: str, name: str, record: Record, folder: Path) -> Question:
    """The question of a record of a file in a folder.

    Raises:
        ValueError: what a field holds makes no question, named by its place.
    """
    row = BENCHMARKS[name]
    if not all(field in record for field in row.fields):
        raise ValueError(f"{where}: expected a record of {name} with {', '.join(row.fields)}, got "
                         f"{listed(record)[:60]}")
    try:
        context, choices, answer = row.ask(record)
        database = _database(folder, record["database"]) if row.check == "sql" else ""
    except KeyError as error:
        raise ValueError(f"{where}: this question has no {error.args[0]!r}") from None
    except (TypeError, AttributeError):
        raise ValueError(f"{where}: question, choices or answer are not of the types expected") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    contexts = context if isinstance(context, tuple) else (context,)
    if not all(isinstance(text, str) and (text.strip() or row.task == "minimal-pairs") for text in contexts):
        raise ValueError(f"{where}: the context is empty or no text")
    few = 2 if row.task in ("multiple-choice", "minimal-pairs") else 1
    if not isinstance(choices, list) or len(choices) < few \
            or not all(isinstance(choice, str) and choice.strip() for choice in choices):
        raise ValueError(f"{where}: expected at least {('one choice', 'two choices')[few - 1]}, none of them empty")
    if len(choices) > MAX_CHOICES:
        raise ValueError(f"{where}: {len(choices):,} choices, expected at most {MAX_CHOICES}")
    longest = max(map(len, (*contexts, *choices)))
    if longest > MAX_TEXT:
        raise ValueError(f"{where}: a text of {longest:,} characters, expected at most {MAX_TEXT:,}")
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise ValueError(f"{where}: the answer {shown(answer, 30)} is none of the choices 0 … {len(choices) - 1}")
    group = str(record.get(row.group, ""))[:60] if row.group else ""
    return Question(context, tuple(choices), answer, where, group, database)


def located_questions(path: str | Path) -> Iterator[tuple[str, Record]]:
    """The records of a file, also of MMLU's tables, which have no header; and where a file beside it holds the labels,
    such as valid-labels.lst beside valid.jsonl, each with its own."""
    if file_format(path) == "csv":
        rows = located_records(path, header=False)
        first = next(rows)
        if _is_mmlu_row(first[1]):
            yield from ((where, _mmlu_record(where, row)) for where, row in chain([first], rows))
            return
    labels = Path(path).with_name(f"{Path(path).stem}-labels.lst")
    if not labels.is_file():
        yield from located_records(path)
        return
    lines = read_lines(labels)
    for where, record in located_records(path):
        label = next(lines, None)
        if label is None:
            raise ValueError(f"{where}: {labels.name} beside it has no label for this record")
        yield where, {"label": label.strip(), "answer": label.strip()} | record


def _passages(path: str | Path) -> Iterator[tuple[str, Record]]:
    """One a line, as LAMBADA was first published."""
    found = False
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            found = True
            yield f"{path}, line {number}", {"text": line.strip()}
    if not found:
        raise ValueError(f"{path} holds no passages")


def read_questions(path: str | Path, name: str | None = None, limit: int | None = None,
                   task: str | None = None) -> tuple[str, list[Question]]:
    """The benchmark that a file belongs to, and its questions.

    Args:
        path: a file of any format that `located_records` reads; of last words also a .txt with a passage a line.
        name: the benchmark; None: the one whose fields the first record has.
        limit: at most so many: the first, or where records come in groups, at even distances.
        task: None, or how it is to be scored: a benchmark that is scored in another way is refused.

    Raises:
        ValueError: a record of another shape, with its line.
    """
    plain = "last-word" in (task, BENCHMARKS[name].task if name else "") \
        and Path(str(path).removesuffix(".gz")).suffix == ".txt"
    records = _passages(path) if plain else located_questions(path)
    where, record = next(records)
    fitting = [own for own, row in BENCHMARKS.items() if row.known(record) and task in (None, row.task)]
    if name is None and not fitting:
        known = [own for own, row in BENCHMARKS.items() if task in (None, row.task)]
        raise ValueError(f"{where}: expected the fields of a record of {', '.join(known)} (docs/evaluating.md lists "
                         f"them), got {listed(record)[:60]}")
    name = name or fitting[0]
    grouped = bool(BENCHMARKS[name].group) and limit is not None
    found = [_checked(where, name, record, Path(path).parent)
             for where, record in islice(chain([(where, record)], records), None if grouped else limit)]
    if grouped and limit is not None and limit < len(found):
        found = [found[number * len(found) // limit] for number in range(limit)]
    return name, found
