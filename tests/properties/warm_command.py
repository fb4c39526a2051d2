"""Run as a process of its own: commands that start at once, each in a process forked from this one, which has imported
what they need. A line on stdin is a JSON list of command lines, run at the same time; the answer is a line with their
process ids. The next line on stdin has them waited for; the answer is their exit codes, as Popen has them."""

import importlib
import json
import os
import sys
from typing import NoReturn

from reconciler.cli.main import run

for name in (
    *("apply", "cli.plan", "cli.view", "cli.view_plan", "cli.state", "cli.provenance", "store.open"),
    *("store.sqlite.store", "plan.saved", "plan.rebase", "manifest.load", "cli.perform"),
):
    importlib.import_module(f"reconciler.{name}")


def serve(args: list[str]) -> NoReturn:
    """A command's whole life, in the forked process."""
    code = 70
    try:
        for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
            os.dup2(os.open(os.devnull, mode), number)
        code = run(args)
    finally:
        os._exit(code)


def say(numbers: list[int]) -> None:
    sys.stdout.write(f"{json.dumps(numbers)}\n")
    sys.stdout.flush()


def main() -> None:
    for line in iter(sys.stdin.readline, ""):
        pids = []
        for args in json.loads(line):
            pid = os.fork()
            if pid == 0:
                serve(args)
            pids.append(pid)
        say(pids)
        sys.stdin.readline()
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        say(codes)


if __name__ == "__main__":
    main()
