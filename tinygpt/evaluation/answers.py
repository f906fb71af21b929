"""What a model answers, and how often that is exactly the answer expected.

The last answer of each conversation is taken away and written again, greedily, from all that stands before it. Exact
match is a hard measure, and a fair one only where one answer is right: sums, or a word backwards.

Prerequisites: running.py, data/conversations.py, generation/decode.py. Next: robustness.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..data.chat_template import ChatTemplate
from ..data.conversations import Conversation, text_of
from ..generation import absent, left_pad
from ..models import CausalLM
from .running import Track, side_by_side, untracked

__all__ = ["answer_conversations", "answer_prompts", "exact_match", "expected_answer"]


def answer_prompts(model: CausalLM, template: ChatTemplate, prompts: Sequence[Sequence[int] | np.ndarray],
                   max_new_tokens: Sequence[int], *, batch_size: int = 64,
                   keep_going: Callable[[], bool] = lambda: True, track: Track = untracked) -> list[str]:
    """The model's greedy answers, without the space around them, in the order given.

    Args:
        model: switched to `eval` for the time being.
        template: the chat template that the model was tuned with.
        prompts: ids that end with the beginning of an answer, as `template.prompt` makes them.
        max_new_tokens: how long each answer may become, its end counted.
        batch_size: prompts answered at a time, those of similar length together.
        keep_going: asked before each batch; once it says no, the answers that are left are "".
        track: watches the batches.

    Raises:
        ValueError: a prompt that leaves no room for an answer in the model's context.
    """
    nameless = absent(template.tokenizer.ids, model.config.vocab_size)
    found = [""] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))

    def answered(start: int) -> list[tuple[int, str]]:
        batch, texts = order[start:start + batch_size], []
        ids, mask = left_pad([prompts[index] for index in batch])  # type: ignore[misc]
        room = model.config.block_size - ids.shape[1]
        if room < 1:
            raise ValueError(f"a conversation of {ids.shape[1]} tokens leaves no room for an answer in a context of "
                             f"{model.config.block_size}")
        n_new = min(room, max(max_new_tokens[index] for index in batch))
        rows = model.generate(ids, n_new, temperature=0.0, attention_mask=mask, eos_token_id=template.stop_ids,
                              suppress_tokens=nameless)
        for index, row in zip(batch, rows[:, ids.shape[1]:].tolist()):
            end = next((place for place, token in enumerate(row) if token in template.stop_ids), len(row))
            texts.append((index, template.tokenizer.decode(row[:end]).strip()))
        return texts
    starts = range(0, len(order), batch_size)
    answers = side_by_side(answered, model, track(starts, len(starts)), 1)
    while keep_going() and (texts := next(answers, None)) is not None:
        for index, text in texts:
            found[index] = text
    return found


# ---------------------------------------------------------------------------------------------------------------------
# The same for conversations as text


def _place(conversation: Conversation) -> int:
    """The place of the last answer."""
    return max(place for place, message in enumerate(conversation) if message["role"] == "assistant")


def expected_answer(conversation: Conversation) -> str:
    """The last answer of a conversation, without the space around it."""
    return text_of(conversation[_place(conversation)]).strip()


def answer_conversations(model: CausalLM, template: ChatTemplate, conversations: Sequence[Conversation],
                         **options: object) -> list[str]:
    """The model's answer in place of the last one of each conversation; other arguments as for `answer_prompts`.

    An answer may be a token longer than the one expected: what goes on after that is wrong already.
    """
    prompts = [template.prompt(chat[:_place(chat)]) for chat in conversations]
    lengths = [len(template.tokenizer.encode(expected_answer(chat), add_special_tokens=False)) + 1
               for chat in conversations]
    return answer_prompts(model, template, prompts, lengths, **options)  # type: ignore[arg-type]


def exact_match(answers: Sequence[str], conversations: Sequence[Conversation]) -> float:
    """The share of answers that are the expected ones.

    Raises:
        ValueError: no conversations, or not as many as answers.
    """
    if not conversations:
        raise ValueError("exact match needs at least one conversation, got none")
    return sum(answer == expected_answer(chat) for answer, chat in zip(answers, conversations, strict=True)) \
        / len(conversations)
