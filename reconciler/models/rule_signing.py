"""What a manifest may say of signing keys, and when none of them signs. Pure, one document at a time.

Called by `models.rule`, and by `manifest.validate` with the time for what only time tells. While no key signs,
deliveries wait: so what is only likely to be wrong is a warning.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from reconciler.errors import Severity
from reconciler.models.credential import parse_time
from reconciler.models.fault import Fault, Faults, Path, show
from reconciler.models.url import mapping_at, plain_secret
from reconciler.models.webhook import secret_names

_KEYS: Final = ("spec", "signing", "keys")
_TIMES: Final = ("not_before", "not_after")
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)

Window = tuple[datetime, datetime, Path, Mapping[str, Any]]  # begin, end, where the key stands, the key


def check_signing(spec: Mapping[str, Any]) -> Faults:
    """The faults of a spec's signing keys that hold at any time."""
    faults = list(_key_faults(spec))
    yield from faults
    if not faults:
        yield from _gaps(_windows(spec))


def check_signing_now(spec: Mapping[str, Any], now: datetime) -> Faults:
    """Warnings on signing keys that have ended at `now`, and where none signs; the latter says more than the warning
    that some day none will."""
    windows = [] if any(_key_faults(spec)) else _windows(spec)
    ended = [window for window in windows if window[1] <= now]
    if windows and not any(begin <= now < end for begin, end, _, _ in windows):
        begins = [(begin, key) for begin, _, _, key in windows if begin > now]
        when = f"begins at {min(begins, key=_first)[1]['not_before']}" if begins else f"ended at {_last_end(ended)}"
        message = f"no signing key is valid now: the {'next' if begins else 'last'} one {when}"
        hint = "deliveries wait meanwhile, since nothing is sent unsigned; add a key that is valid"
        yield Fault("signing.none_now", _KEYS, message, hint, Severity.WARNING, on_key=True)
        return
    for _, _, path, key in ended:
        message = f"`{show(path)}` has ended and signs no more: {key['not_after']}"
        yield Fault("signing.ended", (*path, "not_after"), message, "remove the key", Severity.WARNING)


def _key_faults(spec: Mapping[str, Any]) -> Faults:
    for path, key in _keys(spec):
        secret = key.get("key")
        if isinstance(secret, str) and secret and not secret_names(secret):
            yield plain_secret((*path, "key"))
        times = {field: parse_time(key.get(field)) for field in _TIMES}
        for field in _TIMES:
            value = key.get(field)
            if isinstance(value, str) and times[field] is None:
                message = f"`{show((*path, field))}` is not a time with its offset: {ascii(value[:80])[1:-1]}"
                yield Fault("signing.time", (*path, field), message, 'like "2026-01-31T09:00:00Z" (RFC 3339)')
        begin, end = times.values()
        if begin and end and begin >= end:
            yield Fault("signing.time", (*path, "not_after"), f"`{show((*path, 'not_after'))}` is not after not_before")


def _keys(spec: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    keys = mapping_at(spec, "signing").get("keys")
    for index, key in enumerate(keys if isinstance(keys, list) else ()):
        if isinstance(key, Mapping):
            yield (*_KEYS, index), key


def _windows(spec: Mapping[str, Any]) -> list[Window]:
    """The windows of all keys, which are without fault, by their begin."""
    windows = [
        (parse_time(key.get("not_before")) or _FIRST, parse_time(key.get("not_after")) or _LAST, path, key)
        for path, key in _keys(spec)
    ]
    return sorted(windows, key=_first)


def _gaps(windows: list[Window]) -> Faults:
    """A warning for each time between windows in which no key signs, and for that after the last."""
    last: Window | None = None  # of those so far the one that ends last
    for window in windows:
        begin, end, path, key = window
        if last is not None and begin > last[1]:
            message = f"no signing key is valid from {last[3]['not_after']} to {key['not_before']}"
            hint = "let windows overlap, by at least the time that receivers need to take the new key"
            yield Fault("signing.gap", (*path, "not_before"), message, hint, Severity.WARNING)
        if last is None or end > last[1]:
            last = window
    if last is not None and last[1] != _LAST:
        message = f"no signing key is valid from {last[3]['not_after']} on"
        hint = "deliveries wait then; add the key that follows, or leave its not_after out until there is one"
        yield Fault("signing.end", (*last[2], "not_after"), message, hint, Severity.WARNING)


def _first(item: tuple[datetime, *tuple[Any, ...]]) -> datetime:
    return item[0]


def _last_end(ended: list[Window]) -> str:
    return str(max(ended, key=lambda window: window[1])[3]["not_after"])
