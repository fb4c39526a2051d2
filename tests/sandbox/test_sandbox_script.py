"""Scripted answers: which line an invocation gets, what the client sees, what is wrong with a script."""

import asyncio

import httpx
import pytest
from pydantic import ValidationError

from reconciler.sandbox.flow import Flow
from reconciler.sandbox.okta import OktaSandbox, SandboxSettings
from reconciler.sandbox.script import FORMAT, Line, read_script

ALIAS = "0123456789abcdef0123456789abcdef"
OTHER_ALIAS = "fedcba9876543210fedcba9876543210"
OTHER = f"/api/flo/{OTHER_ALIAS}/invoke"


async def statuses(client, count, path=f"/api/flo/{ALIAS}/invoke", **more):
    return [(await client.send("POST", path, **more)).status_code for _ in range(count)]


def scripted(*lines, **settings):
    return OktaSandbox(SandboxSettings(script=lines, rate=None, **settings))


async def test_lines_are_taken_in_order_until_they_run_out(connect):
    async with scripted(Line(status=500, times=2), Line(), Line(status=404)) as sandbox, connect(sandbox) as client:
        assert await statuses(client, 6) == [500, 500, 200, 404, 200, 200]


async def test_each_flow_comes_to_every_line_that_is_for_it(connect):
    """`*` is for each flow on its own, so that the order in which flows are invoked is irrelevant."""
    lines = (Line(status=500), Line(flow=OTHER_ALIAS, status=501), Line(flow="*", status=502))
    async with scripted(*lines) as sandbox, connect(sandbox) as client:
        assert await statuses(client, 1) == [500]
        assert await statuses(client, 4, OTHER) == [500, 501, 502, 200]
        assert await statuses(client, 2) == [502, 200]


async def test_every_counts_the_invocations_of_one_flow(connect):
    async with scripted(Line(every=3, status=500)) as sandbox, connect(sandbox) as client:
        assert await statuses(client, 7) == [200, 200, 500, 200, 200, 500, 200]
        assert await statuses(client, 3, OTHER) == [200, 200, 500]


async def test_a_standing_rule_comes_before_the_sequence_and_may_end(connect):
    lines = (Line(status=404, times=4), Line(every=2, times=1, status=500))
    async with scripted(*lines) as sandbox, connect(sandbox) as client:
        assert await statuses(client, 6) == [404, 500, 404, 404, 404, 200]


async def test_a_rule_matches_numbers_and_headers(connect):
    lines = (Line(match={"number": 2}, status=500), Line(match={"Webhook-Id": "dlv_1"}, flow=ALIAS, status=409))
    async with scripted(*lines) as sandbox, connect(sandbox) as client:
        assert await statuses(client, 3) == [200, 500, 200]
        assert await statuses(client, 2, headers={"webhook-id": "dlv_1"}) == [409, 409]
        assert await statuses(client, 1, headers={"webhook-id": "dlv_2"}) == [200]
        assert await statuses(client, 1, OTHER, headers={"webhook-id": "dlv_1"}) == [200]


async def test_lines_can_be_added_while_it_runs(sandbox, client):
    assert await statuses(client, 1) == [200]

    sandbox.add_script(Line(status=500), Line(flow=OTHER_ALIAS, status=501))
    assert await statuses(client, 2) == [500, 200]
    sandbox.add_script(Line(status=502))
    assert await statuses(client, 2) == [502, 200]
    assert await statuses(client, 4, OTHER) == [500, 501, 502, 200]


async def test_what_is_refused_takes_no_line(connect):
    flows = (Flow(ALIAS, "token"),)
    async with scripted(Line(status=500), flows=flows) as sandbox, connect(sandbox) as client:
        assert await statuses(client, 2) == [401, 401]
        assert await statuses(client, 2, "/api/flo/token") == [500, 200]


@pytest.mark.parametrize(
    ("line", "content_type", "text"),
    [
        (Line(body="späť"), "text/plain; charset=utf-8", "späť"),
        (Line(status=200, body={"a": [1]}), "application/json", '{"a":[1]}'),
        (Line(body=False), "application/json", "false"),
        (Line(status=503), "text/plain; charset=utf-8", ""),
        (Line(headers={"Content-Type": "text/html"}, body="<p>"), "text/html", "<p>"),
    ],
)
async def test_an_answer_is_what_the_line_says(connect, line, content_type, text):
    async with scripted(line) as sandbox, connect(sandbox) as client:
        answer = await client.send()

    assert answer.status_code == (line.status or 200)
    assert answer.headers["content-type"] == content_type
    assert answer.text == text


async def test_headers_and_unusual_statuses_are_sent(connect):
    lines = (Line(status=429, headers={"retry-after": "7"}), Line(status=599), Line(status=204, body="no"))
    async with scripted(*lines) as sandbox, connect(sandbox) as client:
        limited, unusual, empty, usual = [await client.send() for _ in range(4)]

    assert limited.headers["retry-after"] == "7"
    assert unusual.status_code == 599
    assert (empty.status_code, empty.content) == (204, b"")
    assert usual.status_code == 200


async def test_a_delay_holds_the_usual_answer_back(connect):
    """Other connections go on meanwhile."""
    async with scripted(Line(delay=60)) as sandbox, connect(sandbox) as client:
        late = asyncio.create_task(client.send())
        await sandbox.next_request()
        prompt = await client.send()
        assert not late.done()

    assert prompt.status_code == 200
    with pytest.raises(httpx.TransportError):
        await late


async def test_a_delayed_answer_arrives(connect):
    async with scripted(Line(delay=0.02, status=500)) as sandbox, connect(sandbox) as client:
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert await statuses(client, 2) == [500, 200]

        assert loop.time() - before >= 0.02


async def test_drop_never_answers_and_keeps_the_connection(connect):
    async with scripted(Line(drop=True)) as sandbox, connect(sandbox) as client:
        unanswered = asyncio.create_task(client.send())
        await sandbox.next_request()
        assert await statuses(client, 1) == [200]

        assert not unanswered.done()
        assert [request.status for request in sandbox.requests] == [None, 200]
    with pytest.raises(httpx.TransportError):
        await unanswered


async def test_close_ends_the_connection_without_an_answer(connect):
    async with scripted(Line(close=True)) as sandbox, connect(sandbox) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            await client.send()
        assert await statuses(client, 1) == [200]


async def test_raw_bytes_are_sent_as_they_are(connect):
    cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this"
    async with scripted(Line(raw="no http\r\n\r\n"), Line(raw=cut)) as sandbox, connect(sandbox) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="illegal status line"):
            await client.send()
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
            await client.send()
        assert await statuses(client, 1) == [200]


def test_a_script_is_read_line_by_line():
    """Empty lines and comments are passed over; what FORMAT shows can be read."""
    examples = "\n".join(line for line in FORMAT.splitlines() if line.startswith("  {"))

    lines, problems = read_script(f"# faults\n\n{examples}\r\n".encode(), file="s.jsonl")

    assert problems == ()
    assert lines == (Line(every=7, status=500), Line(status=503, headers={"retry-after": "2"}, times=3))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{", "not JSON: expecting property name"),
        ('{"flow": "\xff"}', "not JSON: "),
        ("[]", "input should be a valid dictionary"),
        ('{"staus": 500}', "unknown key: staus"),
        ('{"status": "500"}', "`status` input should be a valid integer"),
        ('{"status": 100}', "`status` input should be greater than or equal to 200"),
        ('{"status": true}', "`status` input should be a valid integer"),
        ('{"times": 0}', "`times` input should be greater than or equal to 1"),
        ('{"every": 0}', "`every` input should be greater than or equal to 1"),
        ('{"delay": -1}', "`delay` input should be greater than or equal to 0"),
        ('{"delay": NaN}', "`delay` input should be a finite number"),
        ('{"reset": "middle"}', "`reset` input should be False, True, 'before' or 'after'"),
        ('{"reset": true, "status": 500}', "an answer, `reset`, `close`, `drop` and `raw` exclude each other"),
        ('{"close": true, "drop": true}', "an answer, `reset`, `close`, `drop` and `raw` exclude each other"),
        ('{"drop": true, "delay": 1}', '`delay` has no effect with `drop` or `reset: "before"`'),
        ('{"headers": {"a b": "c"}}', "`headers` is not a header: 'a b'"),
        ('{"headers": {"a": "b\\nc"}}', "`headers` is not a header: 'a'"),
        ('{"headers": {"Content-Length": "5"}}', "`headers` is written by the sandbox itself: Content-Length"),
        ('{"match": {"number": "3"}}', "`match` takes a whole number under `number` and text under a header's name"),
        ('{"match": {"webhook-id": 3}}', "`match` takes a whole number under `number` and text under a header's name"),
        ('{"flow": "unknown"}', "`flow` is none of the flows given: unknown"),
    ],
)
def test_a_bad_line_is_a_problem_with_its_place(source, message):
    _, problems = read_script(b"{}\n" + source.encode("latin-1"), file="s.jsonl", flows=["a"])

    assert len(problems) == 1
    assert problems[0].where == "s.jsonl:2"
    assert problems[0].message.startswith(message)


def test_all_bad_lines_are_reported_at_once():
    lines, problems = read_script(b'{"a": 1, "b": 2}\n{"status": 500}\n{', file="s.jsonl")

    assert [problem.line for problem in problems] == [1, 1, 3]
    assert lines == (Line(status=500),)


def test_a_line_made_in_code_is_judged_alike():
    with pytest.raises(ValidationError):
        Line(status=99)
