"""Run as a process of its own: plans each (store, folder) of a JSON list, in every format, and prints one JSON line for
each: exit codes and, in Base64, the bytes that went to stdout and into the file of `--json-into`."""

import base64
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from reconciler.cli.main import main

FORMATS = (("text", "--full"), ("json",), ("markdown",))


def printed(args: list[str], out: Path) -> tuple[int, str]:
    """The command's exit code and what it wrote to the real stdout."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    try:
        main(args)
    except SystemExit as exc:
        code = exc.code
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
    assert isinstance(code, int)
    return code, base64.b64encode(out.read_bytes()).decode()


with TemporaryDirectory() as work:
    for store, folder in json.loads(sys.stdin.read()):
        into = Path(work) / "into.json"
        into.unlink(missing_ok=True)
        common = ["plan", folder, "--store", store, "--allow-empty", "--adopt", "--json-into", str(into)]
        done = [printed([*common, "--format", *how], Path(work) / "out") for how in FORMATS]
        document = base64.b64encode(into.read_bytes()).decode() if into.exists() else ""
        sys.stdout.write(json.dumps([done, document]) + "\n")
