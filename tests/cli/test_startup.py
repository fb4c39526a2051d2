"""What the command may import before it has something to do: `--help` and completion are run at every prompt."""

import subprocess
import sys

import pytest
import trustme

HEAVY = (
    "apsw",
    "asyncio",
    "deepdiff",
    "httpcore",
    "httpx",
    "jinja2",
    "orjson",
    "pydantic",
    "rich",
    "starlette",
    "trustme",
    "uvicorn",
    "yaml",
)

PROBE = """
import sys
from reconciler.cli.main import run
code = run({args!r})
print(code, *sorted(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
"""


def loaded_by(*args: str, heavy=HEAVY, cwd=None, code=0) -> set[str]:
    """The heavy modules that a command has imported, which must exit with `code`."""
    script = PROBE.format(args=list(args), heavy=heavy)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=cwd, check=False)
    exit_code, *names = done.stderr.strip().split("\n")[-1].split()
    assert exit_code == str(code), done.stderr
    return set(names)


@pytest.mark.parametrize("args", [("--help",), ("--version",)])
def test_help_and_version_import_nothing_heavy(args):
    assert loaded_by(*args) == set()


def test_health_loads_little(tmp_path):
    """What watches over a container asks every few seconds."""
    heavy = ("pydantic", "asyncio", "httpx", "yaml", "orjson")
    pem = trustme.CA().issue_cert("daemon.example.com").cert_chain_pems[0]
    pem.write_to_path(tmp_path / "cert.pem")

    assert loaded_by("health", "--listen", "127.0.0.1:1", heavy=heavy, code=1) == set()
    certificate = ("--tls-cert", "cert.pem")
    assert loaded_by("health", "--listen", "127.0.0.1:1", *certificate, heavy=heavy, cwd=tmp_path, code=1) == set()


def test_a_mistyped_command_is_usage_and_names_the_near_one(reconciler):
    done = reconciler("plann", code=64)

    assert done.stderr == "error: no such command: plann\n\nhint: did you mean `plan`?\n"
    assert done.stdout == ""


def test_an_unknown_option_is_usage_not_changes(reconciler):
    """Exit 2 means changes under --detailed-exitcode; a typo must not read so."""
    reconciler("plan", "--detailed-exitcod", code=64)


def test_every_command_of_the_table_exists_and_has_help(reconciler):
    from reconciler.cli.main import COMMANDS

    for name in COMMANDS:
        assert "Usage: reconciler" in reconciler(name, "--help").stdout


MANIFEST = """\
apiVersion: reconciler/v1
kind: Webhook
metadata: {name: one}
spec:
  url: https://acme.workflows.okta.com/api/flo/0123456789abcdef0123456789abcdef/invoke
  triggers: [RequestCreated]
"""


def test_a_plan_without_changes_imports_neither_deepdiff_nor_httpx(reconciler, tmp_path):
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "one.yaml").write_text(MANIFEST)
    reconciler("apply", "--auto-approve")

    assert loaded_by("plan", heavy=("deepdiff", "httpx", "httpcore", "starlette", "rich"), cwd=tmp_path) == set()


def test_a_caller_of_the_command_goes_on_after_it() -> None:
    """Its SystemExit is an exception like any other: the process ends as its caller has it end."""
    code = """if True:
        import gc
        from reconciler.cli.main import main
        before = gc.get_threshold()
        try:
            main(["plan", "--no-such-option"])
        except SystemExit as exc:
            print(exc.code, gc.get_threshold() == before)
    """

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.stdout, done.returncode) == ("64 True\n", 0)


@pytest.mark.parametrize(("args", "code"), [(("--version",), 0), (("plan", "--no-such-option"), 64)])
def test_a_command_ends_with_its_code_after_what_others_registered_for_the_end(
    args: tuple[str, ...], code: int
) -> None:
    """A command does not take its memory apart at its end, but nothing else is left out."""
    script = f"""if True:
        import atexit, sys
        from reconciler.cli import main
        run = main.run
        main.run = lambda: (atexit.register(print, "end"), run({list(args)!r}))[1]
        main.main()
    """

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == code
    assert done.stdout.endswith("end\n")
