"""13: a model learns to follow instructions, and is asked ones that it has never seen.

    python examples/13_instructions.py --out runs/instructions

Eleven small jobs on made-up words and on numbers, each asked for in three ways, whose answers can be checked:

    Reverse the word tomila.             alimot
    What is 27 plus 18?                  45

60,000 of them are written as conversations, with special tokens around each turn, and a small model learns the answers
and nothing else: questions are read, not predicted. Then it answers 500 instructions in which a job meets operands that
training never gave to it. Letters are tokens of their own, so a word can be spelt and turned around; a tokenizer that
makes one token of "tom" hides its letters. Several conversations share a row of 128 tokens, one behind the other, so
the model is used to questions that come after others; that makes the saved folder fit for a chat:

    tinygpt chat --model runs/instructions --temperature 0

About 200,000 parameters: 4 layers, 4 heads, 64 channels, in Llama's layout, whose rotary positions suit jobs that go
letter by letter. Takes 5 minutes on 2 cores. The words are all made of syllables, "tomila" and the like; what the model
makes of words that are not, such as "stone", shows in the chat.

Prerequisites: 06_names.py, tinygpt/data/chat_template.py, tinygpt/data/conversations.py. Next: 14_chat.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import tinygpt
from tinygpt.data.chat_template import add_chat_template, chat_template
from tinygpt.data.conversations import Conversation, ConversationSampler, encode_conversations, instruction_message
from tinygpt.data.synthetic.instructions import JOBS, instructions
from tinygpt.evaluation import wilson_interval
from tinygpt.evaluation.answers import answer_conversations, exact_match, expected_answer
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import CharTokenizer
from tinygpt.training import Criterion, Progress, Trainer, TrainingOptions, language_loss


def as_conversation(example: dict[str, str]) -> Conversation:
    """An instruction and its answer as the two messages of a conversation."""
    return [{"role": "user", "content": instruction_message(example["instruction"], example["input"])},
            {"role": "assistant", "content": example["output"]}]


def main(argv: Sequence[str] | None = None) -> float:
    """Train, ask, count; returns the share of held-out instructions that were answered exactly right."""
    parser = argparse.ArgumentParser(description="Train a small GPT to follow instructions.")
    parser.add_argument("--examples", type=int, default=60_000, help="instructions to learn from [60,000]")
    parser.add_argument("--tests", type=int, default=500, help="held-out instructions to ask [500]")
    parser.add_argument("--steps", type=int, default=4000, help="training steps [4000]")
    parser.add_argument("--batch-size", type=int, default=64, help="conversations in a step [64]")
    parser.add_argument("--lr", type=float, default=3e-3, help="highest learning rate [0.003]")
    parser.add_argument("--n-embd", type=int, default=64, help="channels [64]")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and data [0]")
    parser.add_argument("--threads", type=int, default=None, help="replicas that train side by side [the cores]")
    parser.add_argument("--out", default=None, metavar="DIR", help="save model and tokenizer there")
    args = parser.parse_args(argv)

    examples, asked = instructions(args.examples, seed=args.seed), instructions(args.tests, "test", seed=args.seed)
    train, test = ([as_conversation(example) for example in part] for part in (examples, asked))
    characters = {character for chat in train + test for message in chat for character in message["content"]}
    template = chat_template(add_chat_template(CharTokenizer(sorted(characters))))

    tinygpt.manual_seed(args.seed)
    model = GPT(GPTConfig(
        vocab_size=len(template.tokenizer), block_size=128, n_layer=4, n_head=4, n_embd=args.n_embd,
        n_inner=args.n_embd * 11 // 4, architecture="llama", initializer_range=0.08, eos_token_id=template.end_id))
    print(f"{model.n_parameters:,} parameters, {len(train):,} instructions to learn, {len(test):,} to be asked")

    conversations = encode_conversations(train, template, 128)
    progress = Progress(args.steps)
    trainer = Trainer(
        model, Criterion(language_loss), ConversationSampler(conversations, args.batch_size, 128, args.seed),
        TrainingOptions(steps=args.steps, batch_size=args.batch_size, lr=args.lr, min_lr=0.0, seed=args.seed,
                        eval_every=max(1, args.steps // 4), threads=args.threads),
        validate=lambda keep_going: {"exact_match": exact_match(answer_conversations(model, template, test), test)},
        progress=progress)
    trainer.run()
    progress.close()
    if args.out is not None:
        model.save_pretrained(args.out, template.tokenizer)

    found = answer_conversations(model, template, test)
    right = [answer == expected_answer(chat) for answer, chat in zip(found, test)]
    for task in (job.name for job in JOBS):
        mine = [place for place, example in enumerate(asked) if example["task"] == task]
        if not mine:
            continue
        shown = next((place for place in mine if not right[place]), mine[0])  # a mistake is worth more to look at
        question = test[shown][0]["content"].replace("\n", " / ")
        print(f"{task:9}{sum(right[place] for place in mine):4} of {len(mine):2}   {question} -> {found[shown]}"
              + ("" if right[shown] else f"  (it is {expected_answer(test[shown])})"))
    share, (low, high) = sum(right) / len(test), wilson_interval(sum(right), len(test))
    print(f"exact match on {len(test):,} held-out instructions: {share:.1%} ({low:.1%} to {high:.1%})")
    return share


if __name__ == "__main__":
    main()
