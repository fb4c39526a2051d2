"""Terraform states with apono_manual_webhook resources, in both forms that `import` takes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

OKTA = "https://acme.workflows.okta.com/api/flo/0123456789abcdef0123456789abcdef/invoke"
CANARY = "CANARY-s3cr3t/+value"  # stands wherever a state holds a secret, and must never come out
HEX_TOKEN = "c0ffee00" * 8


def webhook(name: str, url: str = OKTA, *, method: str = "POST", headers: Any = None, **values: Any) -> dict[str, Any]:
    """The attributes of one resource, as the provider's schema has them."""
    return {
        "id": f"id-{name}",
        "name": name,
        "active": True,
        "type": {"http_request": {"url": url, "method": method, "headers": headers or {}}, "integration": None},
        "body_template": None,
        "response_validators": None,
        "timeout_in_sec": None,
        "authentication_config": None,
        "custom_validation_error_message": None,
        **values,
    }


def oauth(**more: Any) -> dict[str, Any]:
    """An authentication_config."""
    given = {"client_id": "cid", "client_secret": CANARY, "token_endpoint_url": "https://login.example.com/token"}
    return {"oauth": {**given, "scopes": ["read", "write"], **more}}


def integration(name: str) -> dict[str, Any]:
    """A webhook that runs an integration's action."""
    return webhook(name) | {
        "type": {"http_request": None, "integration": {"integration_id": "i-1", "action_name": "send-message"}}
    }


def shown(resources: Mapping[str, Mapping[str, Any]]) -> str:
    """What `terraform show -json` prints: half of them in the root module, half in a module below."""
    listed = [
        {
            "address": f"apono_manual_webhook.{label}",
            "mode": "managed",
            "type": "apono_manual_webhook",
            "name": label,
            "provider_name": "registry.terraform.io/apono-io/apono",
            "schema_version": 0,
            "values": values,
            "sensitive_values": {"type": {"http_request": {"headers": True}}},
        }
        for label, values in resources.items()
    ]
    data = {"address": "data.apono_x.y", "mode": "data", "type": "apono_manual_webhook", "name": "y", "values": {}}
    root = {"resources": [data, *listed[::2]], "child_modules": [{"address": "module.m", "resources": listed[1::2]}]}
    return json.dumps({"format_version": "1.0", "terraform_version": "1.11.4", "values": {"root_module": root}})


def state(resources: Mapping[str, Mapping[str, Any]], *, deposed: Sequence[Mapping[str, Any]] = ()) -> str:
    """A terraform.tfstate of one resource with `for_each`."""
    instances: list[dict[str, Any]] = [
        {"index_key": label, "schema_version": 0, "attributes": values, "sensitive_attributes": []}
        for label, values in resources.items()
    ]
    instances += [{"deposed": "0badc0de", "schema_version": 0, "attributes": values} for values in deposed]
    resource = {
        "mode": "managed",
        "type": "apono_manual_webhook",
        "name": "all",
        "provider": 'provider["registry.terraform.io/apono-io/apono"]',
        "instances": instances,
    }
    return json.dumps({"version": 4, "serial": 3, "lineage": "l", "outputs": {}, "resources": [resource]})


SAMPLE: Mapping[str, Mapping[str, Any]] = {
    "okta": webhook(
        "Okta access requests",
        headers={"x-api-client-token": CANARY, "Content-Type": "application/json"},
        body_template='{"event": "{{event_type}}", "token": "' + CANARY + '", "not": "${a_reference}"}\n',
        timeout_in_sec=30,
    ),
    "audit": webhook(
        "Ünïcode – Näme!",
        "https://hooks.example.com/in",
        method="PUT",
        headers={"Authorization": f"Bearer {CANARY}", "Host": "h", "bad name": CANARY, "X-B": "1", "x-b": "2"},
        response_validators=[{"json_path": "$.status", "expected_values": ["ok", "no"]}],
        custom_validation_error_message="ask the team",
    ),
    "one": webhook("Same name", active=False),
    "two": webhook("same NAME"),
    "kanji": webhook("承認", headers={"content-type": CANARY + " \x01"}),
    "http": webhook("plain http", f"http://intern.example.com:8080/hook?clientToken={HEX_TOKEN}&page=2"),
    "path": webhook("token in path", f"https://hooks.example.com/{HEX_TOKEN}/x"),
    "user": webhook("user info", f"https://bob:{CANARY.replace('/', '%2F')}@hooks.example.com/x#frag"),
    "get": webhook("get", method="GET", body_template="{}", timeout_in_sec=600),
    "oauth": webhook("oauth", "https://api.example.com/x", authentication_config=oauth()),
    "slack": integration("Tell Slack"),
}
