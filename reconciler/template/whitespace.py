"""White space control: what `~` removes, and the line that a block tag or a comment has to itself.

Called by `parse` on the whole tree. The rules are those of Handlebars 4.7: their conditions look at the text as it was
written, their removals happen to what is left of it.
"""

from collections.abc import Sequence

from reconciler.template.syntax import Block, Comment, Mustache, Partial, Program, Secret, Statement, Text
from reconciler.template.tokenize import WHITESPACE


def control(program: Program, *, is_root: bool = False) -> None:
    """Strip the texts of a program, and of the programs inside it, in place."""
    body = program.body
    for index, node in enumerate(body):
        if isinstance(node, Text | Secret):
            continue
        if isinstance(node, Block):
            _control_block(node)
        is_alone_before = _ends_line(body, index, is_root=is_root)
        is_alone_after = _begins_line(body, index, is_root=is_root)
        strip_before, strip_after = _strips(node)
        if strip_after:
            _trim_start(_text(body, index + 1), everything=True)
        if strip_before:
            _trim_end(_text(body, index - 1), everything=True)
        if isinstance(node, Block):
            _take_block_lines(body, index, node, is_alone_before, is_alone_after)
        elif not isinstance(node, Mustache) and is_alone_before and is_alone_after:
            _take_line(body, index)


def _control_block(block: Block) -> None:
    """Strip the edges of a block's programs, as its own tags ask."""
    for branch in (block.program, block.inverse):
        if branch is not None:
            control(branch)
    program, inverse = _branches(block)
    if block.open_strip.after:
        _trim_start(_text(program.body, 0), everything=True)
    if inverse is None:
        if block.close_strip.before:
            _trim_end(_last(program.body), everything=True)
        return
    first, last = _chain(inverse)
    if block.inverse_strip.before:
        _trim_end(_last(program.body), everything=True)
    if block.inverse_strip.after:
        _trim_start(_text(first.body, 0), everything=True)
    if block.close_strip.before:
        _trim_end(_last(last.body), everything=True)
    if _ends_line(program.body, len(program.body)) and _begins_line(first.body, -1):
        _trim_end(_last(program.body))
        _trim_start(_text(first.body, 0))


def _branches(block: Block) -> tuple[Program, Program | None]:
    """The branch after the opening tag, and the one after the `else`; a `{{^name}}` without `else` has only one."""
    if block.program is not None:
        return block.program, block.inverse
    assert block.inverse is not None
    return block.inverse, None


def _strips(node: Comment | Mustache | Partial | Block) -> tuple[bool, bool]:
    if isinstance(node, Block):
        return node.open_strip.before, node.close_strip.after
    return node.strip.before, node.strip.after


def _take_line(body: Sequence[Statement], index: int) -> None:
    """A comment or partial alone on its line takes the line with it; a partial keeps its indent."""
    _trim_start(_text(body, index + 1))
    before, node = _text(body, index - 1), body[index]
    if isinstance(node, Partial):
        node.is_alone = True
    if _trim_end(before) and before is not None and isinstance(node, Partial):
        node.indent = before.original[len(before.original.rstrip(" \t")) :]


def _take_block_lines(
    body: Sequence[Statement], index: int, block: Block, is_alone_before: bool, is_alone_after: bool
) -> None:
    """An opening or closing tag alone on its line takes the line with it."""
    program, inverse = _branches(block)
    closing = _chain(inverse)[0] if inverse else program
    opens_alone = _begins_line(program.body, -1)
    closes_alone = _ends_line(closing.body, len(closing.body))
    if opens_alone and is_alone_before:
        _trim_start(_text(program.body, 0))
        _trim_end(_text(body, index - 1))
    if closes_alone and is_alone_after:
        _trim_start(_text(body, index + 1))
        _trim_end(_last((block.inverse or program).body))


def _chain(inverse: Program) -> tuple[Program, Program]:
    """The first and the last program of `{{else}}…` or of a chain of `{{else name}}…`."""
    first = last = inverse
    if inverse.is_chained and isinstance(inverse.body[0], Block) and inverse.body[0].program:
        first = inverse.body[0].program
        while last.is_chained and isinstance(last.body[-1], Block) and last.body[-1].program:
            last = last.body[-1].program
    return first, last


def _text(body: Sequence[Statement], index: int) -> Text | None:
    """The text at an index; None where there is none."""
    node = body[index] if 0 <= index < len(body) else None
    return node if isinstance(node, Text) else None


def _last(body: Sequence[Statement]) -> Text | None:
    return _text(body, len(body) - 1)


def _ends_line(body: Sequence[Statement], index: int, *, is_root: bool = False) -> bool:
    """Whether only white space stands between the statement at `index` and the line's begin."""
    if index == 0:
        return is_root
    before = body[index - 1]
    if not isinstance(before, Text):
        return False
    rest = before.original.rstrip(WHITESPACE)
    return "\n" in before.original[len(rest) :] or (is_root and index == 1 and not rest)


def _begins_line(body: Sequence[Statement], index: int, *, is_root: bool = False) -> bool:
    """Whether only white space stands between the statement at `index` and the line's end."""
    if index + 1 >= len(body):
        return is_root
    after = body[index + 1]
    if not isinstance(after, Text):
        return False
    rest = after.original.lstrip(WHITESPACE)
    blank = after.original[: len(after.original) - len(rest)]
    return "\n" in blank or (is_root and index + 2 >= len(body) and not rest)


def _trim_start(text: Text | None, *, everything: bool = False) -> None:
    """Remove blanks up to and including the line feed, or all white space."""
    if text is None or (text.start_stripped and not everything):
        return
    if everything:
        rest = text.value.lstrip(WHITESPACE)
    else:
        rest = text.value.lstrip(" \t").removeprefix("\r").removeprefix("\n")
    text.start_stripped = rest != text.value
    text.start += len(text.value) - len(rest)
    text.value = rest


def _trim_end(text: Text | None, *, everything: bool = False) -> bool:
    """Remove trailing blanks, or all white space; True if there were any."""
    if text is None or (text.end_stripped and not everything):
        return False
    rest = text.value.rstrip(WHITESPACE if everything else " \t")
    text.end_stripped = rest != text.value
    text.value = rest
    return text.end_stripped
