"""Generated webhooks that are hard to write down: what YAML parsers, templates and references stumble over."""

import json
import string
from typing import Any

from hypothesis import strategies as st

from reconciler.models.webhook import Webhook

SURPRISES = (
    *("", " ", "no", "yes", "on", "y", "N", "~", "null", "Null", "true", "<<", "=", "0755", "0o17", "0x1F", "1_000"),
    *("1e3", "12:30:45", "2026-01-31", ".inf", "+1", "-.5", "010", "!tag", "!*-prod", "*-prod", "&a", "- a", "? b"),
    *("a: b", "a:", "# c", "a # b", " lead", "trail ", "'", '"', "'\"", "\\", "\\n", "%a", "@a", "`a`", "{a}", "[a]"),
    *(
        "a, b",
        "|",
        ">",
        "---",
        "...",
        "a\tb",
        "é",
        "日本語",
        "\u00a0",
        "\u200d",
        "\U0001f6e1\ufe0f",
        "\u202e",
        "$",
        "$$",
    ),
    *("${", "$${", "${secret", "$${secret:x}", "${var:x}", "}${"),
)
TEXT = st.characters(
    exclude_categories=["Cs"], exclude_characters=[*map(chr, (*range(9), 11, 12, *range(14, 32), *range(127, 160)))]
)

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
texts = st.sampled_from(SURPRISES) | st.text(TEXT, max_size=20)
long_texts = st.lists(texts | st.sampled_from(["", "  ", "\t", " x", "x "]), min_size=1, max_size=5).map("\n".join)
any_text = texts | long_texts | texts.map(lambda text: f"{text} and so on " * 9)
headers = st.text(string.ascii_letters + string.digits + " !#%&'()*+,-./:;<=>?@[]^_{}|~\"\\", max_size=20).map(
    str.strip
)
references = st.from_regex(r"\$\{secret:[a-z][a-z0-9_]{0,8}\}", fullmatch=True)
secret_texts = st.lists(references | st.sampled_from(["$${", "Bearer ", "'", '"', ": ", "#"]), min_size=1).map("".join)
globs = st.lists(texts.filter(lambda text: text not in ("", "!")), max_size=3)
# In a body, braces make expressions and `${` a reference; text around them is free.
body_texts = any_text.map(lambda text: text.replace("{", "(").replace("\\", "/"))
body_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e30, 1e30) | body_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(body_texts, inner, max_size=3),
    max_leaves=8,
)
durations = st.sampled_from(["1s", "1.5s", "5m", "90m", "96h", "0.000001s"])


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


specs = st.fixed_dictionaries(
    {
        "url": st.sampled_from(
            (
                "https://hooks.example.com/in",
                "https://acme.workflows.okta.com/api/flo/3f9a/invoke",
                "https://a.example.com/${secret:x}/%7By%7D?b=%20&c=1",
            )
        ),
        "triggers": st.lists(st.sampled_from(["RequestCreated", "RequestFailed", "Manual"]), min_size=1, max_size=3),
    },
    optional={
        "status": st.sampled_from(["active", "inactive"]),
        "headers": st.dictionaries(st.sampled_from(["x-a", "X-B", "accept"]), headers | secret_texts.map(str.strip)),
        "query": st.dictionaries(texts.filter(lambda key: key and "${" not in key), references, max_size=2),
        "filters": _some(
            integration=_some(id=globs, name=globs, type=globs),
            resource=globs,
            approval=st.sampled_from(["manual", "automatic"]),
            custom_fields=st.dictionaries(texts, globs, max_size=2),
        ),
        "body_template": st.builds(lambda body: {"fields": body}, body_values),
        "timeout_in_sec": st.sampled_from([1, 15, 65]),
        "rate_limit": st.just("unlimited")
        | _some(burst=st.sampled_from([1, 5])).map(lambda some: {"per_second": 9.0, **some}),
        "retry": _some(
            schedule=st.lists(durations, min_size=1, max_size=3),
            jitter=st.floats(0, 1),
            max_attempts=st.sampled_from([1, 10]),
            retry_unknown=st.booleans(),
        ),
        "ordering": st.sampled_from(["request", "none"]),
        "max_hold": durations,
        "response_validators": st.lists(
            st.builds(
                lambda values: {"json_path": "$.a", "expected_values": values},
                st.lists(st.none() | st.booleans() | st.integers(-9, 9) | texts, min_size=1, max_size=3),
            ),
            max_size=2,
        ),
        "auth": st.just({"bearer": {"token": "${secret:t}"}})
        | st.just(
            {"oauth2": {"token_url": "https://a.example.com/t", "client_id": "c", "client_secret": "${secret:s}"}}
        ),
    },
)
metadatas = st.fixed_dictionaries(
    {"name": names},
    optional={"title": any_text, "labels": st.dictionaries(texts, any_text, max_size=2), "protect": st.booleans()},
)
# A body as text: JSON whose strings hold anything, or plain text that is anything, with trailing spaces and tabs.
text_bodies = st.builds(
    lambda text, end: {"body_template": json.dumps({"a": text, "b": "{{data.id}}"}, indent=2) + end},
    body_texts,
    st.sampled_from(["", "\n", " \n\n", "\t\n"]),
) | body_texts.map(lambda text: {"body_template": text, "content_type": "text/plain"})
webhooks = st.builds(
    lambda metadata, spec, body: Webhook.model_validate({"metadata": metadata, "spec": {**spec, **body}}, strict=False),
    metadatas,
    specs,
    st.just({}) | text_bodies,
)
