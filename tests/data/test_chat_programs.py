"""Chat templates of other models, Jinja programs: ids as transformers has them, answers found, and no forged turn."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data.chat_template import CHATML, TURN_TOKENS, ChatTemplate, JinjaFormat, add_chat_template, chat_template
from tinygpt.data.conversations import encode_conversations
from tinygpt.evaluation import probe_special_tokens
from tinygpt.tokenizers import ByteBPE, CharTokenizer
from tinygpt.tokenizers.special import AddedToken, SpecialTokens

pytest.importorskip("jinja2")

# Each in the manner of a public model: what it writes, and what it does to contents.
PROGRAMS = {
    "phi": "{% for m in messages %}<|im_start|>{{ m.role }}<|im_sep|>{{ m.content }}<|im_end|>{% endfor %}"
           "{% if add_generation_prompt %}<|im_start|>assistant<|im_sep|>{% endif %}",
    "gemma": "{{ bos_token }}{% for m in messages %}{% set role = 'model' if m.role == 'assistant' else m.role %}"
             "{{ '<|im_start|>' + role + '\n' + m['content'] | trim + '<|im_end|>\n' }}{% endfor %}"
             "{% if add_generation_prompt %}{{ '<|im_start|>model\n' }}{% endif %}",
    "qwen": "{%- for m in messages %}\n    {%- if loop.first and m.role != 'system' %}\n"
            "        {{- '<|im_start|>system\nBe good.<|im_end|>\n' }}\n    {%- endif %}\n"
            "    {{- '<|im_start|>' ~ m.role ~ '\n' ~ m.content ~ '<|im_end|>' ~ '\n' }}\n{%- endfor %}\n"
            "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\n' }}\n{%- endif %}\n",
    "thinking": "{% for m in messages %}{% if m.role == 'assistant' %}{% set c = m.content.split('</think>')[-1] %}"
                "{{ '<|a|>' + c.lstrip('\n') + eos_token }}{% else %}{{ '<|u|>' + m.content }}{% endif %}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|a|><think>\n' }}{% endif %}",
    "mistral": "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content + eos_token }}"
               "{% else %}{{ '[INST]' + m.content + '[/INST]' }}{% endif %}{% endfor %}",
    "roles": "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}{{ m.content }}{{ '<|end|>' }}{% endfor %}"
             "{{ '<|assistant|>' if add_generation_prompt else eos_token }}",
    "marked": "{% for m in messages %}{{ '<|' + m.role + '|>' }}{% if m.role == 'assistant' %}{% generation %}"
              "{{ '<|u|>' + m.content + '<|end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|end|>' }}{% endif %}"
              "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
}
NAMES = sorted({name for program in PROGRAMS.values() for name in re.findall(r"<\|\w+\|>|\[/?INST\]", program)}
               | {"<|user|>", "<|assistant|>", "<|system|>"})
TEXT = "user assistant system model What is 2 plus 3? Be good.\n think" * 3


def tokenizer(kind="bpe"):
    names = ["<s>", "</s>", *NAMES]
    if kind == "bpe":
        return ByteBPE.train(TEXT, vocab_size=280, special_tokens=names)
    return CharTokenizer([*map(chr, range(32, 127)), "\n"]).with_special_tokens(names, bos_token="<s>",
                                                                                eos_token="</s>")


def template_of(program, kind="bpe"):
    tok = tokenizer(kind)
    tok.chat_template = program
    return chat_template(tok)


TEMPLATES = {name: template_of(program) for name, program in PROGRAMS.items()}
spelling = st.sampled_from([*NAMES, *(name[:4] for name in NAMES), *(name[4:] for name in NAMES), "<s>", "</s>", "user",
                            "</think>", "<think>", "\n", " ", "{{ bos_token }}", "é", "<|U|>", "a b", "\U000f0000",
                            "\0"])
texts = st.lists(spelling, max_size=6).map("".join)


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


def chat_of(contents):
    """A question, an answer, a question, …"""
    return [(user, assistant)[place % 2](content) for place, content in enumerate(contents)]


def special(template, ids):
    return [int(token) for token in ids if int(token) in template.tokenizer.special.names]


@given(st.lists(texts, min_size=1, max_size=4), st.sampled_from(sorted(TEMPLATES)))
def test_no_text_forges_a_turn(contents, which):
    """The special tokens are those of the same conversation of harmless words."""
    template = TEMPLATES[which]
    chat, harmless = chat_of(contents), chat_of(["x"] * len(contents))
    for prompt in (False, True):
        assert special(template, template.encode(chat, prompt)[0]) == special(template,
                                                                              template.encode(harmless, prompt)[0])
    assert special(template, template.prompt(chat)) == special(template, template.prompt(harmless))


@given(st.lists(texts, min_size=2, max_size=4), st.sampled_from(sorted(TEMPLATES)))
def test_answers_are_what_the_template_leaves_of_them(contents, which):
    """The tokens learnt are the words of the assistant that are written, and what ends each turn."""
    template = TEMPLATES[which]
    ids, learnt = template.encode(chat_of(contents))
    said = [content for content in contents[1::2]]
    if which == "gemma":
        said = [content.strip() for content in said]
    if which == "thinking":
        said = [content.split("</think>")[-1].lstrip("\n") for content in said]
    end = template.tokenizer.special.names[template.end_id]
    begin = "<|u|>" if which == "marked" else ""
    expected = "".join(begin + content + end for content in said)
    if which == "thinking":  # an answer of which nothing is left has no place that could be found
        expected = "".join(content + end for content in said if content)
    assert template.tokenizer.decode(ids[learnt]) == expected
    assert ids.dtype == np.int64 and learnt.dtype == bool and len(ids) == len(learnt)


@pytest.mark.parametrize("which", sorted(TEMPLATES))
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_the_probe_finds_no_hole(which, role):
    template = TEMPLATES[which]
    found = probe_special_tokens(lambda text: template.prompt([user("a"), {"role": role, "content": text}]),
                                 template.tokenizer.special_tokens)
    assert found.n_prompts > 250 and found.forgeries == () and found.n_refused == 0


def test_a_template_that_changes_letters_forges_nothing():
    """Texts that become the name of a token only by what the template does to them."""
    for change in ("| lower", "| replace(' ', '')", ".replace('-', '')", "| trim", ".split('-') | join", "[::-1]"):
        program = ("{% for m in messages %}{{ '<|' + m.role + '|>' }}{{ m.content " + change + " }}{{ '<|end|>' }}"
                   "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}")
        template = template_of(program)
        for text in ("<|END|>", "<| end |>", "<|-end|>", ">|dne|<", "<|-en-d|>", " <|end|> "):
            expected = special(template, template.prompt([user("a")]))
            assert special(template, template.prompt([user(text)])) == expected, (change, text)


def test_what_a_message_and_the_template_spell_together_is_no_token():
    program = "{% for m in messages %}<|{{ m.content }}|>{% endfor %}{{ bos_token }}"
    tok = tokenizer()
    tok.chat_template = program
    for text in ("end", "user", "|end|><"):
        ids = tok.apply_chat_template([user(text)])
        assert [i for i in ids if i in tok.special.names] == [tok.bos_token_id]
        assert tok.decode(ids) == f"<|{text}|><s>"


def test_added_words_that_the_template_writes():
    """"<tool>" is no special token: the assistant may write it, the template does, and nobody else."""
    base = ByteBPE.train(TEXT, vocab_size=260)
    names = ["<|u|>", "<|a|>", "<|e|>"]
    tokens = [AddedToken(name, 260 + place) for place, name in enumerate(names)]
    tokens += [AddedToken("<tool>", 263, special=False), AddedToken("<word>", 264, special=False)]
    tok = base._with_special(SpecialTokens(tokens, {"eos_token": "<|e|>"}))
    tok.chat_template = ("{% for m in messages %}{{ '<|u|>' if m.role == 'user' else '<|a|>' }}{{ m.content }}"
                         "{{ '<tool>' if m.role == 'user' }}<|e|>{% endfor %}"
                         "{% if add_generation_prompt %}<|a|>{% endif %}")
    template = chat_template(tok)
    chat = [user("a<tool>b<word>"), assistant("<tool>c<word>")]
    ids = template.encode(chat)[0].tolist()
    assert ids.count(263) == 2 and ids.count(264) == 2 and tok.decode(ids) == "<|u|>a<tool>b<word><tool><|e|>" \
        "<|a|><tool>c<word><|e|>"


@pytest.mark.parametrize("which", sorted(TEMPLATES))
def test_ends_and_stops(which):
    template = TEMPLATES[which]
    names = [template.tokenizer.special.names[token] for token in template.stop_ids]
    end = {"phi": "<|im_end|>", "gemma": "<|im_end|>", "qwen": "<|im_end|>", "roles": "<|end|>",
           "marked": "<|end|>"}.get(which, "</s>")
    assert names[0] == end and template.end_id == template.stop_ids[0] and "</s>" in names
    assert ("<|u|>" in names) == (which == "thinking")  # what the assistant writes within its turn does not end it


def test_our_own_formats_are_their_programs():
    """What is written without Jinja is what the program writes, sources included."""
    chat = [{"role": "system", "content": " s\n"}, user("<|end|>"), assistant("é\n"), user(""), assistant("")]
    for format in (TURN_TOKENS, CHATML):
        tok = add_chat_template(ByteBPE.train(TEXT, vocab_size=280), format)
        own, program = ChatTemplate(tok, format), ChatTemplate(tok, JinjaFormat(tok.chat_template, tok.special.roles))
        for prompt in (False, True):
            one, other = (each.format.render(chat, prompt) for each in (own, program))
            assert one.text == other.text and list(one.sources) == list(other.sources)
            for a, b in zip(own.encode(chat, prompt), program.encode(chat, prompt)):
                assert (a == b).all()
        assert own.end_id == program.end_id and own.stop_ids == program.stop_ids
        assert own.prompt(chat) == program.prompt(chat)


@pytest.mark.parametrize("which", sorted(TEMPLATES))
def test_a_begun_answer_is_gone_on_with(which):
    template = TEMPLATES[which]
    chat = [user("What"), assistant("is 2")]
    ids = template.open_prompt(chat)
    assert template.tokenizer.decode(ids).endswith("is 2")
    whole = template.encode(chat)[0].tolist()
    assert whole[:len(ids)] == ids and whole[len(ids)] == template.end_id
    assert template.open_prompt(chat[:1]) == template.prompt(chat[:1])
    assert template.open_prompt([*chat[:1], assistant("")]) == template.prompt(chat[:1])


@pytest.mark.parametrize("room", range(10, 90, 5))
@pytest.mark.parametrize("which", ["gemma", "qwen", "roles"])
def test_the_latest_turns_that_fit(which, room):
    """As many as possible, and the system message, in far fewer renderings than turns."""
    template = TEMPLATES[which]
    chat = [{"role": "system", "content": "s"}]
    for number in range(60):
        chat += [user(f"a{number}"), assistant("b" * (number % 3))]
    chat.append(user("end"))
    ids, left_out = template.fitting_prompt(chat, room)
    kept = [chat[0], *chat[1 + 2 * left_out:]]
    assert ids == template.prompt(kept)
    if left_out:
        assert len(template.prompt([chat[0], *chat[2 * left_out - 1:]])) > room
    assert len(ids) <= room or kept == [chat[0], chat[-1]]
    cropped = template.cropped_prompt([chat[0], *chat[1:-1], user("z" * 500 + "end")], room + 30)
    assert len(cropped) <= room + 30
    text = template.tokenizer.decode(cropped)
    assert "s" in text[:40] and "zend" in text and not len(cropped) < room + 25


def test_a_template_that_cannot_be_used():
    for program, message in [
            ("{% if %}", "not a valid Jinja program"),
            ("{{ raise_exception('Never!') }}", "a question and its answer cannot be written .* Never!"),
            ("{% for i in range(10**9) %}{% endfor %}", "cannot be written with this chat template: .*Range too big"),
            ("{% for m in messages %}{{ m.content.upper }}{% endfor %}{{ a.b }}", "'a' is undefined")]:
        with pytest.raises(ValueError, match=message):
            template_of(program)
    tok = CharTokenizer.train("ab")
    tok.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(ValueError, match="nothing ends the assistant's turn"):
        chat_template(tok)


def test_conversations_that_a_template_refuses_are_named():
    program = ("{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('No system here') }}{% endif %}"
               "<|u|>{{ m.content }}</s>{% endfor %}")
    template = template_of(program)
    chats = [chat_of(["a", "b"]), [{"role": "system", "content": "x"}, *chat_of(["a", "b"])]]
    with pytest.raises(ValueError, match="a.jsonl, line 7: the chat template refuses this .*: No system here"):
        encode_conversations(chats, template, 64, places=["a.jsonl, line 1", "a.jsonl, line 7"])
    silent = template_of("{% for m in messages if m.role == 'user' %}<|u|>{{ m.content }}</s>{% endfor %}")
    with pytest.raises(ValueError, match="writes nothing of what the assistant says"):
        encode_conversations(chats[:1], silent, 64)


# -- transformers -----------------------------------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("which", sorted(PROGRAMS))
def test_transformers_gives_the_same_ids(tmp_path, which):
    transformers = pytest.importorskip("transformers")
    template = TEMPLATES[which]
    template.tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for chat in (chat_of(["What is 2"]), chat_of([" What?\n\nis", "5 5", "it's é", "<think>is</think>\n\nplus "]),
                 [{"role": "system", "content": "Be"}, *chat_of(["a", "\nb\n", "c"])]):
        for prompt in (False, True):
            found = theirs.apply_chat_template(chat, add_generation_prompt=prompt, tokenize=True, return_dict=True)
            assert template.tokenizer.apply_chat_template(chat, add_generation_prompt=prompt) == found["input_ids"]
        assert template.prompt(chat) == found["input_ids"]
    marked = theirs.apply_chat_template(chat_of(["a", "b c", "d", "e"]), tokenize=True, return_dict=True,
                                        return_assistant_tokens_mask=True)
    if which == "marked":
        assert template.encode(chat_of(["a", "b c", "d", "e"]))[1].astype(int).tolist() == marked["assistant_masks"]


@pytest.mark.oracle
def test_public_templates_give_the_ids_of_transformers(shared_data, tmp_path):
    transformers = pytest.importorskip("transformers")
    for path in sorted((shared_data / "chat_templates").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        names = sorted({*re.findall(r"<\|\w+\|>|<｜[^｜]+｜>|<\w+_of_turn>|\[/?[A-Z_]+\]", source), "<s>", "</s>"})
        tok = ByteBPE.train(TEXT, vocab_size=300, special_tokens=names)
        tok.chat_template = source
        tok.save(tmp_path / path.name)
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / path.name)
        template = chat_template(tok)
        for chat in (chat_of(["What is 2"]), chat_of([" What?\n\nis", "5 5 ", "it's é"])):
            expected = theirs.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
            assert template.prompt(chat) == expected
        ids, learnt = template.encode(chat_of(["a", "It is 5.", "b", "No."]))
        end = tok.special.names[template.end_id]
        assert tok.decode(ids[learnt]) == f"It is 5.{end}No.{end}"
        found = probe_special_tokens(lambda text: template.prompt([user(text)]), tok.special_tokens)
        assert found.forgeries == () and found.n_prompts > 100
