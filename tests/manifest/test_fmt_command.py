"""`fmt` as people and pipelines run it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., subprocess.CompletedProcess[str]]

UGLY = "kind:   Webhook  # the kind\napiVersion: reconciler/v1\n"
NEAT = "apiVersion: reconciler/v1\nkind: Webhook  # the kind\n"


def put(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_bytes(text.encode())


def test_files_are_rewritten_and_the_changed_ones_named(reconciler: Run, tmp_path: Path) -> None:
    """The default PATH is manifests/; a second run finds nothing to do."""
    (tmp_path / "manifests").mkdir()
    put(tmp_path / "manifests", neat=NEAT, ugly=UGLY)

    assert reconciler("fmt").stdout == "manifests/ugly.yaml\n"
    assert (tmp_path / "manifests" / "ugly.yaml").read_text() == NEAT
    assert reconciler("fmt").stdout == ""


def test_check_names_what_would_change_and_exits_one(reconciler: Run, tmp_path: Path) -> None:
    """Nothing is written; exit 0 where all is neat."""
    put(tmp_path, neat=NEAT, ugly=UGLY)

    assert reconciler("fmt", "--check", "neat.yaml", "ugly.yaml", code=1).stdout == "ugly.yaml\n"
    assert (tmp_path / "ugly.yaml").read_text() == UGLY
    assert reconciler("fmt", "--check", "neat.yaml").stdout == ""


def test_a_diff_is_what_patch_would_apply(reconciler: Run, tmp_path: Path) -> None:
    """Nothing is written; the diff alone exits 0, with --check 1."""
    put(tmp_path, ugly=UGLY + "spec:\n    url: a\tb")

    diff = reconciler("fmt", "--diff", "ugly.yaml").stdout
    assert diff == reconciler("fmt", "--diff", "--check", "ugly.yaml", code=1).stdout
    assert "\\ No newline at end of file\n" in diff
    assert (tmp_path / "ugly.yaml").read_text() == UGLY + "spec:\n    url: a\tb"

    subprocess.run(["git", "apply", "-"], input=diff, text=True, cwd=tmp_path, check=True)
    assert (tmp_path / "ugly.yaml").read_text() == NEAT + "spec:\n  url: a\tb\n"


def test_a_diff_shows_no_terminal_or_runner_what_it_obeys(reconciler: Run, tmp_path: Path) -> None:
    """Texts of a pull request stand in the log of the pipeline that checks it."""
    put(tmp_path, ugly=f"text: |\n  ::add-mask::x\n  ##[error]x\n  \u202ebidi\n{UGLY}")

    diff = reconciler("fmt", "--diff", "ugly.yaml").stdout

    assert "\u202e" not in diff and "##[" not in diff
    assert not [line for line in diff.split("\n") if line.lstrip(" ").startswith("::")]


def test_stdin_goes_to_stdout(reconciler: Run, tmp_path: Path) -> None:
    """For editors: the text and nothing else, also where nothing changes."""
    assert reconciler("fmt", "-", stdin=UGLY).stdout == NEAT
    assert reconciler("fmt", "-", stdin=NEAT).stdout == NEAT
    assert reconciler("fmt", "-", "--check", stdin=UGLY, code=1).stdout == "<stdin>\n"
    assert reconciler("fmt", "-", "--diff", stdin=UGLY).stdout.startswith("--- a/<stdin>\n+++ b/<stdin>\n@@")

    failed = reconciler("fmt", "-", stdin="a: [", code=1)
    assert failed.stdout == ""
    assert "error[yaml.syntax]: <stdin>:" in failed.stderr
    assert "`-` stands alone" in reconciler("fmt", "-", "a.yaml", code=64).stderr


def test_a_file_named_by_a_hyphen_is_a_file(reconciler: Run, tmp_path: Path) -> None:
    """`./-` is no stdin."""
    (tmp_path / "-").write_text(UGLY)

    reconciler("fmt", "./-", stdin="x: [")

    assert (tmp_path / "-").read_text() == NEAT


def test_what_cannot_be_laid_out_is_reported_and_left(reconciler: Run, tmp_path: Path) -> None:
    """Every problem of every file at once, on stderr; the other files are laid out all the same."""
    put(tmp_path, alias="a: &x 1\nb: *x\n", bad="a: [\n", ugly=UGLY)

    done = reconciler("fmt", ".", "absent", code=1)

    assert done.stdout == "ugly.yaml\n"
    assert "error[layout.alias]: alias.yaml:1:4: anchors and aliases are not laid out" in done.stderr
    assert "error[yaml.syntax]: bad.yaml:2:1" in done.stderr
    assert "error[file.missing]: absent" in done.stderr
    assert (tmp_path / "alias.yaml").read_text() == "a: &x 1\nb: *x\n"
    assert (tmp_path / "bad.yaml").read_text() == "a: [\n"


def test_line_ends_and_byte_order_mark_are_one(reconciler: Run, tmp_path: Path) -> None:
    """A file that only these set apart would change, and does."""
    put(tmp_path, crlf=NEAT.replace("\n", "\r\n"), mark="\ufeff" + NEAT)

    assert reconciler("fmt", "--check", ".", code=1).stdout == "crlf.yaml\nmark.yaml\n"
    reconciler("fmt", ".")

    assert (tmp_path / "crlf.yaml").read_bytes() == (tmp_path / "mark.yaml").read_bytes() == NEAT.encode()


def test_mode_and_links_outlast_the_rewriting(reconciler: Run, tmp_path: Path) -> None:
    """The link stays one, the file it leads to gets the text; nothing else is left beside it."""
    (tmp_path / "real").mkdir()
    put(tmp_path / "real", ugly=UGLY)
    (tmp_path / "real" / "ugly.yaml").chmod(0o640)
    (tmp_path / "link.yaml").symlink_to("real/ugly.yaml")

    assert reconciler("fmt", "link.yaml").stdout == "link.yaml\n"

    assert (tmp_path / "link.yaml").is_symlink()
    assert (tmp_path / "real" / "ugly.yaml").read_text() == NEAT
    assert (tmp_path / "real" / "ugly.yaml").stat().st_mode & 0o7777 == 0o640
    assert os.listdir(tmp_path / "real") == ["ugly.yaml"]


def test_a_reader_sees_the_old_text_or_the_new_one(reconciler: Run, tmp_path: Path) -> None:
    """The file is replaced, not rewritten: what was opened before keeps its text."""
    put(tmp_path, ugly=UGLY)

    with (tmp_path / "ugly.yaml").open() as opened:
        reconciler("fmt", "ugly.yaml")

        assert opened.read() == UGLY
    assert (tmp_path / "ugly.yaml").read_text() == NEAT


def test_a_file_that_cannot_be_written_is_a_problem(tmp_path: Path, command_env: dict[str, str]) -> None:
    """The folder is gone when the new text shall be put there: exit 1, no name on stdout."""
    folder = tmp_path / "deleted"
    folder.mkdir()
    put(folder, ugly=UGLY)
    program = (
        "import os, shutil\n"
        "from reconciler.manifest import fmt\n"
        "laid_out = fmt.format_text\n"
        "def format_text(file, text):\n"
        f"    shutil.rmtree({str(folder)!r})\n"
        "    return laid_out(file, text)\n"
        "fmt.format_text = format_text\n"
        "from reconciler.cli.main import main\n"
        f"main(['fmt', {str(folder)!r}])\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], env=command_env, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert "error[file.unwritable]" in done.stderr and "no such file or directory" in done.stderr


def test_an_empty_folder_is_said_to_be_one(reconciler: Run, tmp_path: Path) -> None:
    """Nothing to do is no failure, but no silence."""
    (tmp_path / "manifests").mkdir()

    done = reconciler("fmt")

    assert (done.stdout, done.stderr) == ("", "no manifests in manifests\n")
