"""How long a receiver asks to be left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.egress.retry_after import retry_after_seconds

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry-after": "30"}, 30),
        (429, {"Retry-After": " 30 "}, 30),
        (503, {"retry-after": "0"}, 0),
        (500, {"retry-after": "5"}, 5),
        (301, {"retry-after": "5"}, 5),
        (429, {"retry-after": "86400"}, 3600),
        (429, {"retry-after": "9" * 5000}, 3600),
        (429, {"retry-after": "Fri, 15 Jan 2027 08:01:00 GMT"}, 60),
        (429, {"retry-after": "Fri, 15 Jan 2027 08:01:00"}, 60),
        (429, {"retry-after": "Friday, 15-Jan-27 08:01:00 GMT"}, 60),
        (429, {"retry-after": "Fri, 15 Jan 2027 07:59:00 GMT"}, 0),
        (429, {"retry-after": "Fri, 15 Jan 2028 08:00:00 GMT"}, 3600),
        (429, {"x-rate-limit-reset": "1800000007"}, 7),
        (503, {"x-rate-limit-reset": "1800000007"}, 7),
        (429, {"x-rate-limit-reset": "7"}, 7),
        (429, {"x-rate-limit-reset": "1799999990"}, 0),
        (429, {"x-rate-limit-reset": "1800000007250"}, 7.25),
        (429, {"x-rate-limit-reset": "1799999990000"}, 0),
        (429, {"x-rate-limit-reset": "9" * 5000}, 3600),
        (429, {"retry-after": "3", "x-rate-limit-reset": "1800000007"}, 3),
        (429, {"retry-after": "soon", "x-rate-limit-reset": "1800000007"}, 7),
        (500, {"x-rate-limit-reset": "1800000007"}, None),
        (200, {"retry-after": "5", "x-rate-limit-reset": "1800000007"}, None),
        (None, {}, None),
        (429, {}, None),
        (429, {"retry-after": ""}, None),
        (429, {"retry-after": "-5"}, None),
        (429, {"retry-after": "1.5"}, None),
        (429, {"retry-after": "²"}, None),
        (429, {"retry-after": "Fri, 99 Jan 2027 08:00:00 GMT"}, None),
        (429, {"x-rate-limit-reset": "soon"}, None),
    ],
)
def test_a_wait_is_read_from_the_headers_and_bounded(
    status: int | None, headers: dict[str, str], seconds: float | None
) -> None:
    """RFC 9110, section 10.2.3, and Okta's rate-limit headers."""
    assert retry_after_seconds(status, headers.items(), now=NOW) == seconds


@given(status=st.integers(100, 599), value=st.text(), reset=st.text())
def test_any_header_gives_a_bounded_wait_or_none(status: int, value: str, reset: str) -> None:
    """A receiver cannot park a delivery for good, nor break us."""
    seconds = retry_after_seconds(status, [("retry-after", value), ("x-rate-limit-reset", reset)], now=NOW)

    assert seconds is None or 0 <= seconds <= 3600
