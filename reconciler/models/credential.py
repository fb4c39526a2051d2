"""How a receiver knows us: authentication and signatures, as declared; secrets stand in it as references. Pure."""

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final, Literal

from pydantic import Field

from reconciler.models.field import Line, Many, Model

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class OAuth2(Model):
    """OAuth 2.0 client credentials (RFC 6749, section 4.4), by client secret or private_key_jwt (RFC 7523)."""

    token_url: Line = Field(description="HTTPS URL of the token endpoint; obeys the rules of `url`.")
    client_id: Line = Field(description="The client's id at the authorization server.")
    scopes: Many[Line] = Field((), description="Scopes to ask for; Okta Workflows wants okta.workflows.invoke.manage.")
    client_secret: Line | None = Field(
        None, description='"${secret:NAME}". Okta takes no client secret for its own scopes: use a private key there.'
    )
    client_secret_in: Literal["header", "body"] | None = Field(
        None,
        description="Where the token endpoint wants the client secret: `header` (client_secret_basic) or `body` "
        "(client_secret_post). Default: header, which every server must take (RFC 6749, section 2.3.1).",
    )
    private_key: Line | None = Field(
        None, description='"${secret:NAME}" of a PEM or JWK key that signs the assertion; wants key_id and algorithm.'
    )
    key_id: Line | None = Field(None, description="The key's id (`kid`) at the authorization server.")
    algorithm: Literal["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"] | None = Field(
        None, description="How the assertion is signed (RFC 7518)."
    )


class Bearer(Model):
    """`Authorization: Bearer` (RFC 6750)."""

    token: Line = Field(description='"${secret:NAME}" of the token.')


class Basic(Model):
    """HTTP basic authentication (RFC 7617)."""

    username: Line = Field(description="The user's name, without a colon.")
    password: Line = Field(description='"${secret:NAME}" of the password.')


class MutualTls(Model):
    """A client certificate, PEM."""

    certificate: Line = Field(
        description='"${secret:NAME}" of the certificate in PEM, with the chain that leads to its authority below it.'
    )
    private_key: Line = Field(description='"${secret:NAME}" of its private key in PEM, without a passphrase.')


class Tls(Model):
    """How we know the receiver. There is no way to leave its certificate unverified."""

    ca: Line = Field(
        description='"${secret:NAME}", the name under which the operator binds a file of authorities in PEM: the '
        "receiver's certificate must be from one of them, and no other authority counts. Default: the system's "
        "authorities, and those of the operator's `--ca`."
    )


class Auth(Model):
    """How the receiver knows us, beside headers and query: exactly one kind. Default: none, since most receivers take
    a token in a header."""

    oauth2: OAuth2 | None = Field(None, description="OAuth 2.0 client credentials.")
    bearer: Bearer | None = Field(None, description="A bearer token.")
    basic: Basic | None = Field(None, description="User name and password, sent in UTF-8.")
    mtls: MutualTls | None = Field(None, description="A client certificate.")


def parse_time(text: object) -> datetime | None:
    """A time of RFC 3339 with its offset; None for anything else."""
    try:
        parsed = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return parsed if parsed is not None and parsed.tzinfo is not None else None


class SigningKey(Model):
    """One key with the window in which it signs, from `not_before` up to but not including `not_after`; windows may
    overlap."""

    key: Line = Field(description='"${secret:NAME}" of the key: whsec_ or whsk_ and base64.')
    not_before: str | None = Field(None, description="When it begins to sign, RFC 3339, quoted. Default: at once.")
    not_after: str | None = Field(None, description="When it ends to sign, RFC 3339, quoted. Default: never.")

    @cached_property
    def opens_at(self) -> int | None:
        """When it begins to sign, in milliseconds since the epoch; None: at once."""
        return _milliseconds(self.not_before)

    @cached_property
    def closes_at(self) -> int | None:
        """When it ends to sign, in milliseconds since the epoch; None: never."""
        return _milliseconds(self.not_after)

    @property
    def fact(self) -> str:
        """Which key, and when it signs, in words: the reference to it, never its value."""
        begins = f" from {self.not_before}" if self.not_before is not None else ""
        ends = f" until {self.not_after}" if self.not_after is not None else ""
        return f"{self.key}{begins}{ends}"

    def is_open(self, now: int) -> bool:
        """Whether it signs at `now`, in milliseconds since the epoch."""
        begins = self.opens_at is None or self.opens_at <= now
        return begins and (self.closes_at is None or now < self.closes_at)


class Signing(Model):
    """Standard Webhooks signatures. Default: none; webhook-id is sent all the same."""

    keys: Many[SigningKey] = Field(min_length=1, description="Every key whose window is open signs.")

    @cached_property
    def has_windows(self) -> bool:
        """Whether a key begins or ends to sign."""
        return any(key.not_before is not None or key.not_after is not None for key in self.keys)

    @property
    def fact(self) -> str:
        """The keys and their windows on one line."""
        return ", ".join(key.fact for key in self.keys)


def _milliseconds(text: str | None) -> int | None:
    at = parse_time(text)
    return None if at is None else (at - _EPOCH) // timedelta(milliseconds=1)
