"""A webhook and an event into the request that is sent, and into the one that people are shown."""

from pathlib import Path
from typing import Any

import pytest

from reconciler import VERSION, jsontext
from reconciler.errors import SecretError, TemplateError
from reconciler.models.webhook import Webhook
from reconciler.request.render import Prepared, blank_secrets, render_request

RAW = b'{ "event_type": "AccessRequestCreated", "event_time": 1795424400.851898000, "data": {"id": "a\\"b"} }\n'
FORM = "application/x-www-form-urlencoded"
TOKEN = 'p"a/s?s & #\u00e9%'


def make(**spec: Any) -> Webhook:
    """A webhook with these fields."""
    base = {"url": "https://hooks.example.com/in", "triggers": ["RequestCreated"]}
    return Webhook.model_validate({"metadata": {"name": "w"}, "spec": {**base, **spec}}, strict=False)


def render(secrets: dict[str, str] | None = None, *, raw: bytes = RAW, is_test: bool = False, **spec: Any) -> Prepared:
    return render_request(
        make(**spec), jsontext.loads(raw), raw, secrets=secrets or {}, delivery_id="dlv_1", is_test=is_test
    )


def headers_of(prepared: Prepared) -> dict[str, str]:
    assert len({name.lower() for name, _ in prepared.headers}) == len(prepared.headers)
    return dict(prepared.headers)


def test_without_a_template_the_event_is_sent_as_it_came() -> None:
    """Byte for byte, white space and digits included."""
    prepared = render()

    assert prepared.body == RAW
    assert (prepared.method, prepared.url) == ("POST", "https://hooks.example.com/in")


def test_our_headers_name_the_delivery_and_ourselves() -> None:
    """`webhook-id` is the delivery's, over retries and replays; nothing may be compressed."""
    assert headers_of(render()) == {
        "webhook-id": "dlv_1",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": f"reconciler/{VERSION}",
    }


def test_a_test_says_that_it_is_one() -> None:
    """The receiver can tell it from the real thing."""
    assert headers_of(render(is_test=True))["x-reconciler-test"] == "1"
    assert "x-reconciler-test" not in headers_of(render())


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_get_and_delete_have_neither_body_nor_content_type(method: str) -> None:
    """Even where there is a template."""
    prepared = render(method=method, body_template='{"a": 1}')

    assert (prepared.method, prepared.body) == (method, None)
    assert "content-type" not in headers_of(prepared)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_the_other_methods_send_the_rendered_body(method: str) -> None:
    """As UTF-8."""
    prepared = render(method=method, body_template='{"é": "{{data.id}}", "t": {{event_time}} }')

    assert prepared.body == '{"é": "a\\"b", "t": 1795424400.851898000 }'.encode()


def test_a_mapping_body_is_rendered() -> None:
    """The other form of a body."""
    prepared = render({"s": 'x"y'}, body_template={"id": "{{data.id}}", "list": ["${secret:s}", 1]})

    assert prepared.body == b'{"id":"a\\"b","list":["x\\"y",1]}'


def test_the_webhook_s_own_headers_come_first_and_win() -> None:
    """Except for those that are ours alone."""
    headers = {
        "Content-Type": "application/vnd.x+json",
        "User-Agent": "mine",
        "X-Team": "iam",
        "Webhook-Id": "forged",
        "Accept-Encoding": "gzip",
        "X-Reconciler-Test": "0",
    }

    assert render(headers=headers).headers == (
        ("Content-Type", "application/vnd.x+json"),
        ("User-Agent", "mine"),
        ("X-Team", "iam"),
        ("webhook-id", "dlv_1"),
        ("accept-encoding", "identity"),
    )


def test_secrets_are_filled_into_headers_as_they_are() -> None:
    """And what they hold is never scanned again."""
    prepared = render(
        {"t": "${secret:u} {{x}}"}, headers={"Authorization": "Bearer ${secret:t}", "x-a": "$${secret:t}"}
    )

    assert headers_of(prepared)["Authorization"] == "Bearer ${secret:u} {{x}}"
    assert headers_of(prepared)["x-a"] == "${secret:t}"


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\x1b", "\x7f", "\t"])
def test_a_header_value_with_a_control_character_is_refused_unseen(character: str) -> None:
    """A secret must not split a request, and must not show in the error."""
    with pytest.raises(TemplateError) as caught:
        render({"t": f"hush{character}x-evil: 1"}, headers={"x-token": "${secret:t}"})

    assert "x-token" in caught.value.message
    assert "hush" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("content_type", ["\x1f", "text/plain\r\nx-evil: 1", "text/plain\x7f", "text/\u20ac"])
def test_a_content_type_is_a_header_like_any_other(content_type: str) -> None:
    """Found by a law: one transport sent what the other refused."""
    with pytest.raises(TemplateError, match="a header value holds a c"):
        render({}, content_type=content_type)


def test_a_header_value_beyond_latin_1_is_refused_unseen() -> None:
    """HTTP/1.1 carries Latin-1 at most."""
    assert headers_of(render({"t": "é"}, headers={"x-token": "${secret:t}"}))["x-token"] == "é"
    with pytest.raises(TemplateError, match="beyond Latin-1: x-token") as caught:
        render({"t": "hush€"}, headers={"x-token": "${secret:t}"})

    assert "hush" not in f"{caught.value} {caught.value.hint}"


def test_blanks_around_a_header_value_are_no_part_of_it() -> None:
    """RFC 9110, section 5.5."""
    assert headers_of(render({"t": " a b "}, headers={"x-a": "${secret:t}"}))["x-a"] == "a b"


def test_secrets_in_the_url_are_percent_encoded() -> None:
    """In the path and in the query; the rest of the URL stays as it was written."""
    prepared = render({"t": TOKEN}, url="https://h.example/a%20b/${secret:t}/invoke?token=${secret:t}&b=$${x}")

    encoded = "p%22a%2Fs%3Fs%20%26%20%23%C3%A9%25"
    assert prepared.url == f"https://h.example/a%20b/{encoded}/invoke?token={encoded}&b=$%7Bx}}"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h.example", "https://h.example?a=x%20%26&b%3D=p%22%2F"),
        ("https://h.example/", "https://h.example/?a=x%20%26&b%3D=p%22%2F"),
        ("https://h.example/p?", "https://h.example/p?a=x%20%26&b%3D=p%22%2F"),
        ("https://h.example/p?c=1", "https://h.example/p?c=1&a=x%20%26&b%3D=p%22%2F"),
        ("https://h.example/p?c=1&", "https://h.example/p?c=1&a=x%20%26&b%3D=p%22%2F"),
    ],
)
def test_the_query_is_appended_to_the_url(url: str, expected: str) -> None:
    """Encoded, after what the URL has."""
    assert render({"t": 'p"/'}, url=url, query={"a": "x &", "b=": "${secret:t}"}).url == expected


def test_the_host_never_holds_a_secret() -> None:
    """Where a request goes is readable in the manifest."""
    webhook = make()
    hostile = webhook.model_copy(update={"spec": webhook.spec.model_copy(update={"url": "https://${secret:h}/x"})})

    with pytest.raises(TemplateError, match="host cannot hold a secret"):
        render_request(hostile, {}, RAW, secrets={"h": "evil.example"}, delivery_id="d")


@pytest.mark.parametrize(
    "spec",
    [
        {"url": "https://h.example/${secret:missing}"},
        {"headers": {"x-a": "${secret:missing}"}},
        {"query": {"a": "${secret:missing}"}},
        {"body_template": '["${secret:missing}"]'},
    ],
)
def test_a_secret_without_a_value_is_named(spec: dict[str, Any]) -> None:
    """Nothing is sent without it."""
    with pytest.raises(SecretError) as caught:
        render({"other": "x"}, **spec)

    assert caught.value.name == "missing"


def test_a_secret_that_utf8_cannot_carry_is_refused_in_the_url() -> None:
    """As a broken environment variable gives it."""
    with pytest.raises(TemplateError, match="UTF-8") as caught:
        render({"t": "hush\udcff"}, url="https://h.example/${secret:t}")

    assert "hush" not in str(caught.value)


EVERYWHERE: dict[str, Any] = {
    "url": "https://h.example/${secret:path}/x?q=${secret:query}",
    "query": {"a": "${secret:pair}", "${secret:name}": "b"},
    "headers": {"x-a": "Bearer ${secret:header}"},
    "body_template": r'{"a": "${secret:body}", "m": "{\"b\": ${secret:inner}}", "id": "{{data.id}}"}',
}
NAMES = ("body", "header", "inner", "name", "pair", "path", "query")


def test_people_are_shown_the_same_request_with_every_secret_masked() -> None:
    """The mask stands unencoded, and nothing else differs."""
    webhook = make(**EVERYWHERE)
    blank = blank_secrets(webhook)
    assert blank == dict.fromkeys(NAMES, "***")

    shown = render_request(webhook, jsontext.loads(RAW), RAW, secrets=blank, delivery_id="d")
    values = {name: f"value{name}" for name in NAMES}
    sent = render_request(webhook, jsontext.loads(RAW), RAW, secrets=values, delivery_id="d")

    assert shown.url == "https://h.example/***/x?q=***&a=***&***=b"
    assert headers_of(shown)["x-a"] == "Bearer ***"
    assert jsontext.loads(shown.body or b"")["a"] == "***"
    text = repr(sent)
    for name in NAMES:
        assert values[name] in text
        text = text.replace(values[name], "***")
    assert text == repr(shown)


def test_blank_secrets_covers_auth_and_signing() -> None:
    """Every name that the webhook can use is masked."""
    webhook = make(
        auth={"bearer": {"token": "${secret:bearer}"}},
        signing={"keys": [{"key": "${secret:sign}"}]},
        body_template={"a": ["${secret:leaf}"]},
    )

    assert sorted(blank_secrets(webhook)) == ["bearer", "leaf", "sign"]
    assert blank_secrets(make()) == {}


def test_rendering_twice_gives_the_same() -> None:
    """No clock, no chance."""
    webhook = make(**EVERYWHERE)
    values = dict.fromkeys(NAMES, TOKEN)

    once, twice = (render_request(webhook, jsontext.loads(RAW), RAW, secrets=values, delivery_id="d") for _ in range(2))

    assert once == twice


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ('{"{{data.id}}": 1, "a\\"b": 2}', "the same key twice"),
        ("[[[{{data}}]]]", "nested deeper than 200 levels"),
    ],
)
def test_a_body_that_is_not_json_after_all_is_refused_unseen(template: str, message: str) -> None:
    """What depends on the event is judged when the event is there."""
    raw = b'{"data": {"id": "a\\"b", "x": ' + b"[" * 198 + b"]" * 198 + b"}}"

    with pytest.raises(TemplateError, match=message) as caught:
        render(raw=raw, body_template=template)

    assert 'a"b' not in str(caught.value)


def test_a_number_that_is_none_is_refused_at_the_end() -> None:
    """The last look at the body trusts nobody before it."""
    webhook = make(body_template='["{{x}}", {{x}}]')

    with pytest.raises(TemplateError, match="the body is not JSON: expecting ',' delimiter at line 1, column 10"):
        render_request(webhook, {"x": jsontext.Number("1_0")}, b"", secrets={}, delivery_id="d")


def test_other_content_types_are_rendered_as_plain_text() -> None:
    """Nothing is escaped and nothing must be JSON."""
    prepared = render(body_template="id={{data.id}} {{event_time}}", content_type="text/plain; charset=utf-8")

    assert prepared.body == b'id=a"b 1795424400.851898000'
    assert headers_of(prepared)["content-type"] == "text/plain; charset=utf-8"


def test_what_utf8_cannot_carry_is_replaced_outside_json() -> None:
    """There is no escape for a lone surrogate there; in JSON there is."""
    raw = b'{"data": {"id": "a\\ud800b"}}'

    assert render(raw=raw, body_template="{{data.id}}", content_type="text/plain").body == "a\ufffdb".encode()
    assert render(raw=raw, body_template="x={{data.id}}", content_type=FORM).body == b"x=a%EF%BF%BDb"
    assert render(raw=raw, body_template='"{{data.id}}"').body == b'"a\\ud800b"'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", 'a+%26+%22b%22%3C%C3%A9%3E+%2B%7E* & a & "b"<é> +~*'),
        ("text/html", 'a &amp; &quot;b&quot;&lt;é&gt; +~* & a & "b"<é> +~*'),
        ("application/soap+xml; charset=utf-8", 'a &amp; &quot;b&quot;&lt;é&gt; +~* & a & "b"<é> +~*'),
        ("text/plain", 'a & "b"<é> +~* & a & "b"<é> +~*'),
        ("text/csv", 'a & "b"<é> +~* & a & "b"<é> +~*'),
    ],
)
def test_the_content_type_decides_how_values_are_escaped(content_type: str, body: str) -> None:
    """Forms are percent-encoded, markup has entities, plain text is as it is; `{{{x}}}` is never escaped."""
    raw = '{"data": {"id": "a & \\"b\\"<é> +~*"}}'.encode()

    prepared = render(raw=raw, body_template="{{data.id}} & {{{data.id}}}", content_type=content_type)

    assert prepared.body == body.encode()


def test_a_body_includes_the_webhooks_partials() -> None:
    """They are part of what is stored; secrets may stand in them too."""
    partials = {"who": '{"name": "{{name}}", "token": "${secret:t}"}'}

    raw = b'{"data": {"requester": {"name": "Da\\"na"}}}'

    prepared = render({"t": 'v"'}, raw=raw, body_template='{"by": {{> who data.requester}} }', partials=partials)

    assert jsontext.loads(prepared.body or b"") == {"by": {"name": 'Da"na', "token": 'v"'}}


def test_every_sample_event_gives_a_body_that_parses(event_files: tuple[Path, ...]) -> None:
    """Hostile ones included."""
    template = '{"fields": {"t": "{{event_type}}", "j": "{{data.justification}}", "all": {{this}}, "text": "{{data}}"}}'

    for path in event_files:
        body = render(raw=path.read_bytes(), body_template=template).body

        fields = jsontext.loads(body or b"")["fields"]
        event = jsontext.loads(path.read_bytes())
        assert jsontext.dumps(fields["all"]) == jsontext.dumps(event)
        assert jsontext.dumps(jsontext.loads(fields["text"])) == jsontext.dumps(event["data"])
