"""Tables: whole values in a pipe, what fits on a terminal."""

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from reconciler.cli.view_table import (
    Table,
    first_and_count,
    host_of,
    short_commit,
    short_id,
    short_middle,
    short_url,
    table_lines,
)

DELIVERY = "dlv_0123456789abcdef0123456789abcdef"
TABLE = Table(
    ("ID", "NAME", "COUNT", "NOTE"),
    frozenset(("COUNT",)),
    (("ID", short_id), ("COUNT", None)),
    footnote=("ID", "NOTE"),
)
ROWS = [[DELIVERY, "one", "7", ""], [DELIVERY.replace("0", "f"), "another", "1234", "waits for a secret"]]


def lines(table: Table, rows: list[list[str]], width: int | None) -> list[str]:
    return [click.unstyle(line) for line in table_lines(table, rows, width=width)]


def test_a_pipe_gets_every_column_whole_and_no_empty_cell():
    """So that the fields of `awk` are the same on each line and on each day."""
    assert lines(TABLE, ROWS, None) == [
        "ID                                    NAME     COUNT  NOTE",
        f"{DELIVERY}  one          7  -",
        f"{DELIVERY.replace('0', 'f')}  another   1234  waits for a secret",
    ]


def test_columns_give_way_in_the_order_the_table_names():
    whole, shortened, dropped = (lines(TABLE, ROWS, width)[0] for width in (52, 51, 27))

    assert whole == "ID                                    NAME     COUNT"
    assert shortened == "ID            NAME     COUNT"
    assert dropped == "ID            NAME"


def test_on_a_terminal_a_note_stands_below_and_is_said_once():
    rows = [[f"dlv_{number}{DELIVERY[5:]}", "one", "7", "waits"] for number in range(5)]

    assert lines(TABLE, rows, 80)[-1] == "\ndlv_01234567, dlv_11234567, dlv_21234567 and 2 more: waits"


def test_an_empty_column_is_left_out_on_a_terminal():
    assert lines(Table(("A", "B", "C")), [["1", "", "3"], ["4", "", "6"]], 80) == ["A  C", "1  3", "4  6"]


def test_without_rows_there_is_the_header():
    assert lines(TABLE, [], None) == lines(TABLE, [], 80) == ["ID  NAME  COUNT  NOTE"]


def test_the_widest_text_is_cut_where_nothing_else_gives_way():
    rows = [["a" * 40, "b" * 20, "12"]]

    assert lines(Table(("A", "B", "N"), frozenset("N")), rows, 40)[1] == f"{'a' * 16}…  {'b' * 16}…  12"


@given(
    st.lists(st.lists(st.text(st.characters(categories=["L", "N"])), min_size=3, max_size=3), min_size=1, max_size=4),
    st.integers(30, 120),
)
def test_no_line_is_wider_than_the_terminal(rows, width):
    """Wide characters take two columns."""
    assert max(cell_len(line) for line in lines(Table(("A", "B", "C")), rows, width)) <= width


def test_styled_cells_are_aligned_by_what_is_seen():
    rows = [[click.style("red", fg="red"), "x"], ["longer", "y"]]

    assert lines(Table(("A", "B")), rows, 80) == ["A       B", "red     x", "longer  y"]


@pytest.mark.parametrize(
    ("shorten", "text", "expected"),
    [
        (short_id, DELIVERY, "dlv_01234567"),
        (short_id, "order-2026-11-24-0001", "order-2026-11-24-0001"),  # not ours: its beginning tells nothing
        (short_commit, "0123456789abcdef0123456789abcdef01234567", "0123456789ab"),
        (short_commit, "0123456789abcdef0123456789abcdef01234567-dirty", "0123456789ab-dirty"),
        (short_commit, "v1.2", "v1.2"),
        (short_middle, "7d0c0f5e-2b1a-4f0d-9f0e-5f4f0c9d1a01", "7d0c0f5e…1a01"),
        (short_middle, "legacy-77", "legacy-77"),
        (
            short_url,
            "https://acme.workflows.okta.com/api/flo/0123456789abcdef0123456789abcdef/invoke",
            "acme.workflows.okta.com/api/flo/01234567…/invoke",
        ),
        (host_of, "https://acme.workflows.okta.com/api/flo/x", "acme.workflows.okta.com"),
        (host_of, "acme.workflows.okta.com/api/flo/x", "acme.workflows.okta.com"),
        (first_and_count, "Created,Approved,Failed", "Created +2"),
        (first_and_count, "Created", "Created"),
    ],
)
def test_what_is_shortened_is_still_recognised(shorten, text, expected):
    assert shorten(text) == expected
