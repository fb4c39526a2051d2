"""What to check when an attempt failed: shown by `test` and by the page beside the invocation data. Pure.

Written for the person who set the webhook up; Okta hosts get what Okta's own help says about flows.
"""

from typing import Final
from urllib.parse import urlsplit

from reconciler.models.delivery import AttemptResult, Fault
from reconciler.models.webhook import is_okta_host

_OF_FAULT: Final = {
    Fault.DNS: (
        "is the host name in `url` spelt right? It must resolve from the machine that sends",
        "does that machine reach its name server: `getent hosts HOST`",
    ),
    Fault.REFUSED_ADDRESS: (
        "the name resolves to an address that webhooks must not reach (private, loopback, metadata service …)",
        "if a receiver inside your network is meant, the operator names it with `--connect-to HOST:443:ADDRESS:PORT`, "
        "or its addresses with `--allow-range RANGE`",
        "does the operator's `--only-host`, where there is one, name the host?",
    ),
    Fault.CONNECT: (
        "does the receiver listen on port 443 at the address shown?",
        "does a firewall or a proxy rule stop the machine that sends? A proxy is used only by `--proxy`",
    ),
    Fault.CONNECT_TIMEOUT: (
        "does a firewall drop connections from the machine that sends to the address shown?",
        "is the receiver's allow-list missing the address this machine sends from?",
    ),
    Fault.TLS: (
        "does the receiver's certificate hold for the host in `url`, and is it still valid?",
        "is it signed by an authority of your own? Then name its certificate with `--ca FILE`",
        "does the receiver speak TLS 1.2 or later?",
    ),
    Fault.TIMEOUT: (
        "the receiver may have run the request: look there before you send it again",
        "let it answer first and work afterwards, or raise `timeout_in_sec` (at most 65)",
    ),
    Fault.RESET: (
        "the receiver may have run the request: look there before you send it again",
        "does something between here and there (proxy, load balancer, firewall) cut the connection?",
    ),
    Fault.PROTOCOL: ("does an HTTP/1.1 server answer at this URL? Compare the address shown with what you expect",),
    Fault.TOKEN: ("`reconciler auth test NAME` shows each step on the way to an access token",),
    Fault.SECRET: (
        "is every `${secret:name}` bound to this host in the binding file (`--secrets FILE` or RECONCILER_SECRETS)?",
        "are the variables it names set, and its files readable, where this command runs?",
    ),
    Fault.RENDER: ("look at the template and the headers with `reconciler render NAME --event FILE`",),
    Fault.VALIDATOR: (
        "the receiver took the request, but its answer is not what `response_validators` want: compare it with them",
        "it may have run the request: a retry sends it again, with the same webhook-id",
    ),
    Fault.SHUTDOWN: ("nothing is wrong with the webhook: the daemon was stopped meanwhile",),
    Fault.LEASE_EXPIRED: ("the daemon that sent it died or lost its store: the receiver may have run the request",),
}
_OF_STATUS: Final = {
    400: ("does the body parse as what the receiver expects? Look at the request above and its content-type",),
    401: ("is the token right, not expired, and in the place where the receiver looks for it?",),
    403: ("the receiver knows the sender but does not let it: check permissions, scopes and address allow-lists",),
    404: ("is the path in `url` right? Paste it again from the receiver's own page",),
    405: ("does the receiver take this `method`?",),
    408: ("the receiver waited too long for the request: try again",),
    410: ("the receiver says this URL is gone for good: get a new one, or delete the webhook",),
    413: ("the body is too large for the receiver: send less of the event with `body_template`",),
    415: ("does the receiver take this `content_type`?",),
    422: ("the receiver understood the body but not its content: compare field names and types with its manual",),
    429: ("too many requests: lower `rate_limit.per_second`, or wait as long as the receiver asks",),
}
_OKTA: Final = {
    400: ("does the API Endpoint card of the flow expect the keys that the body has?",),
    401: (
        "send the client token once: header `x-api-client-token` or query `clientToken`, not both",
        "is it the client token of this flow (64 hexadecimal digits) and not its alias (32)?",
    ),
    403: ("may this client invoke the flow? Compare the security level of its API Endpoint card",),
    404: (
        "is the flow saved and turned On?",
        "the path is /api/flo/ALIAS/invoke with the flow's alias (32 hexadecimal digits), not its client token",
    ),
    405: ("Okta Workflows takes GET and POST only",),
    429: ("Okta takes 10 invocations per second and flow; `rate_limit: {per_second: 9}` stays below",),
}
_OKTA_OAUTH: Final = {
    401: (
        "is the flow's API Endpoint secured with OAuth 2.0, and not with a client token?",
        "is the access token from the org's own authorization server (/oauth2/v1/token)?",
    ),
    403: (
        "has the access token the scope okta.workflows.invoke.manage? `reconciler auth test NAME` shows it",
        "may this client invoke the flow? Compare the security level of its API Endpoint card",
    ),
}
_OKTA_SLOW: Final = ("put a Close or Return card early in the flow: Okta closes the connection after 60 s",)


def what_to_check(result: AttemptResult) -> tuple[str, ...]:
    """What a person should look at, the likeliest first; nothing for an attempt that succeeded."""
    if result.fault is None:
        return ()
    if result.fault is Fault.STATUS:
        return _of_status(result)
    advice = (*result.checks, *_OF_FAULT[result.fault])
    return (*_OKTA_SLOW, *advice) if result.fault is Fault.TIMEOUT and _is_okta(result) else advice


def _of_status(result: AttemptResult) -> tuple[str, ...]:
    status = result.status or 0
    okta = _of_okta(result, status) if _is_okta(result) else ()
    if _complains_about_json(result):
        hint = (
            "the receiver could not read the JSON: look at the request's body, and at quotes the template leaves open"
        )
        return (hint, *okta)
    if status in _OF_STATUS:
        return (*okta, *_OF_STATUS[status])
    if 300 <= status < 400:
        return ("redirects are never followed: put the final address into `url`",)
    if status >= 500:
        return ("the receiver failed: look into its own log or execution history at this time",)
    return ("look up what the receiver means by this status; its answer is shown above",)


def _of_okta(result: AttemptResult, status: int) -> tuple[str, ...]:
    """By how the request made itself known: with an access token, or with a client token."""
    headers = result.request.headers if result.request is not None else ()
    has_token = any(name == "authorization" and value.startswith("Bearer ") for name, value in headers)
    return (_OKTA_OAUTH if has_token and status in _OKTA_OAUTH else _OKTA).get(status, ())


def _is_okta(result: AttemptResult) -> bool:
    return result.request is not None and is_okta_host(urlsplit(result.request.url).hostname or "")


def _complains_about_json(result: AttemptResult) -> bool:
    """Whether a refusal speaks of JSON; only a hint for people hangs on the receiver's words."""
    if result.status not in (400, 415, 422) or result.response is None:
        return False
    return "json" in f"{result.response.reason_phrase} {result.response.body}".lower()
