"""The authorization header that a webhook's `auth` makes, and the same as people are shown it. Pure.

Called by `request.render`, so that what is shown is what is sent; `egress.deliver` puts the access token into its
place. Client certificates belong to the connection and are not known here.
"""

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from reconciler.errors import SecretError
from reconciler.models.credential import Auth
from reconciler.models.webhook import fill_secrets, secret_names

if TYPE_CHECKING:
    from reconciler.request.render import Prepared

HEADER: Final = "authorization"


def authorization(auth: Auth | None, secrets: Mapping[str, str], *, mask: str) -> str | None:
    """The header's value; None where `auth` makes none. An access token, which only sending obtains, stands as `mask`,
    and so does a basic credential with secrets that are masked. Raises KeyError and SecretError."""
    if auth is None:
        return None
    # 1. a token of the manifest's own  2. name and password  3. a token yet to come
    if auth.bearer is not None:
        return f"Bearer {fill_secrets(auth.bearer.token, secrets)}"
    if auth.basic is not None:
        username, password = auth.basic.username, auth.basic.password
        names = secret_names((username, password))
        if names and all(secrets[name] == mask for name in names):
            return f"Basic {mask}"
        name = fill_secrets(username, secrets)
        if ":" in name:
            raise SecretError(
                "the user name holds a colon, which ends it (RFC 7617, section 2)",
                name=min(secret_names(username), default=""),
            )
        return f"Basic {basic(name, fill_secrets(password, secrets))}"
    return f"Bearer {mask}" if auth.oauth2 is not None else None


def basic(username: str, password: str) -> str:
    """The credential of HTTP basic authentication, in UTF-8 (RFC 7617, section 2)."""
    return base64.b64encode(f"{username}:{password}".encode("utf-8", "replace")).decode("ascii")


def with_access_token(prepared: "Prepared", token: str) -> "Prepared":
    """The request with the access token in the place of the mask."""
    headers = tuple((name, f"Bearer {token}" if name == HEADER else value) for name, value in prepared.headers)
    return prepared._replace(headers=headers)
