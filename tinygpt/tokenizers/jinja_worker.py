"""The process in which chat templates run: Jinja programs of strangers, in a sandbox, with every character's source.

A chat template is a program that comes with a model. This file is no part of a package: `jinja.py` starts it as a
program of its own, sends it templates and conversations, one JSON object a line, and reads what they render.

**Why a process.** Jinja's sandbox keeps a program from files and from Python's insides, not from costs: endless loops,
"a" * 10**9, a list that doubles forty times and is then printed. Python cannot stop a thread inside such a call, and
counting loops and calls misses what one call can do. A process can be stopped whatever it does, and the system limits
its memory. It is started once and serves all templates; a round trip costs a tenth of a millisecond.

**Who wrote what.** Rendered text mixes what the template says with what messages say, and only the template's own words
may become special tokens. So texts from outside are `Text`: strings that know, for every character, which message it
comes from, through slices, sums, trims, splits and whatever else a template does to them. The result of an operation
that is not known here counts as the message's altogether. No marks are put into the text, so no message can write one.

The settings (trimmed blocks, loop controls, tojson, raise_exception, strftime_now, generation blocks) are those of
transformers' chat templates.

Prerequisites: nothing here; Jinja's documentation of its sandbox. Next: jinja.py.
"""

from __future__ import annotations

import faulthandler
import functools
import json
import os
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import groupby
from string import Formatter
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Namespace
from markupsafe import Markup

MAX_OUTPUT = 1 << 23  # characters; a context of a million tokens has fewer
KEPT_TEMPLATES = 16

__all__: list[str] = []  # it is run, not imported

# A source is a character, kept beside the character that it is the source of: TEMPLATE, or FIRST + n for the n-th of
# the texts from outside. GENERATED is added inside {% generation %}.
TEMPLATE, FIRST, GENERATED = 0, 2, 1


# ---------------------------------------------------------------------------------------------------------------------
# Text with sources


class Text(str):
    """A string, and of each character who wrote it.

    Args:
        text: the string.
        sources: as long; one character says where one comes from.
    """

    sources: str

    def __new__(cls, text: str, sources: str) -> Text:
        made = super().__new__(cls, text)
        made.sources = sources
        return made

    @classmethod
    def of(cls, text: str) -> Text:
        """A string as Text: what is none yet is the template's."""
        return text if isinstance(text, cls) else cls(str.__str__(text), chr(TEMPLATE) * len(text))

    @classmethod
    def like(cls, text: str, model: Text) -> Text:
        """Something computed from `model`: its sources where the characters still stand at their places, else all of
        it comes from where the first foreign character of `model` comes from."""
        if len(text) == len(model):
            return cls(text, model.sources)
        return cls(text, _foreign(model) * len(text))

    # -- the same characters, or some of them

    def __str__(self) -> str:
        return self

    def __format__(self, spec: str) -> str:
        return self if not spec else Text.like(format(str.__str__(self), spec), self)

    def __iter__(self) -> Iterator[str]:
        return (Text(char, source) for char, source in zip(str.__iter__(self), self.sources))

    def __getitem__(self, place: Any) -> Text:
        return Text(str.__getitem__(self, place), self.sources[place])

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, str):
            return NotImplemented
        return Text(str.__add__(self, other), self.sources + Text.of(other).sources)

    def __radd__(self, other: Any) -> Any:
        return Text.of(other) + self if isinstance(other, str) else NotImplemented

    def __mul__(self, times: Any) -> Any:
        return Text(str.__mul__(self, times), self.sources * times)

    __rmul__ = __mul__

    def __mod__(self, values: Any) -> Any:
        return formatted_percent(self, values)

    def _cut(self, pieces: Iterable[str]) -> list[Text]:
        """Pieces of this text, found one behind the other."""
        found, start = [], 0
        for piece in pieces:
            start = self.index(piece, start)
            found.append(self[start:start + len(piece)])
            start += len(piece)
        return found

    def lstrip(self, chars: Any = None) -> Text:
        return self[len(self) - len(str.lstrip(self, chars)):]

    def rstrip(self, chars: Any = None) -> Text:
        return self[:len(str.rstrip(self, chars))]

    def strip(self, chars: Any = None) -> Text:
        return self.rstrip(chars).lstrip(chars)

    def removeprefix(self, prefix: str) -> Text:
        return self[len(prefix):] if self.startswith(prefix) else self

    def removesuffix(self, suffix: str) -> Text:
        return self[:len(self) - len(suffix)] if suffix and self.endswith(suffix) else self

    def split(self, sep: Any = None, maxsplit: Any = -1) -> list[Any]:
        pieces = str.split(self, sep, maxsplit)
        if sep is None:
            return self._cut(pieces)
        found, start = [], 0
        for piece in pieces:
            found.append(self[start:start + len(piece)])
            start += len(piece) + len(sep)
        return found

    def rsplit(self, sep: Any = None, maxsplit: Any = -1) -> list[Any]:
        found, end = [], len(self)
        for piece in reversed(str.rsplit(self, sep, maxsplit)):
            if sep is None:
                end = self.rindex(piece, 0, end) + len(piece)
            found.append(self[end - len(piece):end])
            end -= len(piece) + len(sep or "")
        return found[::-1]

    def splitlines(self, keepends: Any = False) -> list[Any]:
        found, start = [], 0
        for line, bare in zip(str.splitlines(self, True), str.splitlines(self)):
            found.append(self[start:start + len(line if keepends else bare)])
            start += len(line)
        return found

    def partition(self, sep: str) -> Any:
        head, middle, _ = str.partition(self, sep)
        return self[:len(head)], self[len(head):len(head) + len(middle)], self[len(head) + len(middle):]

    def rpartition(self, sep: str) -> Any:
        _, middle, tail = str.rpartition(self, sep)
        end = len(self) - len(tail)
        return self[:end - len(middle)], self[end - len(middle):end], self[end:]

    def replace(self, old: str, new: str, count: Any = -1) -> Text:
        if old:
            return Text.of(new).join(self.split(old, count))
        result = str.replace(self, old, new, count)
        return Text(result, _foreign(self) * len(result))

    def join(self, texts: Iterable[str]) -> Text:
        between = self
        found: list[Text] = []
        for text in texts:
            if found:
                found.append(between)
            found.append(Text.of(text))
        return Text("".join(found), "".join(text.sources for text in found))


def _lettered(name: str) -> Callable[[Text], Text]:
    """A method of strings that changes letters, each where it stands."""
    return lambda text: Text.like(getattr(str, name)(text), text)


for _name in ("lower", "upper", "title", "capitalize", "swapcase", "casefold"):
    setattr(Text, _name, _lettered(_name))


def _foreign(value: Any) -> str:
    """The first source in a value, whatever is in it, that is not the template; the template if there is none."""
    if isinstance(value, Text):
        return next((source for source in value.sources if ord(source) >= FIRST), chr(TEMPLATE))
    inside: Iterable[Any] = ()
    if isinstance(value, dict):
        inside = (*value, *value.values())
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = value
    elif isinstance(value, (bytes, Iterator)):  # nobody can look into them
        return chr(FIRST)
    elif isinstance(value, Namespace):
        inside = object.__getattribute__(value, "_Namespace__attrs").values()
    for part in inside:
        if (source := _foreign(part)) != chr(TEMPLATE):
            return source
    return chr(TEMPLATE)


def as_text(value: Any) -> str:
    """`str`, with the sources of what is in the value."""
    if isinstance(value, str):
        return value
    source, written = _foreign(value), str(value)
    return written if source == chr(TEMPLATE) else Text(written, source * len(written))


def joined(values: Iterable[Any]) -> Text:
    """The texts one behind the other."""
    return Text("", "").join(map(as_text, values))


def marked(result: Any, given: Any) -> Any:
    """What an operation that knows nothing of sources made of its arguments: where it is a new string, all of it comes
    from outside if anything in the arguments does."""
    if isinstance(result, (str, bytes)) and not isinstance(result, Text):
        source = _foreign(given)
        if source != chr(TEMPLATE):
            text = str.__str__(result) if isinstance(result, str) else repr(result)
            return Text(text, source * len(text))
    if isinstance(result, (list, tuple)) and any(type(part) in (str, bytes) for part in result):
        return type(result)(marked(part, given) for part in result)
    return result


def formatted_percent(pattern: str, values: Any) -> str:
    """`pattern % values`; with nothing but plain %s in it, each value keeps its sources."""
    pieces = pattern.split("%s")
    if _foreign(pattern) == chr(TEMPLATE) and not any("%" in piece for piece in pieces):
        given = values if isinstance(values, tuple) else (values,)
        if len(given) == len(pieces) - 1 and not isinstance(values, dict):
            return joined(part for pair in zip(pieces, (*given, "")) for part in pair)
    return marked(str.__mod__(str.__str__(pattern), values), [pattern, values])


# ---------------------------------------------------------------------------------------------------------------------
# The sandbox


class _Generator(CodeGenerator):
    """Jinja's compiler; `~` keeps sources, and nothing escapes HTML, which chat templates do not have."""

    def visit_Concat(self, node: nodes.Concat, frame: Any) -> None:
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_EvalContextModifier(self, node: Any, frame: Any) -> None:
        self.fail("autoescape has no place in a chat template", node.lineno)

    visit_ScopedEvalContextModifier = visit_EvalContextModifier


class _Generation(Extension):
    """{% generation %} … {% endgeneration %}: what is inside is the assistant's to say."""

    tags = {"generation"}

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("said"), [], [], body).set_lineno(line)

    def said(self, caller: Callable[[], str]) -> Text:
        """The text of the block, marked."""
        text = Text.of(caller())
        return Text(text, "".join(chr(ord(source) | GENERATED) for source in text.sources))


class _SafeNamespace(Namespace):
    """A namespace that holds no name with an underscore in front, for those reach into Python."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *given = args
        attributes = dict(*given, **kwargs)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        Namespace.__setitem__(self, name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace has no attribute {name!r}")


class _Dict:
    """`dict` as templates may use it: called, and `dict.fromkeys`."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        """As of dict."""
        return dict.fromkeys(*args)


def _raise_exception(message: Any) -> None:
    raise TemplateError(str.__str__(message) if isinstance(message, str) else str(message))


def _strftime_now(format: str) -> str:
    return marked(datetime.now().strftime(str.__str__(format)), format)


def _tojson(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None,
            sort_keys: bool = False) -> str:
    """JSON as it is: Jinja's own filter escapes HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _join(values: Iterable[Any], separator: Any = "", of: Callable[[Any], Any] | None = None) -> str:
    return Text.of(as_text(separator)).join(as_text(of(value) if of else value) for value in values)


def _indent(text: Any, width: Any = 4, first: bool = False, blank: bool = False) -> str:
    """As Jinja's, which see."""
    indention = width if isinstance(width, str) else " " * width
    text = Text.of(as_text(text)) + "\n"  # Jinja does so, too: a text that ends in a newline keeps it
    if blank:
        result = Text.of("\n" + indention).join(text.splitlines())
    else:
        first_line, *lines = text.splitlines()
        result = first_line
        if lines:
            result = result + "\n" + Text.of("\n").join(indention + line if line else line for line in lines)
    return indention + result if first else result


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, whose every operation hands on the sources of texts."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "*", "%", "**"})
    concat = staticmethod(joined)
    joined = staticmethod(joined)

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols],
                         finalize=as_text)
        self.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now, dict=_Dict(),
                            namespace=_SafeNamespace)
        join = self.filters["join"]
        self.filters.update(
            tojson=_tojson, string=as_text, safe=lambda value: value, indent=_indent,
            format=lambda pattern, *values, **named: formatted_percent(as_text(pattern), named or values))
        self.filters = {name: self._marking(function) for name, function in self.filters.items()}
        self.filters["join"] = self._joining(join)

    @staticmethod
    def _joining(theirs: Any) -> Any:
        """Jinja's join looks up attributes; what it joins is put together here."""
        from jinja2.filters import make_attrgetter, pass_environment

        @pass_environment
        def join(environment: Any, values: Iterable[Any], d: Any = "", attribute: Any = None) -> str:
            return _join(values, d, make_attrgetter(environment, attribute) if attribute is not None else None)
        return join

    @staticmethod
    def _marking(function: Callable[..., Any]) -> Callable[..., Any]:
        """A filter whose new strings say where they come from."""
        @functools.wraps(function)  # which also takes over what Jinja is to pass
        def marking(*args: Any, **kwargs: Any) -> Any:
            if any(isinstance(value, Text) for value in (*args, *kwargs.values())):
                args = tuple(Text.of(value) if type(value) is str else value for value in args)
            return marked(function(*args, **kwargs), [*args, *kwargs.values()])
        return marking

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Sums, products and remainders: of strings, too."""
        if operator == "+" and (isinstance(left, Markup) or isinstance(right, Markup)):  # which escapes the other
            bare = (str.__str__(value) if isinstance(value, Text) else value for value in (left, right))
            return marked(super().call_binop(context, operator, *bare), [left, right])
        if operator == "*":
            for sequence, times in ((left, right), (right, left)):
                if hasattr(sequence, "__len__") and isinstance(times, int) and len(sequence) * times > MAX_OUTPUT:
                    raise MemoryError
        if operator == "**" and isinstance(left, int) and isinstance(right, int) \
                and left.bit_length() * right > MAX_OUTPUT:
            raise MemoryError
        if operator == "%" and isinstance(left, str):
            return formatted_percent(left, right)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: B902
        """Methods of strings give strings that say where they come from."""
        receiver, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if not isinstance(receiver, str) or isinstance(receiver, type):
            return super().call(__context, __obj, *args, **kwargs)
        given = [receiver, *args, *kwargs.values()]
        if type(receiver) is str:
            __obj = getattr(Text.of(receiver), name)
        result = super().call(__context, __obj, *args, **kwargs)
        return marked(result, given)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`str.format` and `format_map`, which could reach attributes, made safe; values keep their sources."""
        name, pattern = getattr(value, "__name__", ""), getattr(value, "__self__", None)
        if name not in ("format", "format_map") or not isinstance(pattern, str):
            return None

        def format(*args: Any, **kwargs: Any) -> str:
            if name == "format_map":
                (mapping,), args = args, ()
                kwargs = mapping
            formatter = SandboxedFormatter(self)
            if _foreign(pattern) != chr(TEMPLATE):
                return marked(formatter.vformat(str.__str__(pattern), args, kwargs), [pattern, args, kwargs])
            found: list[Any] = []
            number = 0
            for literal, field, spec, conversion in Formatter().parse(str.__str__(pattern)):
                found.append(literal)
                if field is None:
                    continue
                if field[:1] in ("", ".", "["):
                    field, number = f"{number}{field}", number + 1
                value, _ = formatter.get_field(field, args, kwargs)
                if conversion in (None, "s") and not spec:
                    found.append(value)
                else:
                    what = f"{{0!{conversion}" if conversion else "{0"
                    spec = formatter.vformat(spec or "", args, kwargs)
                    found.append(marked(f"{what}:{{1}}}}".format(value, spec), [value, spec]))
            return joined(found)
        return format


# ---------------------------------------------------------------------------------------------------------------------
# Serving


def _plain(value: Any, source: int) -> Any:
    """A value out of JSON, whose texts come from `source`; keys too."""
    if isinstance(value, str):
        return Text(value, chr(source) * len(value))
    if isinstance(value, list):
        return [_plain(part, source) for part in value]
    if isinstance(value, dict):
        return {_plain(key, source): _plain(part, source) for key, part in value.items()}
    return value


def variables(request: dict[str, Any]) -> dict[str, Any]:
    """What the template sees: `own` as the template's words, `outside` as one source, each message as one of its own.

    A message's role is the template's, for special tokens are spelled with it; whoever asks has checked that it is a
    plain word.
    """
    messages = []
    for number, message in enumerate(request["messages"]):
        known = {str.__str__(key): _plain(part, FIRST + 2 * (number + 1)) for key, part in message.items()}
        messages.append(known | ({"role": message["role"]} if "role" in message else {}))
    outside = {name: _plain(value, FIRST) for name, value in request["outside"].items()}
    return {**request["own"], **outside, "messages": messages}


def rendered(template: Any, given: dict[str, Any]) -> Text:
    """The text, within its bounds."""
    pieces, length = [], 0
    for piece in template.generate(given):
        length += len(piece)
        if length > MAX_OUTPUT:
            raise MemoryError
        pieces.append(piece)
    return joined(pieces)


def runs(sources: str) -> list[int]:
    """Sources as [source, how many times in a row, the next source, …]."""
    return [number for source, run in groupby(sources) for number in (ord(source), sum(1 for _ in run))]


def answer(request: dict[str, Any], sandbox: Sandbox, kept: OrderedDict[str, Any]) -> dict[str, Any]:
    """What a request renders, {"text", "runs"}, or why it does not, {"error", "words"}."""
    source = request["template"]
    try:
        if source not in kept:
            kept[source] = sandbox.from_string(source)
            if len(kept) > KEPT_TEMPLATES:
                kept.popitem(last=False)
        kept.move_to_end(source)
        text = rendered(kept[source], variables(request))
        return {"text": str.__str__(text[:]), "runs": runs(text.sources)}
    except TemplateSyntaxError as error:
        return {"error": "syntax", "words": f"line {error.lineno}: {error.message}"}
    except MemoryError:
        return {"error": "memory", "words": ""}
    except RecursionError:
        return {"error": "fails", "words": "it is nested, or calls itself, too deep"}
    except Exception as error:
        raised = type(error) is TemplateError
        return {"error": "raised" if raised else "fails", "words": str(error)[:1000] or type(error).__name__}


def serve(seconds: float, memory: int) -> None:
    """Answer one line of standard input with one of standard output, until it ends.

    Args:
        seconds: after so long, in one request, the process ends, whatever Python is doing: see `alarm`.
        memory: bytes that it may have at most, where the system can limit that.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks decides
    try:
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ImportError, ValueError, OSError):
        pass  # Windows has no such limit: the time is what bounds there
    sandbox, kept = Sandbox(), OrderedDict[str, Any]()
    lines, out = sys.stdin.buffer, sys.stdout.buffer
    out.write(b'{"ready": true}\n')
    out.flush()
    for line in lines:
        alarm(seconds)
        try:
            reply = json.dumps(answer(json.loads(line), sandbox, kept)).encode("ascii")
        except MemoryError:
            reply = b'{"error": "memory", "words": ""}'
        except RecursionError:
            reply = b'{"error": "fails", "words": "the messages are nested too deep"}'
        alarm(0)
        out.write(reply + b"\n")
        out.flush()


def alarm(seconds: float) -> None:
    """The process ends after so long; 0 takes that back. The system ends it by a signal that nothing here handles;
    Windows has none, and there a thread does it that needs no Python."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a parent may have had it ignored
        signal.setitimer(signal.ITIMER_REAL, seconds)
    elif seconds:
        faulthandler.dump_traceback_later(seconds, exit=True, file=open(os.devnull, "w"))
    else:
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    serve(float(sys.argv[1]), int(sys.argv[2]))
