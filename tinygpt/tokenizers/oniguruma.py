"""Oniguruma's regular expressions, translated for the `regex` package.

`tokenizer.json` writes its patterns for Oniguruma, the engine of Hugging Face's tokenizers, in Ruby's dialect. Most of
a pattern reads alike everywhere, and what does not is silent: `[a-w&&[^c-g]]` takes the common characters of two sets,
`\\h` is a hexadecimal digit, `^` matches at every start of a line, `x{3}+` repeats `x{3}`, `\\w` takes in "²". So a
pattern is parsed here, and written anew with one meaning. What the `regex` package has no word for is refused by name.

Prerequisites: nothing. Next: `patterns.py`.
Source: doc/RE and the character tables of github.com/kkos/oniguruma, 6.9.10 (Unicode 16).
"""

from __future__ import annotations

import re

import regex

__all__ = ["translate"]

MAX_LENGTH = 10_000  # characters of a pattern
MAX_SIZE = 10_000  # of the compiled pattern, in atoms, each counted as often as it is repeated
MAX_DEPTH = 100  # of nested groups and sets

# What stands for sets of characters; each can be put inside of a set.
_SETS = {
    "alpha": r"\p{Alphabetic}", "digit": r"\p{Nd}", "alnum": r"\p{Alphabetic}\p{Nd}", "upper": r"\p{Uppercase}",
    "lower": r"\p{Lowercase}\u0295", "space": r"\p{White_Space}", "blank": r"\t\p{Zs}", "cntrl": r"\p{Cc}",
    "punct": r"\p{P}\p{S}", "xdigit": "0-9A-Fa-f", "ascii": r"\x00-\x7f",
    "graph": r"[[^\p{White_Space}]&&[^\p{Cc}\p{Cn}\p{Cs}]]", "print": r"[^\p{Cc}\p{Cn}\p{Cs}\p{Zl}\p{Zp}]",
    "word": r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}",
}
_WORD = _SETS["word"] + "²³¹¼½¾"  # of \w and \p{Word} that stand in no set
_SHORT = {"d": "digit", "s": "space", "h": "xdigit", "w": "word"}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b"}
_IS_WORD = f"[{_WORD}]"
_ANCHORS = {
    "A": r"\A", "z": r"\Z", "Z": r"(?=\n?\Z)",
    "b": f"(?:(?<={_IS_WORD})(?!{_IS_WORD})|(?<!{_IS_WORD})(?={_IS_WORD}))",
    "B": f"(?:(?<={_IS_WORD})(?={_IS_WORD})|(?<!{_IS_WORD})(?!{_IS_WORD}))",
}
_LINE_START, _LINE_END = r"(?:\A|(?<=\n)(?!\Z))", r"(?=\n|\Z)"
_OTHERS = {"R": r"(?>\r\n|[\n-\r\x85\u2028\u2029])", "N": r"[^\n]", "O": r"[\s\S]"}
_REFUSED = {"G": "the place where the search began", "K": "keeping what stands before", "g": "calling a group",
            **dict.fromkeys("XyY", "text segments"), **dict.fromkeys("cCM", "control and meta characters")}

_INTERVAL = re.compile(r"\{(?:(\d+)(,?)(\d*)|,(\d+))\}")
_PROPERTY = re.compile(r"\{(\^?)([A-Za-z][A-Za-z0-9_ -]*)\}")
_POSIX = re.compile(r"\[:(\^?)([a-z]+):\]")
_NO_TARGET = re.compile(r"[$^]|\\[AzZbB]|\(\?<?[=!]")
_GROUP_NAME = re.compile(r"\(\?(?:<([A-Za-z_]\w*)>|'([A-Za-z_]\w*)')")
_OPTIONS = re.compile(r"\(\?([imx]*)(?:-([imx]*))?([:)])")


def translate(pattern: str) -> str:
    """The pattern for the `regex` package, version 1, with which it matches as Oniguruma does.

    Raises:
        ValueError: no pattern of Oniguruma's, one that cannot be translated, or one that is too large.

    >>> translate(r"[a-w&&[^c-g]]|\\h{2}+")
    '[[a-w]&&[[^c-g]]]|(?:[0-9A-Fa-f]{2})+'
    """
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"it is too large: {len(pattern):,} characters; at most {MAX_LENGTH:,} are read")
    parser = _Parser(pattern)
    source, _ = parser.alternatives(depth=0)
    if parser.at < len(pattern):
        raise ValueError(f"an unmatched ) at character {parser.at}")
    return source


def _literal(character: str) -> str:
    """One character, escaped where `regex` would read more into it."""
    if character.isalnum() or ord(character) > 127:
        return character
    return f"\\{character}" if character.isprintable() and character != " " else f"\\x{ord(character):02x}"


class _Parser:
    """Reads a pattern from left to right; each method returns what it read, written anew, and its size in atoms."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.any_newline = False  # option m: "." matches a newline
        self.extended = False  # option x: spaces and comments do not count
        self.n_groups = 0
        self.names = {first or second for first, second in _GROUP_NAME.findall(pattern)}

    def next_is(self, text: str) -> bool:
        """Whether `text` follows; it is stepped over."""
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) * found
        return found

    def take(self) -> str:
        """The next character."""
        if self.at >= len(self.pattern):
            raise ValueError("it ends too early")
        self.at += 1
        return self.pattern[self.at - 1]

    def found(self, expression: re.Pattern) -> re.Match | None:
        """The match of `expression` here; it is stepped over."""
        match = expression.match(self.pattern, self.at)
        if match:
            self.at = match.end()
        return match

    def alternatives(self, depth: int) -> tuple[str, int]:
        """Up to the end of the group, or of the pattern."""
        if depth > MAX_DEPTH:
            raise ValueError(f"its groups are nested more than {MAX_DEPTH} deep")
        parts, size = [], 0
        while self.at < len(self.pattern) and not self.pattern.startswith(")", self.at):
            if self.next_is("|"):
                parts.append("|")
                continue
            if self.extended and self.skip_layout():
                continue
            atom, atom_size = self.quantified(depth)
            parts.append(atom)
            size += atom_size
            if size > MAX_SIZE:
                raise ValueError(f"it is too large: more than {MAX_SIZE:,} counted repetitions")
        return "".join(parts), size

    def skip_layout(self) -> bool:
        """Step over a space or a comment."""
        if self.next_is("#"):
            end = self.pattern.find("\n", self.at)
            self.at = len(self.pattern) if end < 0 else end + 1
            return True
        if self.pattern[self.at] in " \t\n\r\f\v":
            self.at += 1
            return True
        return False

    def quantified(self, depth: int) -> tuple[str, int]:
        """An atom, and how often it is repeated."""
        if self.pattern[self.at] in "*+?":
            raise ValueError(f"nothing stands before the {self.pattern[self.at]} at character {self.at} to repeat")
        start = self.at
        atom, size = self.atom(depth)
        if self.pattern[self.at:self.at + 1] in ("*", "+", "?", "{") and _NO_TARGET.match(self.pattern, start):
            raise ValueError(f"what stands at character {start} takes no characters, so it cannot be repeated")
        while self.at < len(self.pattern):
            if self.pattern[self.at] in "*+?":
                times = self.take()
                times += self.take() if self.pattern[self.at:self.at + 1] in ("?", "+") else ""
                atom, size = atom + times, size + 1
            elif interval := self.found(_INTERVAL):
                atom, size = self.repeated(atom, size, interval)
            else:
                return atom, size
            if self.pattern[self.at:self.at + 1] in ("*", "+", "?", "{"):  # repeated once more
                atom = f"(?:{atom})"
        return atom, size

    def repeated(self, atom: str, size: int, interval: re.Match) -> tuple[str, int]:
        """{n,m}; a + behind it is another repetition, and so is a ? behind {n}: neither is possessive or lazy."""
        low, comma, high, only_high = interval.groups()
        least = int((low or "0")[:7])
        most = int((only_high or high or ("" if comma else low) or "0")[:7])
        bounded = bool(only_high or high or not comma)
        if bounded and most < least:
            raise ValueError(f"the repetition {interval[0]} counts down")
        size = size * max(least, most, 1) + 1
        if size > MAX_SIZE:
            raise ValueError(f"it is too large: more than {MAX_SIZE:,} counted repetitions")
        times = f"{{{least}}}" if bounded and least == most else f"{{{least},{most if bounded else ''}}}"
        atom += times
        if self.next_is("?"):
            return (f"(?:{atom})?" if low and not comma else f"{atom}?"), size
        return (f"(?:{atom})+" if self.next_is("+") else atom), size

    def atom(self, depth: int) -> tuple[str, int]:
        """One character, set, anchor or group."""
        character = self.take()
        if character == "(":
            return self.group(depth)
        if character == "[":
            return self.set(depth), 1
        if character == "\\":
            return self.escape(), 1
        simple = {".": r"[\s\S]" if self.any_newline else r"[^\n]", "^": _LINE_START, "$": _LINE_END}
        return simple.get(character) or _literal(character), 1

    def group(self, depth: int) -> tuple[str, int]:
        """What stands in round brackets, of which the first is read."""
        self.at -= 1
        name = self.found(_GROUP_NAME)
        if name:
            return self.inside(f"(?P<{name[1] or name[2]}>", depth)
        if self.next_is("(?#"):
            end = self.pattern.find(")", self.at)
            self.at = len(self.pattern) if end < 0 else end + 1
            return "", 0
        for opening in ("(?=", "(?!", "(?<=", "(?<!", "(?>"):
            if self.next_is(opening):
                return self.inside(opening, depth)
        if options := self.found(_OPTIONS):
            return self.with_options(options, depth)
        if self.next_is("(?"):
            raise ValueError(f"groups of the kind (?{self.pattern[self.at:self.at + 1]} cannot be translated")
        self.at += 1
        if self.names:  # beside groups with names, those without capture nothing
            return self.inside("(?:", depth)
        self.n_groups += 1
        return self.inside("(", depth)

    def inside(self, opening: str, depth: int) -> tuple[str, int]:
        """The rest of a group; options that are set in it end with it."""
        before = self.any_newline, self.extended
        source, size = self.alternatives(depth + 1)
        if not self.next_is(")"):
            raise ValueError("a group is not closed")
        self.any_newline, self.extended = before
        return f"{opening}{source})", size + 1

    def with_options(self, options: re.Match, depth: int) -> tuple[str, int]:
        """(?i: …), or (?i), which holds up to the end of the group around it, over alternatives too."""
        on, off = options[1], options[2] or ""
        before = self.any_newline, self.extended
        self.any_newline = ("m" in on or self.any_newline) and "m" not in off
        self.extended = ("x" in on or self.extended) and "x" not in off
        opening = "(?-i:" if "i" in off else "(?i:" if "i" in on else "(?:"
        source, size = self.alternatives(depth + 1)
        if options[3] == ":":
            if not self.next_is(")"):
                raise ValueError("a group is not closed")
            self.any_newline, self.extended = before
        return f"{opening}{source})", size + 1

    def escape(self) -> str:
        """What stands after a backslash, outside of a set."""
        character = self.take()
        if character in _ANCHORS:
            return _ANCHORS[character]
        if character in _OTHERS:
            return _OTHERS[character]
        if character in "123456789":
            if self.names or int(character) > self.n_groups or self.pattern[self.at:self.at + 1].isdigit():
                raise ValueError(f"\\{character} names no group that stands before it")
            return f"(?:\\{character})"
        if character == "k":
            name = self.found(re.compile(r"<([A-Za-z_]\w*)>|'([A-Za-z_]\w*)'"))
            if name is None or (name[1] or name[2]) not in self.names:
                raise ValueError("\\k cannot be translated but with the name of a group")
            return f"(?P={name[1] or name[2]})"
        return self.member(character, _WORD)[0]

    def member(self, character: str, word: str = _SETS["word"]) -> tuple[str, bool]:
        """What an escape stands for that may also stand in a set, and whether that is a set itself."""
        if character in _REFUSED:
            raise ValueError(f"\\{character} ({_REFUSED[character]}) cannot be translated")
        if character.lower() in _SHORT:
            name = _SHORT[character.lower()]
            return f"[{'^' * character.isupper()}{word if name == 'word' else _SETS[name]}]", True
        if character in "pP":
            return self.property_(word, negated=character == "P"), True
        if character in "xu0":
            return _literal(self.code_point(character)), False
        return _literal(_CONTROLS.get(character, character)), False

    def property_(self, word: str, negated: bool) -> str:
        """\\p{Name}, with "^" before a name that is denied."""
        match = self.found(_PROPERTY)
        if match is None:
            raise ValueError("\\p is followed by no property in braces")
        name = re.sub("[_ -]", "", match[2]).lower()
        negated ^= bool(match[1])
        if name == "word":
            inside = word
        elif name == "any":
            inside = r"\s\S"
        else:
            inside = _SETS.get(name) or f"\\p{{{match[2].strip()}}}"
        try:
            regex.compile(f"[{inside}]", regex.VERSION1)
        except regex.error:
            raise ValueError(f"there is no property {match[2]!r}") from None
        return f"[^{inside}]" if negated else f"[{inside}]"

    def code_point(self, kind: str) -> str:
        """The character of \\x41, \\x{1F600}, \\u0041 or \\0."""
        form = {"x": r"\{([0-9A-Fa-f]{1,8})\}|([0-9A-Fa-f]{1,2})", "u": r"([0-9A-Fa-f]{4})", "0": r"([0-7]{0,2})"}[kind]
        match = self.found(re.compile(form))
        if match is None:
            raise ValueError(f"\\{kind} is followed by no number")
        code = int(match[match.lastindex or 0] or "0", 8 if kind == "0" else 16)
        is_byte = kind == "x" and match[2] is not None
        if code > (0x7F if is_byte else 0x10FFFF) or 0xD800 <= code < 0xE000:
            raise ValueError(f"\\{kind}{match[0]} is no character")
        return chr(code)

    def set(self, depth: int) -> str:
        """What stands in square brackets, of which the first is read; && asks for what is in both sides."""
        if depth > MAX_DEPTH:
            raise ValueError(f"its sets are nested more than {MAX_DEPTH} deep")
        negated = self.next_is("^")
        sides: list[list[str]] = [[]]
        if self.pattern.startswith("]", self.at) and "]" in self.pattern[self.at + 1:]:
            sides[-1].append(_literal(self.take()))  # first of all, it closes nothing
        while not self.next_is("]"):
            if self.next_is("&&"):
                sides.append([])
            elif posix := self.found(_POSIX):
                if posix[2] not in _SETS:
                    raise ValueError(f"there is no set [:{posix[2]}:]")
                sides[-1].append(f"[{posix[1]}{_SETS[posix[2]]}]")
            elif self.next_is("["):
                sides[-1].append(self.set(depth + 1))
            else:
                sides[-1].append(self.range_())
        if not all(sides):
            raise ValueError("a set is empty")
        written = ["".join(side) for side in sides]
        inside = written[0] if len(written) == 1 else "&&".join(f"[{side}]" for side in written)
        return f"[{'^' * negated}{inside}]"

    def range_(self) -> str:
        """A character of a set, an escape, or a range of characters."""
        first, is_set = self.one_of_set()
        if is_set or not self.pattern.startswith("-", self.at) or self.pattern[self.at + 1:self.at + 2] in ("]", "["):
            return first
        if self.pattern.startswith("-&&", self.at):
            return first
        start = self.at
        self.at += 1
        last, is_set = self.one_of_set()
        if is_set:  # a-\w: the hyphen stands for itself
            self.at = start
            return first
        if _decoded(last) < _decoded(first):
            raise ValueError(f"the range {first}-{last} is empty")
        return f"{first}-{last}"

    def one_of_set(self) -> tuple[str, bool]:
        character = self.take()
        if character != "\\":
            return _literal(character), False
        character = self.take()
        if character == "b":
            return r"\x08", False
        if character in "RNOk123456789":
            raise ValueError(f"\\{character} inside of a set cannot be translated")
        return self.member(character)


def _decoded(literal: str) -> str:
    """The character that `_literal` wrote."""
    return chr(int(literal[2:], 16)) if literal.startswith("\\x") and len(literal) == 4 else literal[-1]
