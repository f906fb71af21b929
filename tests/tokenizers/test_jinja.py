"""Chat templates as Jinja programs: what they render, who wrote which character, and what they cannot do."""

from __future__ import annotations

import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.tokenizers import ByteBPE
from tinygpt.tokenizers import jinja as module
from tinygpt.tokenizers.jinja import GENERATED, message_source, render

pytest.importorskip("jinja2")


def user(content, **more):
    return {"role": "user", "content": content, **more}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def foreign(template, *contents, **more):
    """What is rendered, with the characters of messages as their number from 1, and the template's own as they are."""
    rendered = render(template, [user(content) for content in contents], **more)
    return "".join(char if source <= GENERATED else str((source - message_source(0)) // 2 + 1)
                   for char, source in zip(rendered.text, rendered.sources))


def body(expression):
    return "{% for m in messages %}<{{ " + expression + " }}>{% endfor %}"


# -- who wrote what ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expression, shown", [
    ("m.content", "<1111111>"),  # " a</t>b"
    ("m['content'] | trim", "<111111>"),
    ("m.content.strip() + '!'", "<111111!>"),
    ("'[' ~ m.content ~ none ~ ']'", "<[1111111None]>"),
    ("m.content.split('</t>')[-1]", "<1>"),
    ("m.content.split('</t>') | join('-')", "<11-1>"),
    ("'-'.join(m.content.split('</t>'))", "<11-1>"),
    ("'-'.join(m.content.split('</t>') | map('trim'))", "<1-1>"),
    ("(m.content | trim | upper)[:1] + 'x'", "<1x>"),
    ("m.content.replace('</t>', '##')", "<11##1>"),
    ("'a-b' | replace('-', m.content)", "<a1111111b>"),
    ("'a-b'.replace('-', m.content)", "<a1111111b>"),
    ("m.content[1:3]", "<11>"),
    ("m.content | first", "<1>"),
    ("m.content | reverse", "<1111111>"),
    ("m.content | list | join('.')", "<1.1.1.1.1.1.1>"),
    ("'<{}>'.format(m.content | trim)", "<<111111>>"),
    ("'<{a}>'.format(a=m.content | trim)", "<<111111>>"),
    ("'%s:' % m.content", "<1111111:>"),
    ("'%s:%s' % (m.content, 'x')", "<1111111:x>"),
    ("'%s:' | format(m.content)", "<1111111:>"),
    ("m.content | indent(2, first=True)", "<  1111111>"),
    ("(m.content, 'x') | join", "<1111111x>"),
    ("m.content if m.content else 'none'", "<1111111>"),
    ("m.content | default('x')", "<1111111>"),
    ("(m.content ~ 'x') | string", "<1111111x>"),
    ("(m.content ~ 'x') | safe", "<1111111x>"),
    ("m.content * 2", "<11111111111111>"),
    ("m.content.partition('</t>')[2] ~ 'x'", "<1x>"),
    ("m.content.rsplit('</t>', 1)[0] ~ 'x'", "<11x>"),
    ("m.content.removeprefix(' ') ~ 'x'", "<111111x>"),
    ("m.content.removesuffix('b') ~ 'x'", "<111111x>"),
    ("m.content.splitlines()[0] ~ 'x'", "<1111111x>"),
    ("m | tojson | length", "<38>"),
    ("m.role", "<user>"),
])
def test_sources_survive(expression, shown):
    assert foreign(body(expression), " a</t>b") == shown


@pytest.mark.parametrize("expression", [
    "m.content | tojson", "m | tojson", "[m.content]", "{'a': m.content}", "m.content | escape",
    "m.content | urlencode",
    "m.content.encode()", "m.content | pprint", "m.content | wordwrap(3)", "m.content | center(20)", "m | string",
    "m.content.zfill(20)", "m.content | map('string') | join", "m.content.format(1)", "m.content % ()",
    "'%10s' % m.content", "'{:>10}'.format(m.content)", "m.content.translate({97: 'b'})", "m.content.join('xy')",
    "m.content | truncate(3)", "m.content | title", "m.content | striptags", "[m.content] | tojson(indent=2)",
    "m.content.expandtabs()", "m.content.swapcase()", "{'a': m.content} | xmlattr", "{'a': m.content} | items | list",
    "'{0[a]}'.format({'a': m.content})", "'%(a)s' % {'a': m.content}", "'{a}'.format_map({'a': m.content})",
    "namespace(x=m.content).x", "dict(x=m.content).x", "[m.content, 'x'] | min", "cycler(m.content).next()",
    "strftime_now(m.content)", "m.content | replace('', '-')", "m.content.casefold()", "m.content | list",
    "m.content | batch(2) | list", "m.content | groupby(0) | list", "m.content | forceescape", "(m.content,)",
    "m.content | random", "m.content | last", "m.content | urlize", "m.content | select | list",
])
def test_nothing_of_a_message_passes_for_the_templates(expression):
    """Whatever is done to a message: none of its letters counts as the template's."""
    content = "qqq\u00e9\u00e9qq"
    rendered = render(body(expression), [user(content)])
    assert not any(char in "q\u00e9QZ" and source <= GENERATED for char, source in zip(rendered.text, rendered.sources))
    assert any(source > GENERATED for source in rendered.sources) or "q" not in rendered.text.lower()


@pytest.mark.parametrize("template, shown", [
    ("{% set x %}[{{ messages[0].content }}]{% endset %}{{ x }}{{ x }}", "[11][11]"),
    ("{% macro f(x) %}[{{ x }}{{ caller() if caller }}]{% endmacro %}{{ f(messages[0].content) }}", "[11]"),
    ("{% macro f(x) %}[{{ x }}{{ caller() }}]{% endmacro %}{% call f('-') %}{{ messages[0].content }}!{% endcall %}",
     "[-11!]"),
    ("{% filter upper %}a{{ messages[0].content }}{% endfilter %}", "A11"),
    ("{% for c in messages[0].content %}{{ c }}.{% endfor %}", "1.1."),
    ("{% set ns = namespace(x='') %}{% for m in messages %}{% set ns.x = ns.x + m.content + '-' %}{% endfor %}"
     "{{ ns.x }}",
     "11-2-"),
    ("{{ messages | map(attribute='content') | join('|') }}", "11|2"),
    ("{{ messages | join('|', attribute='content') }}", "11|2"),
    ("{% for m in messages if m.content == 'hi' %}{{ m.content }}{% endfor %}", "11"),
    ("{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}", "role=user;content=11;"),
    ("{% if 'h' in messages[0].content %}yes{% endif %}", "yes"),
    ("{% with c = messages[1].content %}{{ c }}{% endwith %}", "2"),
    ("{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{{ m.content }}{% endfor %}", "11"),
])
def test_sources_survive_statements(template, shown):
    assert foreign(template, "hi", "x") == shown


def test_generation_is_marked():
    template = "{% for m in messages %}{{ m.role }}:{% generation %}{{ m.content }};{% endgeneration %}\n{% endfor %}"
    rendered = render(template, [user("ab"), assistant("c")])
    assert rendered.text == "user:ab;assistant:c;"  # the newline after a block is trimmed
    said = [source & GENERATED for source in rendered.sources]
    assert "".join(char for char, is_said in zip(rendered.text, said) if is_said) == "ab;c;"
    assert rendered.sources[5:7] == [message_source(0) | GENERATED] * 2 and rendered.sources[7] == GENERATED


def test_variables_of_others_and_our_own():
    outside = {"b": "his", "tools": [{"name": "t"}]}
    rendered = render("{{ a }}{{ b }}{{ tools[0].name }}", [user("x")], {"a": "own"}, outside)
    assert rendered.text == "ownhist"
    assert [source > GENERATED for source in rendered.sources] == [False] * 3 + [True] * 4


names = st.sampled_from(["a", "b", "</t>", " ", "\n", "é", "|", "ab</t>c", "\U000f0000", "\0", "{{ 1 }}", "", "x" * 30])
contents = st.lists(names, max_size=5).map("".join)


@given(st.lists(contents, min_size=1, max_size=4))
def test_sources_are_exact_for_any_content(texts):
    """Of a message, exactly its trimmed text, in order, whatever it holds."""
    rendered = render(body("m.content | trim"), [user(text) for text in texts])
    assert rendered.text == "".join(f"<{text.strip()}>" for text in texts)
    for number, text in enumerate(texts):
        found = "".join(char for char, source in zip(rendered.text, rendered.sources)
                        if source == message_source(number))
        assert found == text.strip()


# -- what a template cannot do ----------------------------------------------------------------------------------------


DOUBLED = "{% set ns = namespace(x=X) %}{% for i in range(60) %}{% set ns.x = Y %}{% endfor %}{{ ns.x }}"
COSTLY = [
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}",
    "{{ 'a' * 10**10 }}", "{{ [0] * 10**10 }}", "{{ 'a' | center(10**10) }}", "{{ '%10000000000d' | format(1) }}",
    "{{ '{:10000000000}'.format(1) }}", "{{ 'a'.ljust(10**10) }}",
    "{{ 'a'.join(range(10**5) | map('string')) * 10**5 }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ 10 ** (10 ** 10) }}",
    DOUBLED.replace("X", "[1]").replace("Y", "[ns.x, ns.x]"), DOUBLED.replace("X", "'ab'").replace("Y", "ns.x ~ ns.x"),
    DOUBLED.replace("X", "'ab'").replace("Y", "ns.x.replace('a', 'aa')"), "{{ lipsum(n=10**8) }}",
    "{% for i in range(100000) %}{{ messages[0].content * 1000 }}{% endfor %}",
    "{{ range(10**5) | list | tojson(indent=100000) }}", "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}",
    "{% if 1 %}" * 3000 + "{% endif %}" * 3000, "{{ a }}" * 300_000,
    "{% for i in range(50000) recursive %}{{ loop(range(50000)) }}{% endfor %}",
]


@pytest.fixture(scope="module")
def impatient():
    """A process that has a second for each conversation; the tests need not wait longer."""
    patience, module.SECONDS = module.SECONDS, 1.0
    module._worker().close()
    yield
    module.SECONDS = patience
    module._worker().close()


def test_endless_loops_end():
    start = time.monotonic()
    with pytest.raises(ValueError, match="does not end: it took more than 5 seconds"):
        render("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", [user("hello")])
    assert 4 < time.monotonic() - start < 10


@pytest.mark.parametrize("template", COSTLY, ids=lambda template: template[:40])
def test_costs_are_bounded(impatient, template):
    start = time.monotonic()
    with pytest.raises(ValueError, match="chat template") as caught:
        render(template, [user("hello")])
    assert time.monotonic() - start < 10 and "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert render("{{ messages[0].content }}", [user("on")]).text == "on"  # and others still render


@pytest.mark.parametrize("template", [
    "{{ 'x'.__class__.__mro__ }}", "{{ messages.__class__.__base__.__subclasses__() }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}", "{{ messages.append(1) }}",
    "{{ messages[0].update(a=1) }}",
    "{% include 'x' %}", "{% import 'os' as os %}", "{% extends 'x' %}", "{{ raise_exception.__globals__['os'] }}",
    "{{ namespace(__class__=1) }}", "{{ namespace.__init__.__globals__ }}", "{{ '{0.__class__.__mro__}'.format(1) }}",
    "{{ '{0[__class__]}'.format(1) }}", "{{ messages | map(attribute='__class__') | list | first }}",
    "{{ messages | attr('__class__') }}", "{{ range.__self__ }}", "{{ dict.__init__.__globals__ }}",
    "{{ 'a'.format.__self__.__class__ }}", "{% autoescape true %}x{% endautoescape %}",
    "{{ joiner.__init__.__globals__ }}", "{{ loop.__class__ }}", "{{ environment.filters }}", "{{ open('x') }}",
])
def test_nothing_is_reached(template):
    """Python's insides are refused, or nothing at all."""
    try:
        assert render(template, [user("hello")]).text == ""
    except ValueError as error:
        assert "chat template" in str(error) and "\n" not in str(error)


def test_the_environment_is_not_handed_on(monkeypatch):
    monkeypatch.setenv("A_SECRET_OF_OURS", "x")
    module._worker().close()
    render("a", [user("b")])
    process = module._worker().process
    path = f"/proc/{process.pid}/environ"
    if not os.path.exists(path):
        pytest.skip("no /proc to look into")
    with open(path, "rb") as file:
        assert b"A_SECRET_OF_OURS" not in file.read()


def test_errors_say_what_the_template_says():
    with pytest.raises(ValueError, match="^the chat template refuses this conversation: Roles must alternate! Yes$"):
        render("{{ raise_exception('Roles must\n alternate! Yes') }}", [user("a")])
    with pytest.raises(ValueError, match="refuses this conversation: .{,310}$") as caught:
        render("{{ raise_exception(messages[0].content) }}", [user("\x1b[31m" + "a" * 1000)])
    assert "\x1b" not in str(caught.value)
    with pytest.raises(ValueError, match="not a valid Jinja program: line 2: Expected an expression"):
        render("a\n{% if %}", [user("a")])
    with pytest.raises(ValueError, match="fails on this conversation: 'a' is undefined"):
        render("{{ a.b.c }}", [user("a")])


@pytest.mark.parametrize("messages, message", [
    ([], "at least one message"), ("hello", "a list of messages, got str"), ([3], "message 1 is 3"),
    ([{"content": "a"}], "message 1 is"), ([{"role": 3, "content": "a"}], "message 1 has the role '3'"),
    ([user("a"), {"role": "user|>", "content": "a"}], r"message 2 has the role 'user\|>'"),
    ([user("a", image=object())], "texts, numbers, lists and dicts alone"), ([user(b"a")], "texts, numbers"),
])
def test_messages_that_are_none(messages, message):
    with pytest.raises(ValueError, match=message):
        render("{{ messages }}", messages)


def test_deeply_nested_messages():
    deep = "a"
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ValueError):
        render("{{ messages }}", [user(deep)])


def test_lone_surrogates_come_through():
    assert render("{{ messages[0].content }}", [user("a\ud800b")]).text == "a\ud800b"


def test_threads_take_turns():
    found = {}

    def work(number):
        for _ in range(20):
            found[number] = render("{{ messages[0].content }}", [user(str(number))]).text
            assert found[number] == str(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: str(number) for number in range(6)}


def test_without_jinja(monkeypatch):
    monkeypatch.setattr(module.sys, "path", [])
    module._worker().close()
    real = module.subprocess.Popen
    monkeypatch.setattr(module.subprocess, "Popen",
                        lambda args, **more: real([args[0], "-c", "import nothing_such"], **more))
    with pytest.raises(ValueError, match="need the package jinja2"):
        render("a", [user("b")])
    monkeypatch.undo()
    assert render("a", [user("b")]).text == "a"


# -- the method of tokenizers -----------------------------------------------------------------------------------------


def test_the_method_of_tokenizers():
    tok = ByteBPE.train("what is two plus three", vocab_size=260, special_tokens=["<|user|>", "<|end|>"])
    with pytest.raises(ValueError, match="no chat template"):
        tok.apply_chat_template([user("a")])
    tok.chat_template = ("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
                         "{% if add_generation_prompt %}<|user|>{% endif %}{{ tools | tojson if tools }}{{ more }}")
    chat = [user("what <|end|>")]
    assert tok.apply_chat_template(chat, tokenize=False) == "<|user|>what <|end|><|end|>"
    ids = tok.apply_chat_template(chat, add_generation_prompt=True)
    assert ids == [*tok.encode("<|user|>", allowed_special="all"), *tok.encode("what <|end|>"),
                   *tok.encode("<|end|><|user|>", allowed_special="all")]
    assert tok.apply_chat_template([chat, chat]) == [tok.apply_chat_template(chat)] * 2
    assert tok.apply_chat_template(chat, tokenize=False, more="x").endswith("<|end|>x")
    assert tok.apply_chat_template(chat, tools=[{"a": 1}], tokenize=False).endswith('[{"a": 1}]')
    assert tok.apply_chat_template(chat, continue_final_message=True) == ids[:-2]
    assert tok.apply_chat_template(chat, return_dict=True).keys() == {"input_ids", "attention_mask"}
    with pytest.raises(ValueError, match="give one of them"):
        tok.apply_chat_template(chat, add_generation_prompt=True, continue_final_message=True)


# -- transformers -----------------------------------------------------------------------------------------------------


TOOL = {"type": "function", "function": {
    "name": "temperature", "description": "The <temperature> of a 'place', é", "parameters": {
        "type": "object", "properties": {"place": {"type": "string", "description": "where"}}, "required": ["place"]}}}
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "temperature", "arguments": {"place": "é<b>"}}}
WRITTEN = {**CALL, "function": {"name": "temperature", "arguments": '{"place": "a"}'}}
ANSWER = {"role": "tool", "tool_call_id": "abcdefghi", "name": "temperature", "content": "22"}
SYSTEM = {"role": "system", "content": " Be short.\n"}

CONVERSATIONS = [
    [user("hi")], [user("  hi\n"), assistant(" b\n"), user("c")], [SYSTEM, user("a")],
    [SYSTEM, user("a"), assistant("b"), user("c"), assistant("d")], [SYSTEM], [assistant("x")], [user("a"), user("b")],
    [user("a"), assistant("<think>\nlong\n</think>\n\nshort"), user("b")], [user("")],
    [user("a"), assistant("", tool_calls=[CALL]), ANSWER], [user("a"), assistant(None, tool_calls=[WRITTEN]), ANSWER],
    [user("a"), assistant("", tool_calls=[CALL]), ANSWER, assistant("22 degrees"), user("and?")],
    [SYSTEM, user("a"), assistant("x", tool_calls=[CALL, WRITTEN]), ANSWER, ANSWER],
    [user([{"type": "text", "text": "in"}, {"type": "text", "text": "parts"}])],
    [user("a", name="Bo"), {"role": "ipython", "content": {"output": 1}}],
]


@pytest.mark.oracle
def test_public_templates_render_as_transformers_renders_them(shared_data):
    """All of ../shared's templates, with tools, without, and with the beginning of an answer."""
    pytest.importorskip("transformers")
    from transformers.utils.chat_template_utils import render_jinja_template
    templates = sorted((shared_data / "chat_templates").glob("*.jinja"))
    assert len(templates) > 5
    own, compared, refused = {"bos_token": "<s>", "eos_token": "</s>"}, 0, 0
    for path in templates:
        source = path.read_text(encoding="utf-8")
        for chat in CONVERSATIONS:
            for tools in (None, [TOOL], [TOOL, TOOL]):
                for prompt in (False, True):
                    try:
                        theirs = render_jinja_template([chat], tools=tools, chat_template=source,
                                                       add_generation_prompt=prompt, **own)[0][0]
                    except Exception as error:
                        refused += 1
                        with pytest.raises(ValueError) as caught:
                            render(source, chat, own, {"tools": tools}, add_generation_prompt=prompt)
                        assert str(error) in str(caught.value)
                    else:
                        compared += 1
                        found = render(source, chat, own, {"tools": tools}, add_generation_prompt=prompt)
                        assert found.text == theirs, (path.name, chat, tools, prompt)
    assert compared > 300 and refused > 30


PHI_4 = ("{% for message in messages %}{% if (message['role'] == 'system') %}{{'<|im_start|>system<|im_sep|>' + "
         "message['content'] + '<|im_end|>'}}{% elif (message['role'] == 'user') %}{{'<|im_start|>user<|im_sep|>' + "
         "message['content'] + '<|im_end|>'}}{% elif (message['role'] == 'assistant') %}{{'<|im_start|>assistant"
         "<|im_sep|>' + message['content'] + '<|im_end|>'}}{% endif %}{% endfor %}{% if add_generation_prompt %}"
         "{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}")


@pytest.mark.oracle
@pytest.mark.parametrize("template", [
    PHI_4, "{{ bos_token }}{% for m in messages %}  {% if loop.first %}\n a{% endif %}\n{% endfor %}\n",
    "{%- for m in messages -%}{{ m | tojson(indent=2) }}{{ m.content | tojson(sort_keys=True) }}{%- endfor -%}",
    "{{ messages | tojson }} {{ strftime_now('%Y') }} {{ eos_token }}{{ no_such }}",
    "{% for m in messages %}{% generation %}\n{{ m.content }}\n  {% endgeneration %}\n{% endfor %}",
    "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list }}",
    "{{ messages[0] }} {{ [1.5, none, true] }} {{ messages | length }} {{ 7 // 2 }} {{ 1e10 }}",
    "{{ 'a\nb\n\nc\n' | indent(3) }}|{{ 'a\n\nb' | indent(2, true, true) }}|{{ 'a' | indent('>>', first=True) }}|"
    "{{ '' | indent }}",
    "{{ '%d %s' | format(3, 'x') }} {{ '{} {1}'.format if false }}{{ '{:>4}|{!r}'.format(1, 'b') }}",
    "{{ ' a b  c '.split() }} {{ ' a b '.rsplit(' ', 1) }} {{ 'a\r\nb\n'.splitlines(true) }} "
    "{{ 'abc'.partition('b') }}",
    "{% for m in messages %}{{ m.content.split() }}{{ m.content.rsplit(None, 1) }}{{ m.content.splitlines(true) }}"
    "{{ m.content.rpartition('i') }}{{ m.content.upper().title() | capitalize }}{% endfor %}",
    "{{ dict(a=1) }} {{ namespace(a=1).a }} {{ dict.fromkeys(['a']) }} {{ ('a' | escape) + '<' }} {{ 'a' | safe }}",
])
def test_programs_render_as_transformers_renders_them(template):
    pytest.importorskip("transformers")
    from transformers.utils.chat_template_utils import render_jinja_template
    own = {"bos_token": "<s>", "eos_token": "</s>"}
    for chat in CONVERSATIONS[:5] + [[user(" h  i\nthere\r\nyou ")]]:
        for prompt in (False, True):
            theirs = render_jinja_template([chat], chat_template=template, add_generation_prompt=prompt, **own)[0][0]
            assert render(template, chat, own, add_generation_prompt=prompt).text == theirs
