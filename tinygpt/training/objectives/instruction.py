"""An answer for each question: instructions, and whole chats.

The tokenizer gets the tokens that mark turns, and a model that is there gets rows for them in its embedding. What is
learnt are the answers alone; what is held out are questions, none of which is in training.

Prerequisites: task.py, data/conversations.py, models/resize.py, evaluation/answers.py. Next: translation.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...data.chat_template import TURN_TOKENS, ChatTemplate, add_chat_template, chat_template
from ...data.conversations import (Conversation, ConversationSampler, EncodedConversation, all_conversations,
                                   encode_conversations, last_answer, located_conversations, split_conversations,
                                   text_of)
from ...data.example_file import read_example_file, write_example_file
from ...data.sampler import IGNORE
from ...evaluation import total_loss
from ...evaluation.answers import answer_prompts
from ...evaluation.confidence import wilson_interval
from ...files.atomic_file import write_text
from ...models import GPT, GPTConfig, PretrainedModel, resize_vocabulary
from ...tokenizers import ByteBPE
from ...tokenizers.base import Tokenizer
from ..losses import language_loss
from .base import KeepGoing
from .task import Task

__all__ = ["Instructions"]

N_ASKED, N_FINAL = 100, 1000  # held-out questions answered at a validation, and at the end; at most


class Instructions(Task):
    """Answer as the examples do.

    Attributes:
        template: the chat template, and the tokenizer with it.
    """

    data_loss = staticmethod(language_loss)
    counted = "conversations"  # the loss is that of tokens
    template: ChatTemplate

    # -- from records to a tokenizer ----------------------------------------------------------------------------------

    def parts(self) -> tuple[Any, Any]:
        """Conversations with the places that they come from; no first question is in both parts."""
        o = self.options
        located = located_conversations(o.data)
        place = {id(chat): where for where, chat in located}
        parts = split_conversations([chat for _, chat in located], o.validation, o.seed)
        train, held_out = ([(place[id(chat)], chat) for chat in part] for part in parts)
        return train, held_out

    def texts(self, part: Sequence[tuple[str, Conversation]]) -> Iterable[str]:
        """All that is said."""
        return [text_of(message) for _, chat in part for message in chat]

    def train_bpe(self, texts: Iterable[str], **settings: Any) -> ByteBPE:
        """A vocabulary that leaves room for the turn tokens, which are added later."""
        n_vocab = self.options.vocab_size - len(TURN_TOKENS.special_tokens)
        return super().train_bpe(texts, vocab_size=n_vocab, **settings)

    def first_tokenizer(self, training: Any, validation: Any) -> Tokenizer:
        """With the tokens that mark turns, whichever tokenizer it is."""
        tokenizer = super().first_tokenizer(training, validation)
        self.memory["grows"] = self.options.model is not None and tokenizer.chat_template is None
        return add_chat_template(tokenizer)

    def use(self, tokenizer: Tokenizer) -> None:
        """Any tokenizer with a chat template."""
        super().use(tokenizer)
        self.template = chat_template(tokenizer)
        if self.memory.get("grows"):
            self.new_parameters = ("token_embedding.", "lm_head.")  # their new rows

    # -- from a tokenizer to a model ----------------------------------------------------------------------------------

    def new_model(self) -> GPT:
        """A GPT that ends its text where a turn ends."""
        return GPT(GPTConfig(**self._sizes()))

    def fit(self, model: PretrainedModel) -> PretrainedModel:
        """A decoder, with rows for the turn tokens."""
        if not isinstance(model, GPT) or model.config.head != "lm":
            raise self._misfit(model, "a decoder that writes texts")
        n_vocab = max(len(self.tokenizer), model.config.vocab_size)
        return resize_vocabulary(model, n_vocab, eos_token_id=self.template.end_id)

    def adapt(self, model: PretrainedModel) -> None:
        """What is new is trained even where all else is frozen."""
        super().adapt(model)
        for name, parameter in model.named_parameters():
            if name.startswith(self.new_parameters):
                parameter.requires_grad = True

    # -- from conversations to batches --------------------------------------------------------------------------------

    def write(self, path: Path, part: Sequence[tuple[str, Conversation]]) -> None:
        """The ids of each conversation, and those of them that are learnt."""
        places, chats = zip(*part)
        encoded = encode_conversations(chats, self.template, self.config.block_size, f"the {path.stem} part", places)
        write_example_file(path, ((ids, np.where(learnt, ids, IGNORE)) for ids, learnt in encoded))

    def read(self, path: Path) -> list[EncodedConversation]:
        """Ids, and which of them are learnt."""
        return [(ids, targets != IGNORE) for ids, targets in read_example_file(path)]

    def start(self, train: list[EncodedConversation], validation: list[EncodedConversation]) -> ConversationSampler:
        """Conversations in a shuffled order, packed into rows as long as the context."""
        o = self.options
        self.train, self.validation = train, validation
        return ConversationSampler(train, min(o.batch_size, len(train)), self.config.block_size, o.seed,
                                   self.template.end_id)

    def overview(self) -> list[str]:
        """How much of the training text is learnt."""
        n_ids, n_learnt = (sum(int(part.sum()) if part.dtype == bool else len(part) for part in parts)
                           for parts in zip(*self.train))
        return [f"{n_learnt:,} of {n_ids:,} training tokens are the assistant's: these are learnt"]

    # -- figures and samples ------------------------------------------------------------------------------------------

    def _asked(self, n: int) -> list[EncodedConversation]:
        """n held-out conversations, spread over all of them."""
        places = np.linspace(0, len(self.validation) - 1, min(n, len(self.validation)), dtype=int)
        return [self.validation[place] for place in places]

    def _answers(self, model: Any, chats: Sequence[EncodedConversation],
                 keep_going: KeepGoing = lambda: True) -> list[tuple[str, str, str]]:
        """(prompt, the model's last answer, the expected one) of each conversation."""
        prompts, expected = zip(*map(last_answer, chats))
        texts = [self.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in expected]
        found = answer_prompts(model, self.template, prompts, [len(ids) for ids in expected], keep_going=keep_going)
        return [(self.tokenizer.decode(ids), answer, text) for ids, answer, text in zip(prompts, found, texts)]

    def validate(self, model: Any, keep_going: KeepGoing) -> dict[str, float]:
        """The loss of held-out answers, in nats per token, and the share of questions answered exactly as there."""
        nats, n_tokens = total_loss(model, all_conversations(self.validation, 32, self.template.end_id),
                                    loss=self.data_loss, keep_going=keep_going,
                                    workers=self.options.threads or 1)
        answers = self._answers(model, self._asked(N_ASKED), keep_going)
        return {"validation_loss": nats / n_tokens,
                "exact_match": sum(answer == text for _, answer, text in answers) / len(answers)}

    def sample(self, model: Any, final: bool = False) -> str:
        """Held-out questions, the model's answers, and what the data say."""
        return "\n".join(f"{prompt}{answer}" + ("" if answer == text else f"\n = {text}")
                         for prompt, answer, text in self._answers(model, self._asked(10 if final else 3)))

    def finish(self, model: Any, out: Path) -> str:
        """The same, and the exact match on more held-out questions, as JSON."""
        answers = self._answers(model, self._asked(N_FINAL))
        n_right = sum(answer == text for _, answer, text in answers)
        low, high = wilson_interval(n_right, len(answers))
        figures = {"exact_match": n_right / len(answers), "exact_match_interval": [low, high], "n_asked": len(answers)}
        write_text(out / "validation.json", json.dumps(figures) + "\n")
        return (f"{super().finish(model, out)}\nexact match on {len(answers):,} held-out questions: "
                f"{n_right / len(answers):.1%} ({low:.1%} to {high:.1%})")
