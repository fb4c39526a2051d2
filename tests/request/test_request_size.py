"""What is too large to be sent is not sent, and is not shown either."""

from typing import Any

import pytest

from reconciler import jsontext
from reconciler.errors import TemplateError
from reconciler.models.size import BODY_MAX, HEADER_MAX, URL_MAX
from reconciler.models.webhook import Webhook
from reconciler.request.render import Prepared, render_request

SECRET = "sesame" * 2_000
RAW = b'{"event_type": "AccessRequestCreated", "data": {"id": "1"}}'


def render(raw: bytes = RAW, **spec: Any) -> Prepared:
    base = {"url": "https://hooks.example.com/in", "triggers": ["RequestCreated"], **spec}
    webhook = Webhook.model_validate({"metadata": {"name": "w"}, "spec": base}, strict=False)
    return render_request(webhook, jsontext.loads(RAW), raw, secrets={"long": SECRET}, delivery_id="dlv_1")


@pytest.mark.parametrize(
    ("spec", "fact"),
    [
        ({"url": "https://hooks.example.com/${secret:long}"}, f"the URL has 12,026 bytes, the limit is {URL_MAX:,}"),
        ({"query": {"q": "${secret:long}"}}, f"the URL has 12,031 bytes, the limit is {URL_MAX:,}"),
        ({"headers": {"x-a": "${secret:long}"}}, f"the header x-a has 12,003 bytes, the limit is {HEADER_MAX:,}"),
        ({"headers": {f"x-{i}": "a" * 999 for i in range(17)}}, "the headers together have"),
    ],
)
def test_what_is_too_large_beside_the_body_is_no_request(spec: dict[str, Any], fact: str) -> None:
    """A secret's value may be long where its reference is short; the message does not hold it."""
    with pytest.raises(TemplateError) as caught:
        render(**spec)

    assert caught.value.message.startswith(fact)
    assert "sesame" not in f"{caught.value} {caught.value.hint}"


def test_a_body_has_a_largest_size() -> None:
    """A template has its own limit; what is sent as it came has this one."""
    assert render(b" " * BODY_MAX).body is not None
    with pytest.raises(TemplateError, match="the body has 1,048,577 bytes, the limit is 1,048,576"):
        render(b" " * (BODY_MAX + 1))
