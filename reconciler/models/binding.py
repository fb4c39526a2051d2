"""The operator's side of `${secret:name}`: where a value comes from and which hosts may receive it.

Parsed from the binding file by `egress.secrets`; judged here, without reading a value.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from reconciler.address import judge_host

SECRET_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")

# An Okta org's own authorization server, whose access tokens only Okta takes; those of /oauth2/default are for others.
_OKTA_ORG: Final = re.compile(
    r"https://([a-z0-9-]+)\.([a-z0-9-]+\.(?:com|mil))\.?/oauth2/v1/token(?:[?/].*)?", re.IGNORECASE
)
_OKTA_ORG_DOMAINS: Final = frozenset(
    ("okta.com", "okta-emea.com", "oktapreview.com", "okta-gov.com", "okta.mil", "okta-miltest.com")
)

# Domains under which a vendor gives each customer a name of its own: a wildcard over one would let any other customer's
# host receive the secret. Those of the Public Suffix List's private section need not stand here.
SHARED_DOMAINS: Final = frozenset(
    (
        *("okta.com", "okta-emea.com", "oktapreview.com", "okta-gov.com", "okta.mil", "okta-miltest.com"),
        *("workflows.okta.com", "workflows.okta-emea.com", "workflows.oktapreview.com", "auth0.com", "onelogin.com"),
        *("apono.io", "service-now.com", "servicenowservices.com", "slack.com", "atlassian.net", "jira.com"),
        *("zendesk.com", "freshservice.com", "freshdesk.com", "salesforce.com", "force.com", "opsgenie.com"),
        *("pagerduty.com", "datadoghq.com", "datadoghq.eu", "splunkcloud.com", "sumologic.com", "logz.io"),
        *("coralogix.com", "newrelic.com", "tines.com", "tines.io", "torq.io", "workato.com", "zapier.com", "make.com"),
        *("integromat.com", "n8n.cloud", "pipedream.net", "ngrok.com", "ngrok.app", "ngrok.dev", "ngrok.io"),
        *("trycloudflare.com", "webhook.site", "webhook.office.com", "office.com", "sharepoint.com", "logic.azure.com"),
        *("azure.com", "windows.net", "amazonaws.com", "on.aws", "googleapis.com", "cloud.google.com", "github.com"),
        *("gitlab.com", "hubspot.com", "myshopify.com", "monday.com", "intercom.io", "elastic-cloud.com", "es.io"),
    )
)


class SecretSource(StrEnum):
    """Where a value is read."""

    ENV = "env"
    FILE = "file"


_LOCATION: Final = {SecretSource.ENV: re.compile(r"[A-Za-z_][A-Za-z0-9_]*"), SecretSource.FILE: re.compile(r"[^\0\n]+")}


@dataclass(frozen=True, slots=True)
class Binding:
    """`okta_client_token: {from: env:OKTA_TOKEN, hosts: [acme.workflows.okta.com]}`."""

    name: str
    source: SecretSource
    location: str  # the variable's name or the file's path
    hosts: tuple[str, ...]  # exact names, or `*.example.com` for the names under a domain of one tenant
    token_hosts: tuple[str, ...] | None = None  # the same, of access tokens that the value opens

    def allows(self, host: str) -> bool:
        """Whether the value may be sent to this host (lower case, no trailing dot)."""
        return _is_among(host, self.hosts)

    def allows_token(self, token_url: str, host: str) -> bool:
        """Whether an access token that this value opens at `token_url` may be sent to `host`. Where the operator has
        not said it: tokens of an Okta org go to that org, those of other servers anywhere."""
        if self.token_hosts is not None:
            return _is_among(host, self.token_hosts)
        org = _OKTA_ORG.fullmatch(token_url)
        if org is None or org[2].lower() not in _OKTA_ORG_DOMAINS:
            return True
        name, domain = org[1].lower(), org[2].lower()
        return host in (f"{name}.{domain}", f"{name}.workflows.{domain}")


def _is_among(host: str, items: Iterable[str]) -> bool:
    return any(host.endswith(item[1:]) if item.startswith("*.") else host == item for item in items)


def parse_source(text: str) -> tuple[SecretSource, str] | None:
    """`env:NAME` or `file:PATH` taken apart, or None for anything else."""
    kind, _, location = text.partition(":")
    if kind not in list(SecretSource) or not _LOCATION[SecretSource(kind)].fullmatch(location):
        return None
    return SecretSource(kind), location


def judge_binding_host(item: str, *, is_shared: Callable[[str], bool]) -> str | None:
    """Why a host of a binding (lower case, no trailing dot) is refused as "fact: value", or None.

    `is_shared` says whether anybody can get names under a domain; it is asked for wildcards only.
    """
    name = item.removeprefix("*.")
    if "://" in name or "/" in name:
        return f"a host has no scheme and no path: {ascii(item)[1:-1]}"
    if name.count(":") == 1 and name.rpartition(":")[2].isdigit():
        return f"a host has no port: {ascii(item)[1:-1]}"
    if "*" in name:
        return f"a wildcard stands only in front, as *.example.com: {ascii(item)[1:-1]}"
    if name.endswith("."):
        return f"the host has an empty label: {ascii(item)[1:-1]}"
    if name == item:
        return judge_host(name)
    if name in SHARED_DOMAINS or any(shared.endswith(f".{name}") for shared in SHARED_DOMAINS) or is_shared(name):
        return f"a wildcard over a domain that many tenants share: {ascii(item)[1:-1]}"
    return judge_host(name)
