"""A label for each text: sentiment, spam, topic.

Prerequisites: task.py, label_layer.py, data/labelled.py, evaluation/labelling.py. Next: instruction.py.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ...data import LabelledSampler, encode_within
from ...data.example_file import read_example_file, write_example_file
from ...data.labelled import Labelled, class_balance, label_names, read_labelled, split_labelled
from ...data.pairs import IdPair
from ...evaluation import Classification, baselines, label_logits, label_numbers, plot_confusion
from ...files.atomic_file import write_text
from ...models import (BERT, GPT, BagClassifier, BagConfig, BERTConfig, PretrainedModel, TextCNN, TextCNNConfig,
                       WideClassifier, WideConfig, buckets_for)
from ...tokenizers import ByteBPE
from ...tokenizers.base import Tokenizer
from ...tokenizers.splitter import Splitter, Stage
from ..losses import classification_loss
from .base import KeepGoing
from .label_layer import teach_label_layer
from .masked import FRAME, SPECIAL_TOKENS
from .task import Task, classifier_of

__all__ = ["Labels"]

COUNTED = 0.2  # the part of naive Bayes that a bag of words begins with; docs/results.md has how it was chosen
LR = 0.001  # of networks that are no transformers
N_MISTAKES = 5  # shown at the end


class Labels(Task):
    """Give each text one of the labels that the examples have."""

    data_loss = staticmethod(classification_loss)
    unit = "texts"
    special_tokens, frame = SPECIAL_TOKENS, FRAME  # an encoder's
    new_parameters = ("classifier.", "score.")
    names: list[str]

    def parts(self) -> tuple[list[Labelled], list[Labelled]]:
        """Texts and labels; equal texts are in one part, and every class is in both."""
        o = self.options
        examples = read_labelled(o.data, o.text_column, o.label_column)
        self.names = label_names(examples)
        self._examples = split_labelled(examples, o.validation, o.seed)
        return self._examples

    def texts(self, part: list[Labelled]) -> Iterable[str]:
        """The texts without their labels."""
        return [text for text, _ in part]

    def train_bpe(self, texts: Iterable[str], **settings: Any) -> ByteBPE:
        """Where the options say so, with a space before a text: a word at its beginning is then the same token as
        elsewhere."""
        splitter = Splitter([Stage("gpt2", add_prefix_space=self.options.add_prefix_space)])
        return super().train_bpe(texts, pattern=splitter, **settings)

    def use(self, tokenizer: Tokenizer) -> None:
        """Any tokenizer will do; a new model needs one with a pad token."""
        super().use(tokenizer)
        if self.options.model is None:
            self._require_roles(tokenizer, "pad")

    def new_model(self) -> PretrainedModel:
        """A new network for labels: an encoder, a convolution, or a bag of words that has counted them already."""
        sizes, id2label = self._sizes(), dict(enumerate(self.names))
        match self.options.architecture:
            case "cnn":
                return TextCNN(TextCNNConfig(**sizes, id2label=id2label))
            case "bag":
                return self._counted(BagClassifier, BagConfig, **sizes, id2label=id2label)
            case "wide":
                return self._counted(WideClassifier, WideConfig, **sizes, id2label=id2label)
        return BERT.for_classification(BERTConfig(**sizes), id2label=id2label)

    def _counted(self, kind: Any, config: Any, **sizes: Any) -> PretrainedModel:
        """A model that has counted the words of the training texts."""
        rows, labels = self._encoded(self._examples[0], self.options.block_size)
        ids = [np.asarray(row) for row in rows]
        model = kind(config(**sizes, n_buckets=buckets_for(ids, len(self.names))))
        model.count(ids, labels, COUNTED)
        return model

    def fit(self, model: PretrainedModel) -> PretrainedModel:
        """An encoder or a decoder with a new classification head, whose last layer has had its first lesson; one that
        knows all these labels keeps its own."""
        if getattr(model.config, "head", None) == "classification" and set(self.names) <= set(
                (model.config.id2label or {}).values()):
            return model
        if not isinstance(model, (BERT, GPT)):
            raise self._misfit(model, "an encoder or a decoder")
        model = classifier_of(model, dict(enumerate(self.names)))
        teach_label_layer(model, *self._encoded(self._examples[0], model.config.block_size))
        return model

    def _encoded(self, part: list[Labelled], length: int) -> tuple[list[list[int]], list[int]]:
        """The ids of each text in the tokenizer's template, and the number of its label."""
        rows = encode_within(self.tokenizer, [text for text, _ in part], length)
        return rows, label_numbers([label for _, label in part], self.names, [text[:40] for text, _ in part])

    def use_config(self, config: Any) -> None:
        """The labels are numbered as in the model."""
        super().use_config(config)
        self.names = list((config.id2label or {}).values())

    def write(self, path: Path, part: list[Labelled]) -> None:
        """Ids and label of each text."""
        rows, numbers = self._encoded(part, self.config.block_size)
        write_example_file(path, ((row, [number]) for row, number in zip(rows, numbers)))

    def read(self, path: Path) -> list[IdPair]:
        """Ids and label of each text."""
        return read_example_file(path)

    def lr(self, model: PretrainedModel) -> float:
        """As for any task; networks that are no transformers have a rate of their own."""
        return super().lr(model) if isinstance(model, (BERT, GPT)) else LR

    def start(self, train: list[IdPair], validation: list[IdPair]) -> LabelledSampler:
        """Texts in a shuffled order."""
        o = self.options
        self.train, self.validation = train, validation
        return LabelledSampler(train, min(o.batch_size, len(train)), o.seed, self.config.pad_token_id or 0)

    def overview(self) -> list[str]:
        """The classes and their sizes."""
        return [f"{what}: {class_balance([self.names[int(label[0])] for _, label in part])}"
                for what, part in (("training", self.train), ("validation", self.validation))]

    def _predict(self, model: Any, keep_going: KeepGoing = lambda: True) -> tuple[np.ndarray, np.ndarray]:
        """Logits (N, K) and labels (N,) of the validation texts."""
        logits = label_logits(model, [ids for ids, _ in self.validation], keep_going=keep_going)
        return logits, np.concatenate([label for _, label in self.validation])

    def _found(self, logits: np.ndarray, truth: np.ndarray) -> Classification:
        return Classification.of([self.names[number] for number in truth],
                                 [self.names[number] for number in logits.argmax(axis=1)], self.names)

    def _baselines(self) -> dict[str, float]:
        """What only counts words comes to on the validation texts."""
        train, validation = (([self.tokenizer.decode(ids, skip_special_tokens=True) for ids, _ in part],
                              [self.names[int(label[0])] for _, label in part])
                             for part in (self.train, self.validation))
        return baselines(train, *validation)

    def validate(self, model: Any, keep_going: KeepGoing) -> dict[str, float]:
        """Loss, accuracy and the mean F1 of the classes on the validation texts."""
        logits, truth = self._predict(model, keep_going)
        shifted = logits - logits.max(axis=1, keepdims=True)
        nats = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(truth)), truth]
        found = self._found(logits, truth)
        return {"validation_loss": float(nats.mean()), "accuracy": found.accuracy,
                "macro_f1": found.average("macro")["f1"]}

    def score(self, figures: dict[str, float]) -> tuple[float, ...]:
        """The mean F1, so that a small class counts as much as a large one; where it is the same, the loss."""
        return figures["macro_f1"], -figures["validation_loss"]

    def sample(self, model: Any, final: bool = False) -> str:
        """At the end, validation texts that got the wrong label."""
        if not final:
            return ""
        logits, truth = self._predict(model)
        wrong = np.flatnonzero(logits.argmax(axis=1) != truth)[:N_MISTAKES]
        return "\n".join(f"{self.names[truth[i]]}, taken for {self.names[logits[i].argmax()]}: "
                         f"{self.tokenizer.decode(self.validation[i][0], skip_special_tokens=True)}" for i in wrong)

    def finish(self, model: Any, out: Path) -> str:
        """The figures of each class and the confusion matrix, of the validation texts, as text, JSON and picture."""
        found = self._found(*self._predict(model))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a font that lacks a label's characters
            plot_confusion(found, out / "confusion.png")
        bars = self._baselines()
        figures = found.to_dict() | {"baselines": bars}
        write_text(out / "validation.json", json.dumps(figures, ensure_ascii=False) + "\n")
        mistakes = self.sample(model, final=True)
        text = f"{found.table()}\n" + (f"\nsome mistakes:\n{mistakes}\n" if mistakes else "") \
            + f"\naccuracy {found.accuracy:.4f}; of what only counts: " \
            + ", ".join(f"{name} {accuracy:.4f}" for name, accuracy in bars.items()) + "\n"
        write_text(out / "validation.txt", text)
        return f"the validation texts, with the best weights:\n{text}"
