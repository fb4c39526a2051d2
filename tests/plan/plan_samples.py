"""Webhooks, live states and the plans that the golden files show; shared by the tests of this folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.models.revision import NOBODY, LiveState, LiveWebhook
from reconciler.models.webhook import Policy, Project, ProjectSpec, Webhook, WebhookUid
from reconciler.plan.change import NO_ALLOWANCES, Allowances
from reconciler.plan.guard import guarded
from reconciler.plan.plan import Desired, Plan, Scope, make_plan
from reconciler.plan.rollback import make_rollback

OKTA = "https://acme.workflows.okta.com/api/flo/0123456789abcdef0123456789abcdef/invoke"
JSON_BODY = (
    '{"list": [1, 2, {{data.id}}], "message": "{\\"id\\": \\"{{data.id}}\\", \\"at\\": \\"{{event_time}}\\"}"'
    ', "n": {{event_time}}, "who": {"name": "x {{data.requester.name}}"}}'
)
BODY = '{"fields": {\n  "event type": "{{event_type}}",\n  "requestor email": "{{data.requester.email}}"\n}}\n'


def hook(name: str, metadata: Mapping[str, Any] | None = None, **spec: Any) -> Webhook:
    """A webhook as a manifest would say it."""
    document = {
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"url": f"https://hooks.example.com/{name}", "triggers": ["RequestCreated"], **spec},
    }
    return Webhook.model_validate(document, strict=False)


def live_hook(webhook: Webhook, *, owner: str = "", uid: str = "", is_protected: bool | None = None) -> LiveWebhook:
    """The webhook as the store holds it after an apply; its uid tells the name it was created with."""
    stored = Webhook.from_document(webhook.canonical())
    protect = bool(webhook.metadata.protect) if is_protected is None else is_protected
    return LiveWebhook(WebhookUid(uid or f"uid-{webhook.name}"), owner, stored, stored.digest(), protect, 1)


def live_state(*webhooks: LiveWebhook, policies: Mapping[str, Policy] | None = None, revision: int = 1) -> LiveState:
    """A live state at some revision."""
    listed = tuple(sorted(webhooks, key=lambda item: item.webhook.name))
    return LiveState("0f6f6d9e-lineage", revision, "c0ffee", listed, dict(policies or {}))


def desired(*webhooks: Webhook, owner: str = "", policy: Policy | None = None) -> Desired:
    """What manifests say."""
    return Desired(webhooks, Project(spec=ProjectSpec(owner=owner, policy=policy or Policy())), "sha256-of-manifests")


OWN = Scope()
NOTHING = LiveState(lineage="", revision=0, commit=None, webhooks=())


@dataclass(frozen=True)
class Case:
    """The inputs of one plan."""

    desired: Desired
    live: LiveState = NOTHING
    unfinished: Mapping[WebhookUid, int] = field(default_factory=dict)
    allow: Allowances = NO_ALLOWANCES
    scope: Scope = OWN

    def plan(self) -> Plan:
        """The plan, judged."""
        return guarded(make_plan(self.desired, self.live, unfinished=self.unfinished, scope=self.scope), self.allow)


@dataclass(frozen=True)
class Rollback:
    """The inputs of a plan back to `target`."""

    target: LiveState
    live: LiveState
    unfinished: Mapping[WebhookUid, int] = field(default_factory=dict)

    def plan(self) -> Plan:
        """The plan of the default owner, judged."""
        return guarded(make_rollback(self.target, self.live, owner="", unfinished=self.unfinished))


def many(count: int) -> list[LiveWebhook]:
    """`count` live webhooks of the default owner."""
    return [live_hook(hook(f"hook-{number:02}")) for number in range(count)]


def _okta(**spec: Any) -> Webhook:
    given = {
        "url": OKTA,
        "headers": {"x-api-client-token": "${secret:okta_client_token}"},
        "triggers": ["RequestCreated", "RequestApproved"],
        "body_template": BODY,
    }
    return hook("okta-access-requests", {"title": "Okta access requests", "labels": {"team": "iam"}}, **(given | spec))


CASES: dict[str, Case | Rollback] = {
    "create": Case(desired(_okta(), hook("audit", status="inactive", method="PUT", retry={"max_attempts": 3}))),
    "create-mapping-body": Case(
        desired(hook("audit", body_template={"event": "{{event_type}}", "request": {"id": "{{data.id}}"}}))
    ),
    "no-changes": Case(desired(_okta(), hook("audit")), live_state(live_hook(_okta()), live_hook(hook("audit")))),
    "update": Case(
        desired(
            _okta(
                url=OKTA.replace("acme", "beta"),
                triggers=["RequestCreated", "RequestGranted"],
                headers={"x-api-client-token": "${secret:okta_client_token}", "x-team": "iam"},
                body_template=BODY.replace("requestor email", "requester"),
                retry={"max_attempts": 4, "schedule": ["5s", "1m"]},
                rate_limit="unlimited",
            ),
            hook("audit"),
        ),
        live_state(live_hook(_okta(when="size(data.access_groups) > 1")), live_hook(hook("audit"))),
    ),
    "update-everything-is-new": Case(
        desired(
            hook(
                "audit",
                url="https://example.org/",
                response_validators=[{"json_path": "$.status", "expected_values": ["ok"]}],
                filters={"resource": ["*", "!*/scratch-*"]},
            )
        ),
        live_state(live_hook(hook("audit"))),
    ),
    "update-keyed-lists": Case(
        desired(
            hook(
                "audit",
                response_validators=[
                    {"json_path": "$.new", "expected_values": [1]},
                    {"json_path": "$.status", "expected_values": ["ok", "done"]},
                    {"json_path": "$.same", "expected_values": [True]},
                ],
                body_template={"steps": [{"id": "two", "do": "{{event_type}}"}, {"id": "one", "do": "{{data.id}}"}]},
            )
        ),
        live_state(
            live_hook(
                hook(
                    "audit",
                    response_validators=[
                        {"json_path": "$.status", "expected_values": ["ok"]},
                        {"json_path": "$.same", "expected_values": [True]},
                        {"json_path": "$.old", "expected_values": [None]},
                    ],
                    body_template={
                        "steps": [{"id": "one", "do": "{{data.name}}"}, {"id": "two", "do": "{{event_type}}"}]
                    },
                )
            )
        ),
    ),
    "update-json-body": Case(
        desired(hook("audit", body_template=JSON_BODY.replace("{{data.id}}", "{{data.friendly_id}}"))),
        live_state(live_hook(hook("audit", body_template=JSON_BODY.replace(', "n": {{event_time}}', "")))),
    ),
    "update-json-body-layout": Case(
        desired(hook("audit", body_template='{\n  "a": "{{event_type}}",\n  "b": 1\n}\n')),
        live_state(live_hook(hook("audit", body_template='{"a": "{{event_type}}", "b": 1}\n'))),
    ),
    "update-block-body": Case(
        desired(hook("audit", body_template="{{#if x}}\n  yes {{x}}\n{{else}}\n  never\n{{/if}}\n")),
        live_state(live_hook(hook("audit", body_template="{{#if x}}\n  yes {{x}}\n{{else}}\n  no\n{{/if}}\n"))),
    ),
    "update-long-body": Case(
        desired(hook("audit", body_template="\n".join(f'"{n}": "{n if n != 20 else "twenty"}",' for n in range(40)))),
        live_state(live_hook(hook("audit", body_template="\n".join(f'"{n}": "{n}",' for n in range(40)) + "\n"))),
    ),
    "update-body-to-mapping": Case(
        desired(hook("audit", body_template={"b": "{{event_type}}", "a": 1})),
        live_state(live_hook(hook("audit", body_template='{"a": 1}'))),
    ),
    "update-body-order": Case(
        desired(hook("audit", body_template={"b": "2", "a": "1"})),
        live_state(live_hook(hook("audit", body_template={"a": "1", "b": "2"}))),
    ),
    "inactivate": Case(
        desired(hook("audit", status="inactive")),
        live_state(live_hook(hook("audit"))),
        {WebhookUid("uid-audit"): 1},
    ),
    "delete": Case(
        desired(hook("audit")),
        live_state(live_hook(hook("audit")), live_hook(_okta())),
        {WebhookUid("uid-okta-access-requests"): 12, WebhookUid("uid-audit"): 3},
    ),
    "rename": Case(
        desired(hook("audit-log", {"renamed_from": "audit"}, url="https://hooks.example.com/audit")),
        live_state(live_hook(hook("audit"))),
    ),
    "rename-and-edit": Case(
        desired(hook("audit-log", {"renamed_from": "audit"}, status="inactive")),
        live_state(live_hook(hook("audit"))),
        {WebhookUid("uid-audit"): 7},
    ),
    "rename-swap": Case(
        desired(
            hook("a", {"renamed_from": "b"}, url="https://hooks.example.com/b"),
            hook("b", {"renamed_from": "a"}, url="https://hooks.example.com/a"),
        ),
        live_state(live_hook(hook("a")), live_hook(hook("b"))),
    ),
    "rename-chain": Case(
        desired(
            hook("b", {"renamed_from": "a"}, url="https://hooks.example.com/a"),
            hook("c", {"renamed_from": "b"}, url="https://hooks.example.com/b", method="PUT"),
        ),
        live_state(live_hook(hook("a")), live_hook(hook("b"))),
    ),
    "rename-suggested": Case(
        desired(_okta(), hook("audit-log", url="https://hooks.example.com/audit", body_template=BODY, method="PUT")),
        live_state(
            live_hook(_okta()),
            live_hook(hook("audit", body_template=BODY.replace("requestor", "requester"), method="PUT")),
        ),
        {WebhookUid("uid-audit"): 2},
    ),
    "adopt": Case(
        desired(hook("audit"), hook("mail"), owner="iam"),
        live_state(live_hook(hook("audit"), owner="platform"), live_hook(hook("mail"), owner=NOBODY)),
        scope=Scope(adopts=True),
    ),
    "adopt-and-edit": Case(
        desired(hook("audit", status="inactive"), hook("post", {"renamed_from": "mail"}, method="PUT"), owner="iam"),
        live_state(live_hook(hook("audit"), owner="platform"), live_hook(hook("mail"))),
        {WebhookUid("uid-audit"): 4},
        scope=Scope(adopts=True),
    ),
    "forget": Case(
        desired(hook("other"), owner="iam"),
        live_state(live_hook(hook("audit"), owner="iam"), live_hook(hook("other"), owner="iam")),
        {WebhookUid("uid-audit"): 4},
        scope=Scope(keeps=True),
    ),
    "rename-without-effect": Case(
        desired(hook("new", {"renamed_from": "old"})), live_state(live_hook(hook("new")), live_hook(hook("old")))
    ),
    "protection-stays": Case(
        desired(hook("audit")), live_state(live_hook(hook("audit", {"protect": True}), is_protected=True))
    ),
    "policy": Case(
        desired(
            hook("audit", {"labels": {"team": "iam"}}),
            owner="iam",
            policy=Policy(allowed_hosts=("*.example.com",), required_labels=("team",), max_delete_percent=10),
        ),
        live_state(
            live_hook(hook("audit", {"labels": {"team": "iam"}}), owner="iam"),
            policies={"iam": Policy(allowed_hosts=("hooks.example.com", "*.workflows.okta.com"))},
        ),
    ),
    "target": Case(
        desired(
            hook("audit", status="inactive"), hook("other", status="inactive"), policy=Policy(max_delete_percent=1)
        ),
        live_state(live_hook(hook("audit")), live_hook(hook("other")), live_hook(hook("gone"))),
        scope=Scope(targets=("aud*",)),
    ),
    "hostile": Case(
        desired(
            hook(
                "audit",
                {
                    "title": "\x1b[31mred\x1b[0m \u202egnp.exe\u202c",
                    "labels": {"a.b": "\r\n::error::x", "</details>": "`"},
                },
                body_template="{{x}}\t\x1b[2J\n\u2028 \u2066 ok\n",
            )
        )
    ),
    "literal-secret-in-the-store": Case(
        desired(hook("audit", headers={"authorization": "Bearer ${secret:token}"})),
        live_state(
            live_hook(
                hook(
                    "audit",
                    headers={"authorization": "Bearer hunter2"},
                    query={"t": "0123456789abcdef" * 4},
                    auth={"basic": {"username": "u", "password": "hunter2"}},
                )
            )
        ),
    ),
    "refused-empty": Case(desired(), live_state(*many(3))),
    "refused-released": Case(desired(hook("audit")), live_state(live_hook(hook("audit"), owner=NOBODY))),
    "refused-foreign-owner": Case(
        desired(hook("audit", status="inactive"), owner="iam"), live_state(live_hook(hook("audit"), owner="platform"))
    ),
    "refused-protected": Case(
        desired(hook("other")), live_state(live_hook(hook("audit", {"protect": True})), live_hook(hook("other")))
    ),
    "refused-too-many-deletes": Case(desired(*(hook(f"hook-{n:02}") for n in range(6))), live_state(*many(10))),
    "refused-another-number-of-deletes": Case(
        desired(*(hook(f"hook-{n:02}") for n in range(6))), live_state(*many(10)), allow=Allowances(deletes=3)
    ),
    "refused-host": Case(
        desired(hook("audit", url="https://evil.example.org/x"), policy=Policy(allowed_hosts=("*",))),
        live_state(live_hook(hook("audit")), policies={"": Policy(allowed_hosts=("*.example.com",))}),
    ),
    "refused-label": Case(
        desired(hook("audit"), hook("mail", {"labels": {"team": "iam"}}), policy=Policy(required_labels=("team",)))
    ),
    "refused-rename-conflict": Case(
        desired(hook("a", {"renamed_from": "old"}), hook("b", {"renamed_from": "old"})),
        live_state(live_hook(hook("old"))),
    ),
    "refused-policy-of-both": Case(
        desired(
            *(hook(f"hook-{number:02}") for number in range(6)),
            hook("new", url="https://hooks.example.org/new"),
            policy=Policy(max_delete_percent=50, allowed_hosts=("*.example.org",), required_labels=("team",)),
        ),
        live_state(
            *many(8),
            policies={"": Policy(max_delete_percent=20, allowed_hosts=("*.example.com",), required_labels=("stage",))},
        ),
    ),
    "refused-for-several-reasons": Case(
        desired(hook("audit", status="inactive"), hook("mail", url="https://x.example.org/"), owner="iam"),
        live_state(
            live_hook(hook("audit"), owner="platform"),
            live_hook(hook("kept", {"protect": True}), owner="iam"),
            live_hook(hook("mail"), owner="iam"),
            policies={"iam": Policy(max_delete_percent=0, allowed_hosts=("*.example.com",))},
        ),
        {WebhookUid("uid-kept"): 2},
    ),
    "rollback": Rollback(
        live_state(live_hook(hook("audit")), live_hook(_okta()), live_hook(hook("old-name"))),
        live_state(
            live_hook(hook("audit", method="PUT")),
            live_hook(hook("new-name", url="https://hooks.example.com/old-name"), uid="uid-old-name"),
            live_hook(hook("since")),
            revision=4,
        ),
        {WebhookUid("uid-since"): 3},
    ),
    "refused-rollback-empty": Rollback(live_state(), live_state(live_hook(hook("audit")), revision=2)),
    "refused-rollback-edited": Rollback(
        live_state(replace(live_hook(hook("audit")), is_intact=False)),
        live_state(live_hook(hook("audit", method="PUT")), revision=2),
    ),
    "refused-rollback-foreign-owner": Rollback(
        live_state(live_hook(hook("audit")), live_hook(hook("mail"))),
        live_state(
            live_hook(hook("log", method="PUT"), owner="iam", uid="uid-audit"), live_hook(hook("mail")), revision=3
        ),
    ),
    "refused-rollback-name-taken": Rollback(
        live_state(live_hook(hook("audit")), live_hook(hook("mail"))),
        live_state(live_hook(hook("audit"), owner="iam", uid="uid-other"), live_hook(hook("mail")), revision=3),
    ),
}
