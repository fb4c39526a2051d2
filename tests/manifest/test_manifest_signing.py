"""Signing keys in manifests: what is warned of at any time, and what only time tells."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.manifest.load import Manifests, load_manifests
from reconciler.models.rule_signing import check_signing, check_signing_now

Key = dict[str, Any]
NOW = datetime(2026, 6, 1, tzinfo=UTC)
MAY, JUNE, JULY = "2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z"
HEAD = """\
apiVersion: reconciler/v1
kind: Webhook
metadata: {name: signed}
spec:
  url: https://hooks.example.com/in
  triggers: [RequestCreated]
"""


def key(not_before: str | None = None, not_after: str | None = None) -> Key:
    return {"key": "${secret:k}", "not_before": not_before, "not_after": not_after}


def codes(check: Callable[[dict[str, Any]], Any], *keys: Key) -> list[str]:
    return [fault.code for fault in check({"signing": {"keys": list(keys)}})]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([key()], []),
        ([key(None, JUNE), key(MAY, None)], []),
        ([key(MAY, None), key(None, JUNE)], []),
        ([key(None, JUNE), key(JUNE, None)], []),
        ([key(None, MAY), key(JUNE, None)], ["signing.gap"]),
        ([key(JUNE, None), key(None, MAY)], ["signing.gap"]),
        ([key(None, MAY), key(JUNE, JULY), key(None, None)], []),
        ([key(None, "2026-05-01T02:00:00+02:00"), key(MAY, None)], []),
        ([key(MAY, JULY)], ["signing.end"]),
        ([key(None, JULY), key(MAY, JUNE)], ["signing.end"]),
        ([key(None, MAY), key(JUNE, JULY)], ["signing.gap", "signing.end"]),
        ([key(None, "2026-01-01T00:00:00Z"), key(MAY, JUNE), key(JULY, None)], ["signing.gap", "signing.gap"]),
    ],
)
def test_windows_that_leave_a_gap_are_warned_of(keys: list[Key], expected: list[str]) -> None:
    """In whatever order they stand and whatever their offsets; touching windows leave none, the last may end."""
    assert codes(check_signing, *keys) == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([key()], []),
        ([key(MAY, JULY)], []),
        ([key(None, MAY), key()], ["signing.ended"]),
        ([key(None, JUNE), key(JUNE)], ["signing.ended"]),
        ([key(None, JUNE)], ["signing.none_now"]),
        ([key(JULY)], ["signing.none_now"]),
        ([key(None, MAY), key(JULY)], ["signing.none_now"]),
        ([key("soon")], []),
        ([], []),
    ],
)
def test_what_time_has_overtaken_is_warned_of(keys: list[Key], expected: list[str]) -> None:
    """A key that has ended, and a webhook for which none is valid; ill-formed windows are reported elsewhere."""
    assert codes(lambda spec: check_signing_now(spec, NOW), *keys) == expected


def test_the_warning_says_since_when_or_until_when_nothing_is_signed() -> None:
    (coming,) = check_signing_now({"signing": {"keys": [key(None, MAY), key(JULY)]}}, NOW)
    (ended,) = check_signing_now({"signing": {"keys": [key(None, MAY)]}}, NOW)

    assert coming.message == f"no signing key is valid now: the next one begins at {JULY}"
    assert ended.message == f"no signing key is valid now: the last one ended at {MAY}"


def load(path: Path, now: datetime | None) -> Manifests:
    return load_manifests([path], now=now)


def test_only_who_gives_the_time_is_told_what_time_has_overtaken(tmp_path: Path) -> None:
    """A plan of the same files is the same at any time; `validate` gives the time."""
    file = tmp_path / "signed.yaml"
    file.write_text(f"{HEAD}  signing: {{keys: [{{key: '${{secret:k}}', not_after: '{MAY}'}}]}}\n")

    assert [problem.code for problem in load(file, None).problems] == ["signing.end"]
    [problem] = load(file, NOW).problems
    assert (problem.code, problem.path, problem.line, problem.is_error) == (
        "signing.none_now",
        "spec.signing.keys",
        7,
        False,
    )
    assert load(file, None).digest == load(file, NOW).digest


def test_the_headers_of_a_signature_cannot_be_declared(tmp_path: Path) -> None:
    """They are the daemon's, sent by it alone, be the webhook signed or not."""
    file = tmp_path / "clash.yaml"
    file.write_text(f"{HEAD}  headers: {{Webhook-Signature: v1, webhook-timestamp: '1', webhook-id: x}}\n")

    assert [problem.code for problem in load(file, None).problems] == ["header.reserved"] * 3
