"""What one delivery's request has of its own; the rest is its webhook's envelope. Pure.

Made by `dispatch.recipe`; `request.render` puts it into an envelope, `egress.form` onto the wire.
"""

from typing import Final, NamedTuple

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"


class Draft(NamedTuple):
    """A request without its envelope: the values of the headers named above, empty where it is not signed, and the
    body as it is sent and as people are shown it; None where the method has none."""

    id: str
    timestamp: str
    signature: str
    body: bytes | None
    shown_body: bytes | None

    @property
    def own(self) -> tuple[str, ...]:
        """The values of the headers that it has."""
        return (self.id, self.timestamp, self.signature) if self.signature else (self.id,)
