"""How long a receiver asks to be left alone, from its answer's headers; pure, called by `egress.deliver`."""

from collections.abc import Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

RETRY_AFTER_MAX_SECONDS: Final = 3600.0  # a receiver must not be able to park its deliveries for good
RESET_STATUSES: Final = (429, 503)  # Okta sends its rate-limit headers with every answer; here they say "wait"
EPOCH_MIN: Final = 1_000_000_000  # a smaller x-rate-limit-reset is a number of seconds, not a date (2001)
EPOCH_MILLISECONDS_MIN: Final = 100 * EPOCH_MIN  # a date in milliseconds (1973), since in seconds it were the year 5138


def retry_after_seconds(status: int | None, headers: Iterable[tuple[str, str]], *, now: float) -> float | None:
    """Seconds in [0, RETRY_AFTER_MAX_SECONDS], or None where an answer does not ask for a wait.

    `Retry-After` (RFC 9110, section 10.2.3: seconds or a date) of any answer that is not 2xx, else on 429 and 503
    `x-rate-limit-reset` (seconds since the epoch, as Okta sends it; or milliseconds; or a number of seconds). `now` is
    seconds since the epoch.
    """
    if status is None or 200 <= status < 300:
        return None
    found = {name.lower(): value.strip() for name, value in headers}
    seconds = _of_retry_after(found.get("retry-after", ""), now)
    if seconds is None and status in RESET_STATUSES:
        seconds = _of_reset(found.get("x-rate-limit-reset") or found.get("x-ratelimit-reset") or "", now)
    return None if seconds is None else min(max(seconds, 0.0), RETRY_AFTER_MAX_SECONDS)


def _of_retry_after(value: str, now: float) -> float | None:
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now


def _of_reset(value: str, now: float) -> float | None:
    if not (value.isascii() and value.isdigit()):
        return None
    number = float(value[:15])
    if number >= EPOCH_MILLISECONDS_MIN:
        number /= 1000
    return number - now if number >= EPOCH_MIN else number
