"""How large a request may be: what receivers commonly take, and a bound on what one event can make us send.

Asked by `models.url` and `models.rule` for what a manifest says, and by `request.size` for what came of it. Pure.
"""

from typing import Final

URL_MAX: Final = 8_000  # bytes: what every recipient should support (RFC 9110, section 4.1)
HEADER_MAX: Final = 8_000  # bytes of one field, name and value; nginx and Apache read lines of 8 KiB
HEADERS_MAX: Final = 16_000  # bytes of all fields; Node.js takes 16 KiB, others more
BODY_MAX: Final = 1024 * 1024  # bytes: as much as a template may make
