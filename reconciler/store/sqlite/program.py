"""Several statements run as one: a program is a temporary trigger of the writing connection, SQLite's procedure.

After each statement a thread queues for the interpreter's lock beside the event loop, which takes longer than the
statement did. So a verb that runs for each delivery reads what it decides by, and writes all of it with one program.
Installed when the writing connection is opened; nothing of it stands in the file.
"""

import re
from dataclasses import dataclass
from typing import Final

import apsw

from reconciler.store.sqlite.connection import run

_PARAMETER: Final = re.compile(r":([a-z_]+)")


@dataclass(frozen=True, slots=True)
class Program:
    """Statements that change something, written as any others, with parameters like `:seqs`. A trigger knows neither
    WITH nor INDEXED BY."""

    name: str
    statements: tuple[str, ...]

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of all parameters, in the order in which they come first."""
        return tuple(dict.fromkeys(_PARAMETER.findall(";".join(self.statements))))

    def install(self, db: apsw.Connection) -> None:
        """Make it known to a connection."""
        names = ", ".join(f'"{name}"' for name in self.parameters)
        nothing = ", ".join("NULL" for _ in self.parameters)
        body = ";\n".join(_PARAMETER.sub(r'NEW."\1"', statement) for statement in self.statements)
        run(db, f"CREATE TEMP VIEW {self.name} ({names}) AS SELECT {nothing}")
        run(db, f"CREATE TEMP TRIGGER run_{self.name} INSTEAD OF INSERT ON {self.name} BEGIN {body}; END")


def of_table(statement: str, table: str) -> str:
    """The statement with its parameters read from the only row of a table, whose columns have their names: a view knows
    no parameters, and is the only place of a program where WITH may stand."""
    return _PARAMETER.sub(rf'(SELECT "\1" FROM {table})', statement)


def call_of(program: Program) -> str:
    """The one statement that runs a program: `run` it with all its parameters."""
    return f"INSERT INTO temp.{program.name} VALUES ({', '.join(f':{name}' for name in program.parameters)})"
