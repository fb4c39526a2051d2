"""How much a manifest may send beside the body."""

from pathlib import Path

import pytest

from reconciler.manifest.load import load_manifests
from reconciler.models.size import HEADER_MAX, HEADERS_MAX, URL_MAX

URL = "https://hooks.example.com/"


def codes(folder: Path, spec: str) -> list[tuple[str, str]]:
    """Code and message of each problem of a webhook with these fields."""
    text = (
        f"apiVersion: reconciler/v1\nkind: Webhook\nmetadata: {{name: w}}\nspec:\n  triggers: [RequestCreated]\n{spec}"
    )
    (folder / "w.yaml").write_text(text)
    return [(problem.code, problem.message) for problem in load_manifests([folder]).problems]


@pytest.mark.parametrize(("length", "expected"), [(URL_MAX, []), (URL_MAX + 1, ["url.length"])])
def test_a_url_has_a_largest_length(tmp_path: Path, length: int, expected: list[str]) -> None:
    """RFC 9110, section 4.1."""
    found = codes(tmp_path, f"  url: {URL}{'a' * (length - len(URL))}\n")

    assert [code for code, _ in found] == expected


@pytest.mark.parametrize(("length", "expected"), [(HEADER_MAX, []), (HEADER_MAX + 1, ["header.length"])])
def test_a_header_has_a_largest_length(tmp_path: Path, length: int, expected: list[str]) -> None:
    """Name and value together, and the message does not repeat them."""
    found = codes(tmp_path, f"  url: {URL}\n  headers: {{x-team: {'a' * (length - len('x-team'))}}}\n")

    assert [code for code, _ in found] == expected
    assert all(len(message) < 200 for _, message in found)


def test_all_headers_have_a_largest_length_together(tmp_path: Path) -> None:
    """Many small ones make a large head too."""
    headers = "".join(f"    x-{index}: {'a' * 1000}\n" for index in range(HEADERS_MAX // 1000 + 1))

    assert [code for code, _ in codes(tmp_path, f"  url: {URL}\n  headers:\n{headers}")] == ["header.length"]
