"""`${var:name}`: variables of the command line and of files, put into a scalar before it gets its type.

Called by `manifest.parse` for every scalar that holds a `$`, and by `manifest.spans` to lead an offset back. A value is
never scanned again: what it says literally is escaped as the manifest's author would have escaped it.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import yaml

from reconciler.errors import ReconcilerError
from reconciler.manifest.compose import compose

VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

_TOKEN: Final = re.compile(r"\$\$\{|\$\{(?:var:(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|secret:[a-z][a-z0-9_]*)\}|\$\{")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPE_HINT: Final = "write ${var:NAME} or ${secret:NAME}; a literal ${ is written $${"


@dataclass(frozen=True, slots=True)
class ReferenceFault:
    """What is wrong with the characters from `start` up to `end` of a scalar."""

    code: str
    start: int
    end: int
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Filled:
    """A scalar's text with the variables put in. `starts` are offsets in `text`, `sources` those in the scalar; where
    `is_value` holds, the characters up to the next start came from a variable."""

    text: str
    starts: tuple[int, ...]
    sources: tuple[int, ...]
    is_value: tuple[bool, ...]
    faults: tuple[ReferenceFault, ...]

    def source_offset(self, offset: int) -> int:
        """The offset in the scalar of an offset in `text`; one inside a variable's value leads to its reference."""
        index = max(0, bisect_right(self.starts, offset) - 1)
        if self.is_value[index]:
            return self.sources[index]
        return self.sources[index] + offset - self.starts[index]


def fill(text: str, variables: Mapping[str, str]) -> Filled:
    """Put the variables in; `$${` and `${secret:…}` stay as they are, any other `${` is a fault."""
    out = ""
    pieces: list[tuple[int, int, bool]] = []
    faults: list[ReferenceFault] = []
    done = 0
    for match in _TOKEN.finditer(text):
        out = _append(out, text[done : match.start()], done, pieces, is_value=False)
        done = match.end()
        name = match["name"]
        if name is not None and name in variables:
            out = _append(out, variables[name].replace("${", "$${"), match.start(), pieces, is_value=True)
            continue
        if name is not None:
            faults.append(_unset(match, name, variables))
        elif match[0] == "${":
            faults.append(_bad(match, text))
        elif match[0] != "$${" and pieces and pieces[-1][2] and out.endswith("$"):
            message = "a variable's value ends in $ before a reference, which would make it literal"
            faults.append(
                ReferenceFault("reference.bad", match.start(), match.end(), message, "put a character between")
            )
        out = _append(out, match[0], match.start(), pieces, is_value=False)
    out = _append(out, text[done:], done, pieces, is_value=False)
    starts, sources, is_value = zip(*pieces, strict=True) if pieces else ((0,), (0,), (False,))
    return Filled(out, starts, sources, is_value, tuple(faults))


def _append(out: str, piece: str, source: int, pieces: list[tuple[int, int, bool]], *, is_value: bool) -> str:
    if not piece:
        return out
    # A `$` and a `{` that meet only here are literal: they must not read as the beginning of a reference.
    if out.endswith("$") and piece[0] == "{" and (is_value or pieces[-1][2]):
        out += "$"
    pieces.append((len(out), source, is_value))
    return out + piece


def _unset(match: re.Match[str], name: str, variables: Mapping[str, str]) -> ReferenceFault:
    close = get_close_matches(name, variables, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"set it: --var {name}=VALUE, or in a --var-file"
    return ReferenceFault("reference.unset", match.start(), match.end(), f"the variable is not set: {name}", hint)


def _bad(match: re.Match[str], text: str) -> ReferenceFault:
    close = text.find("}", match.end(), match.end() + 64)
    end = close + 1 if close >= 0 else match.end()
    inside = text[match.end() : close] if close >= 0 else ""
    if inside.startswith("secret:"):
        hint = "a secret's name is a-z, 0-9 and _, beginning with a letter"
        return ReferenceFault("reference.bad", match.start(), end, "the name of a secret cannot be read", hint)
    if inside.startswith("var:"):
        hint = "a variable's name is letters, digits, - and _, beginning with a letter"
        return ReferenceFault("reference.bad", match.start(), end, "the name of a variable cannot be read", hint)
    return ReferenceFault("reference.bad", match.start(), end, "`${` begins no reference", _ESCAPE_HINT)


def check_value(name: str, value: str, where: str) -> str:
    """The value, if a manifest could hold it. Raises ReconcilerError, which does not say the value."""
    if bad := _CONTROL.search(value):
        raise ReconcilerError(f"the variable {name} of {where} holds a character that manifests cannot: {bad[0]!a}")
    return value


def read_file(file: Path) -> dict[str, str]:
    """The variables of a YAML mapping of scalars, each as written: 007 stays 007. Raises ReconcilerError, OSError."""
    hint = "write a YAML mapping like region: eu"
    try:
        root = next(compose(file.read_text("utf-8-sig")), None)
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ReconcilerError(f"`--var-file` is not YAML: {file}", hint=hint) from exc
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise ReconcilerError(f"`--var-file` is not a mapping: {file}", hint=hint)
    variables: dict[str, str] = {}
    for key, value in root.value:
        where = f"{file}:{key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode) or not VARIABLE_NAME.fullmatch(key.value):
            raise ReconcilerError(f"not a variable's name: {where}", hint=hint)
        if not isinstance(value, yaml.ScalarNode):
            raise ReconcilerError(f"the variable {key.value} is not a scalar: {where}", hint=hint)
        if key.value in variables:
            raise ReconcilerError(f"the variable {key.value} is set twice: {where}")
        variables[key.value] = check_value(key.value, value.value, where)
    return variables
