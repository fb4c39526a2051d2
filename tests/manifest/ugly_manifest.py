"""Manifests as people leave them: any indentation, order, spacing and style, with comments everywhere.

A text is drawn together with the documents it says and the comments it has, so that neither need be read from it.
"""

import string
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

Draw = Any

MARK = "§"  # stands in comments only, around a number that each has of its own

KEYS = ["apiVersion", "kind", "metadata", "spec", "extra"]
SPEC_KEYS = ["status", "url", "headers", "triggers", "filters", "body_template", "retry", "auth", "signing", "unknown"]
FREE_KEYS = ["a", "b-c", "x y", "x-api-client-token", "not_before", "key", "integration", "id", "name", "type"]
comment_texts = st.text(string.ascii_letters + string.digits + " :#-{}[]\"'|>é", max_size=12).map(str.strip)
words = st.text(string.ascii_letters + string.digits + "/.", min_size=1, max_size=8).map(lambda word: "w" + word)
block_lines = st.text(string.ascii_letters + " #:-{}\"'\t|", max_size=10)
spaces = st.sampled_from(["", "", " ", "  ", "   "])


@dataclass
class Ugly:
    """A text under construction; `values` are its documents."""

    draw: Draw
    lines: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"

    def comment(self) -> str:
        text = f"#{self.draw(spaces)}{MARK}{len(self.comments)}{MARK} {self.draw(comment_texts)}".rstrip()
        self.comments.append(text)
        return text + self.draw(spaces)

    def remarks(self, column: int) -> None:
        """Comments and empty lines of their own; `column` is where what follows stands."""
        for _ in range(self.draw(st.sampled_from([0, 0, 0, 1, 2, 4]))):
            if self.draw(st.booleans()):
                self.lines.append(self.draw(spaces))
            else:
                at = self.draw(st.sampled_from([column, column, 0, column + 2, column + 5, max(0, column - 1)]))
                self.lines.append(" " * at + self.comment())

    def beside(self, gaps: str = " \t") -> str:
        """The end of a line."""
        if self.draw(st.integers(0, 4)):
            return self.draw(spaces)
        return self.draw(st.sampled_from([*gaps, "   "])) + self.comment()

    def mapping(self, column: int, keys: list[str], depth: int, first: str | None = None) -> dict[str, Any]:
        chosen = self.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=4, unique=True))
        value: dict[str, Any] = {}
        for number, key in enumerate(chosen):
            if number or first is None:
                self.safe_remarks(column)
            start = first if not number and first is not None else " " * column
            quote = self.draw(st.sampled_from(["", "", "'", '"']))
            gap = self.draw(spaces)
            below = SPEC_KEYS if key == "spec" else FREE_KEYS
            value[key] = self.value(f"{start}{quote}{key}{quote}{gap}:", column, below, depth)
        return value

    def sequence(self, column: int, depth: int, first: str | None = None) -> list[Any]:
        items = []
        for number in range(self.draw(st.integers(1, 3))):
            if number or first is None:
                self.safe_remarks(column)
            start = first if not number and first is not None else " " * column
            items.append(self.value(f"{start}-", column, FREE_KEYS, depth, is_item=True))
        return items

    def safe_remarks(self, column: int) -> None:
        """Remarks that are no part of a block scalar above: the first comment stands at the column of what follows."""
        if self.lines and self.draw(st.booleans()):
            self.lines.append(" " * column + self.comment())
            self.remarks(column)

    def value(self, head: str, column: int, keys: list[str], depth: int, *, is_item: bool = False) -> Any:
        kinds = ["plain", "quoted", "double", "flow", "block", "below", "null", "long"]
        kind = self.draw(st.sampled_from(kinds + ["mapping", "sequence", "mapping"] * (depth > 0)))
        gap = self.draw(st.sampled_from([" ", " ", "   ", " " if is_item else "\t"]))
        step = self.draw(st.integers(1, 5))
        match kind:
            case "plain":
                word = self.draw(words)
                self.lines.append(f"{head}{gap}{word}{self.beside()}")
                return word
            case "quoted":
                word = self.draw(words) + " # 'x'"
                quoted = word.replace("'", "''")
                self.lines.append(f"{head}{gap}'{quoted}'{self.beside()}")
                return word
            case "double":
                one, two = self.draw(words), self.draw(words)
                pad = " " * (column + step)
                self.lines += [
                    f'{head}{gap}"{one}{self.draw(spaces)}',
                    "",
                    f"{pad}{two}\\",
                    f'{pad}  \\  #"{self.beside()}',
                ]
                return f"{one}\n{two}  #"
            case "flow":
                return self.flow(head, gap, column)
            case "block":
                return self.block(head, gap, column, step)
            case "below":
                self.lines.append(head + self.beside(" "))
                self.remarks(column + step)
                word = self.draw(words)
                self.lines.append(" " * (column + step) + word + self.beside())
                return word
            case "null":
                self.lines.append(head + self.beside(" "))
                return None
            case "long":
                one, two = self.draw(words), self.draw(words)
                self.lines += [f"{head}{gap}{one}", f"{' ' * (column + step)}{two}{self.beside()}"]
                return f"{one} {two}"
            case "sequence":
                is_compact = is_item and self.draw(st.booleans())
                below = column if not is_item and self.draw(st.booleans()) else column + step
                if is_compact:
                    first = head + " " * step
                    return self.sequence(len(first), depth - 1, first)
                self.lines.append(head + self.beside(" "))
                self.remarks(below)
                return self.sequence(below, depth - 1, " " * below)
            case _:
                if is_item and self.draw(st.booleans()):
                    first = head + " " * step
                    return self.mapping(len(first), keys, depth - 1, first)
                self.lines.append(head + self.beside(" "))
                self.remarks(column + step)
                return self.mapping(column + step, keys, depth - 1, " " * (column + step))

    def flow(self, head: str, gap: str, column: int) -> Any:
        one, two = self.draw(words), self.draw(words)
        pad = " " * (column + self.draw(st.integers(1, 5)))
        match self.draw(st.integers(0, 3)):
            case 0:
                self.lines.append(f"{head}{gap}[{one},{self.draw(spaces)}{two} ]{self.beside()}")
                return [one, two]
            case 1:
                self.lines += [
                    f"{head}{gap}[{self.beside()}",
                    f"{pad}{one},{self.beside()}",
                    "",
                    f"{pad}{two}",
                    f"{pad}]",
                ]
                return [one, two]
            case 2:
                self.lines.append(
                    f'{head}{gap}{{type{self.draw(spaces)}: {one}, "id":{self.draw(spaces)}{two}}}{self.beside()}'
                )
                return {"type": one, "id": two}
            case _:
                self.lines += [
                    f"{head}{gap}{{id: [{one},",
                    f"{pad}[{two}]],{self.beside()}",
                    f'{pad}name: "{one}',
                    f'{pad}{two}"}}',
                ]
                return {"id": [one, [two]], "name": f"{one} {two}"}

    def block(self, head: str, gap: str, column: int, step: int) -> str:
        """A literal block; folded ones say the same where no two lines stand together."""
        body = self.draw(st.lists(block_lines, min_size=1, max_size=4))
        style = self.draw(st.sampled_from(["|", "|", ">"]))
        chomping = self.draw(st.sampled_from(["", "-", "+"]))
        if style == ">":
            body = [self.draw(words)]
        is_said = body[0][:1] in (" ", "\t", "") or self.draw(st.booleans())
        indicator = str(step) if is_said else ""
        order = [indicator, chomping] if self.draw(st.booleans()) else [chomping, indicator]
        self.lines.append(f"{head}{gap}{style}{''.join(order)}{self.beside()}")
        pad = " " * (column + step)
        ends = self.draw(st.integers(0, 3))
        self.lines += [pad + line if line or self.draw(st.booleans()) else "" for line in body] + [""] * ends
        text = "\n".join(body)
        match chomping:
            case "+":
                return text + "\n" * (ends + 1)
            case "-":
                return text.rstrip("\n")
            case _:
                return text.rstrip("\n") + "\n" if text.strip("\n") else ""


@st.composite
def ugly_manifests(draw: Draw) -> Ugly:
    """One to three documents, the separators in their several forms."""
    ugly = Ugly(draw)
    for number in range(draw(st.integers(1, 3))):
        ugly.remarks(0) if not number else None
        if number or draw(st.booleans()):
            ugly.lines += draw(st.sampled_from([["---"], ["---"], ["---", "---"]] + [["...", "---"]] * bool(number)))
            ugly.lines[-1] += ugly.beside()
            ugly.remarks(0)
        column = draw(st.sampled_from([0, 0, 0, 2]))
        ugly.values.append(ugly.mapping(column, KEYS, 3, " " * column))
    if draw(st.booleans()):
        ugly.lines.append(ugly.comment())
    return ugly
