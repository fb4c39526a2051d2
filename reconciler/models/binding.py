"""The operator's side of `${secret:name}`: where a value comes from and which hosts may receive it.

Parsed from the binding file by `egress.secrets`; judged here, without reading a value.
"""

from dataclasses import dataclass
from enum import StrEnum


class SecretSource(StrEnum):
    """Where a value is read."""

    ENV = "env"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Binding:
    """`okta_client_token: {from: env:OKTA_TOKEN, hosts: [acme.workflows.okta.com]}`."""

    name: str
    source: SecretSource
    location: str  # the variable's name or the file's path
    hosts: tuple[str, ...]  # exact names, or `*.example.com` for the names under a domain of one tenant

    def allows(self, host: str) -> bool:
        """Whether the value may be sent to this host (lower case, no trailing dot)."""
        return any(host.endswith(item[1:]) if item.startswith("*.") else host == item for item in self.hosts)
