"""What the canary plants: webhooks with a secret wherever one can stand, the files that hold them, and their names."""

import base64
import json

import pytest
import trustme
from canary_secret import body_of, odd, token
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from e2e_manifest import event
from joserfc.jwk import ECKey
from workshop import Workshop

HOSTS = "hooks.example.com, mtls.example.com, idp.example.com, badtls.example.com, closed.example.com"
TOKEN_URL = "https://idp.example.com/token"
SIGNER = "whsec_" + base64.b64encode(token("intake").encode()[:32]).decode()
ODD = ("path", "query", "header", "body", "basic_user", "basic_password", "client_secret", "client_secret_in_body")
MODES = ("raw", "cut", "long", "drop", "reset", "redirect")  # of the receiver
PLAIN = ("bearer", *MODES, "badtls", "closed", "literal", "unbound")
FLAWED = {"short": "Zq9-Wx", "control": token("control") + "\t" + token("tab"), "unsendable": token("euro") + "€"}
GIVEN = ("api", "reader", "proxy", "store", "stray", "terraform", "misplaced", "wrong_key", "sandbox", "flow_token")


def key_pem(passphrase: bytes | None = None) -> str:
    """A new private key."""
    kind = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kind).decode()


def webhook(name: str, url: str, spec: str = "", *, trigger: str = "RequestCreated") -> str:
    """One document."""
    host = "" if url.startswith("https://") else "https://hooks.example.com"
    return f"""\
---
apiVersion: reconciler/v1
kind: Webhook
metadata: {{name: {name}, labels: {{edition: EDITION}}}}
spec:
  url: {host}{url}
  triggers: [{trigger}]
  retry: {{schedule: [1s], max_attempts: 2}}
  rate_limit: unlimited
{spec}"""


def key_header(name: str) -> str:
    return f'  headers: {{x-api-key: "${{secret:{name}}}"}}\n'


def oauth(url: str, how: str) -> str:
    return f"  auth: {{oauth2: {{token_url: {TOKEN_URL}/{url}, client_id: canary, scopes: [canary], {how}}}}}\n"


def by_key(name: str) -> str:
    return f'private_key: "${{secret:{name}}}", key_id: k1, algorithm: ES256'


MTLS = '  auth: {{mtls: {{certificate: "${{secret:certificate}}", private_key: "${{secret:{key}}}"}}}}\n'
WEBHOOKS = "".join(
    (
        webhook(
            "plain",
            "/echo/500/${secret:path}/in?key=${secret:query}",
            key_header("header") + '  body_template: \'{"id": "{{data.id}}", "key": "${secret:body}"}\'\n'
            '  signing: {keys: [{key: "${secret:signing_old}", not_after: "2099-01-01T00:00:00Z"}, '
            '{key: "${secret:signing_new}"}, {key: "${secret:signing_pair}"}]}\n',
        ),
        webhook("breaker", "/echo/503", key_header("header"), trigger="RequestApproved"),
        webhook(
            "judged",
            "/echo/200",
            key_header("header") + "  response_validators: [{json_path: $.status, expected_values: [ok]}]\n",
        ),
        webhook(
            "basic",
            "/echo/401",
            '  auth: {basic: {username: "${secret:basic_user}", password: "${secret:basic_password}"}}\n',
            trigger="RequestApproved",
        ),
        webhook("bearer", "/redirect", '  auth: {bearer: {token: "${secret:bearer}"}}\n'),
        *(webhook(name, f"/{name}", key_header(name) + "  timeout_in_sec: 1\n") for name in MODES),
        webhook("badtls", "https://badtls.example.com/echo/200", key_header("badtls")),
        webhook("closed", "https://closed.example.com/echo/200", key_header("closed")),
        webhook("unbound", "/echo/200", key_header("unbound")),
        *(webhook(name, "/echo/200", key_header(name)) for name in FLAWED),
        webhook("oauth-401", "/echo/401", oauth("ok/secret", 'client_secret: "${secret:client_secret}"')),
        webhook(
            "oauth-refused",
            "/echo/200",
            oauth("refuse/secret", 'client_secret: "${secret:client_secret_in_body}", client_secret_in: body'),
        ),
        webhook("oauth-pem", "/echo/200", oauth("ok/pem", by_key("pem"))),
        webhook("oauth-jwk", "/echo/200", oauth("refuse/jwk", by_key("jwk"))),
        webhook(
            "mtls", "https://mtls.example.com/echo/200", MTLS.format(key="mtls_key") + '  tls: {ca: "${secret:ca}"}\n'
        ),
        webhook("locked", "https://mtls.example.com/echo/200", MTLS.format(key="locked_key")),
        webhook("mistaken", "https://mtls.example.com/echo/200", MTLS.format(key="pem")),
        webhook("on-call", "/echo/500/on-call", key_header("header"), trigger="Manual"),
    )
)


def plant(workshop: Workshop, ca: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Write every secret where it stands; by name, what must not come out."""
    identity = ca.issue_cert("client@example.com")
    daemon = ca.issue_cert("127.0.0.1", "localhost")
    jwk = ECKey.import_key(key_pem()).as_dict(private=True)
    values = {
        **{name: odd(name) for name in ODD},
        **{name: token(name) for name in (*PLAIN, *GIVEN)},
        **FLAWED,
        "signing_old": "whsec_" + base64.b64encode(token("signing old").encode()[:32]).decode(),
        "signing_new": "whsec_" + base64.b64encode(token("signing new").encode()[:32]).decode(),
        "signing_pair": "whsk_" + base64.b64encode(token("signing pair").encode()[:32]).decode(),
        "pem": key_pem(),
        "jwk": json.dumps(jwk, indent=2),
        "certificate": "".join(blob.bytes().decode() for blob in identity.cert_chain_pems),
        "mtls_key": identity.private_key_pem.bytes().decode(),
        "locked_key": key_pem(token("passphrase").encode()),
        "ca": ca.cert_pem.bytes().decode(),
        "daemon_key": daemon.private_key_pem.bytes().decode(),
    }
    bindings = []
    for name, value in values.items():
        if name in GIVEN or name in ("unbound", "literal"):
            continue
        if name in ("header", "bearer", "basic_user", "path") or "\n" in value:
            workshop.write(f"vault/{name}", value).chmod(0o600)
            source = f"file:vault/{name}"
        else:
            monkeypatch.setenv(f"CANARY_{name.upper()}", value)
            workshop.env[f"CANARY_{name.upper()}"] = value
            source = f"env:CANARY_{name.upper()}"
        bindings.append(f'{name}: {{from: "{source}", hosts: [{HOSTS}]}}\n')
    workshop.write("vault/wrong_key", values["wrong_key"])
    workshop.write("secrets.yaml", "".join(bindings)).chmod(0o600)
    misplaced = {
        "a": {"from": values["misplaced"], "hosts": ["a.example"]},
        values["misplaced"]: {"token": values["misplaced"][:20]},
    }
    workshop.write("vault/misplaced.yaml", json.dumps(misplaced)).chmod(0o600)
    (workshop.folder / "misplaced.yaml").symlink_to("vault/misplaced.yaml")
    tokens = {
        "ci": {"token": values["api"], "roles": ["apply", "ingest", "operate"]},
        "reader": {"token": values["reader"], "roles": ["read"]},
        "signer": {"signing_keys": [SIGNER], "roles": ["ingest"]},
    }
    workshop.write("vault/tokens.yaml", json.dumps(tokens)).chmod(0o600)
    workshop.write("ca.pem", values["ca"])
    workshop.write("daemon.pem", "".join(blob.bytes().decode() for blob in daemon.cert_chain_pems))
    keys = ("pem", "mtls_key", "locked_key", "daemon_key")
    found = {name: body_of(value) if name in keys else value for name, value in values.items()}
    for name in ("short", "ca", "certificate"):  # too short to be told from other text; certificates are public
        del found[name]
    return found | {"intake": SIGNER.removeprefix("whsec_"), "jwk": jwk["d"], "passphrase": token("passphrase")}


def write_inputs(workshop: Workshop, planted: dict[str, str]) -> None:
    """Manifests, events and what else commands read."""
    for folder, edition in (("manifests", "one"), ("changed", "two")):
        workshop.write(f"{folder}/all.yaml", WEBHOOKS.replace("EDITION", edition))
    literal = webhook("literal", f"/in?token={planted['literal']}", f"  headers: {{x-api-key: {planted['literal']}}}\n")
    workshop.write("vault/literal/literal.yaml", literal)
    (workshop.folder / "literal").symlink_to("vault/literal")
    workshop.write("event.json", event(1).decode())
    workshop.write("broken.json", '{"event_type": "AccessRequestCreated", "data": ')
    workshop.write("headers.txt", "webhook-id: a\nwebhook-timestamp: 1\nwebhook-signature: v1,AAAA\n")
    values = {"name": "okta", "headers": {"x-api-client-token": planted["terraform"]}, "method": "POST"}
    resource = {"type": "apono_manual_webhook", "name": "okta", "mode": "managed"}
    state = {
        "name": "okta",
        "active": True,
        "type": {"http_request": {**values, "url": "https://hooks.example.com/in"}},
    }
    workshop.write(
        "vault/state.json",
        json.dumps(
            {"format_version": "1.0", "values": {"root_module": {"resources": [{**resource, "values": state}]}}}
        ),
    )
    (workshop.folder / "state.json").symlink_to("vault/state.json")
