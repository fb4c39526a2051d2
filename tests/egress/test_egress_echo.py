"""What receivers give back of the secrets that they were sent: masked wherever it stands and however it arrives."""

import json
from collections.abc import Sequence
from urllib.parse import quote

import pytest
from egress_receiver import Conversation, Receiver, Send

from reconciler.egress.mask import MASK, Masker
from reconciler.egress.received import BODY_KEPT_MAX
from reconciler.models.delivery import AttemptResult, Fault
from reconciler.models.webhook import ResponseValidator

SECRET = "kanarie-Qz7w9XvJ4pTnRbLk2Yd8Hs6Gf3"
RUN = 8  # characters in a row that must not be seen


@pytest.fixture(autouse=True)
def _known(masker: Masker) -> None:
    """The secret has been read."""
    masker.add(SECRET)


def in_pieces(*pieces: bytes, breaks_off: bool = False) -> object:
    """An answer in so many TLS records; then the connection is closed, if it `breaks_off`."""

    async def answer(conversation: Conversation) -> None:
        for piece in pieces:
            await conversation.say(piece)
        if breaks_off:
            conversation.writer.close()

    return answer


def split(text: str, size: int = 5) -> list[bytes]:
    return [text[at : at + size].encode() for at in range(0, len(text), size)]


def chunked(pieces: Sequence[bytes]) -> list[bytes]:
    head = b"HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head, *(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces), b"0\r\n\r\n"]


def shows_nothing(result: AttemptResult) -> bool:
    """Whether no run of the secret is in anything of the result."""
    shown = f"{result!r}{result.to_json()}"
    return not any(SECRET[at : at + RUN] in shown for at in range(len(SECRET) - RUN + 1))


async def test_a_redirect_that_carries_a_secret_is_shown_without_it(receiver: Receiver, send: Send) -> None:
    """As servers do that keep the query, raw or encoded again."""
    location = f"https://elsewhere.example.com/?token={SECRET}&next={quote(f'https://a/?t={SECRET}', safe='')}"
    receiver.script = [f"HTTP/1.1 302 Found {SECRET}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode()]

    result = await send()

    assert result.response is not None
    where = dict(result.response.headers)["location"]
    assert where == f"https://elsewhere.example.com/?token={MASK}&next=https%3A%2F%2Fa%2F%3Ft%3D{MASK}"
    assert shows_nothing(result)


async def test_a_secret_in_the_name_of_a_header_is_hidden(receiver: Receiver, send: Send) -> None:
    """Whoever makes headers of what comes in."""
    receiver.script = [f"HTTP/1.1 200 OK\r\nx-{SECRET}: 1\r\ncontent-length: 0\r\n\r\n".encode()]

    result = await send()

    assert result.response is not None
    assert (f"x-{MASK}", "1") in result.response.headers
    assert shows_nothing(result)


async def test_an_echo_in_pieces_is_hidden_as_one(receiver: Receiver, send: Send) -> None:
    """Chunks and TLS records end anywhere."""
    body = json.dumps({"echo": SECRET, "n": 1})
    receiver.script = [in_pieces(*chunked(split(body)))]

    result = await send()

    assert result.response is not None
    assert json.loads(result.response.body) == {"echo": MASK, "n": 1}
    assert shows_nothing(result)


@pytest.mark.parametrize("encode", [str, lambda text: quote(text, safe="").replace("-", "%2D")])
@pytest.mark.parametrize("kept", [1, 7, 9, 20, len(SECRET) - 1])
async def test_an_answer_that_breaks_off_in_a_secret_shows_no_more_of_it(
    receiver: Receiver, send: Send, encode: object, kept: int
) -> None:
    """Less than any secret has, that is, though more was received."""
    assert callable(encode)
    head = "HTTP/1.1 500 Oops\r\ncontent-length: 1000\r\n\r\n"
    receiver.script = [in_pieces(*split(head + "you sent: " + encode(SECRET[:kept]), 40), breaks_off=True)]

    result = await send()

    assert result.response is not None
    assert result.response.truncated
    assert result.response.body.startswith("you sent: ")
    assert (MASK in result.response.body) == (kept >= RUN)
    assert shows_nothing(result)


async def test_an_encoded_secret_at_the_cut_is_hidden_as_a_whole(receiver: Receiver, send: Send) -> None:
    """What follows the cut is read for that: a character may be spelt by six."""
    spelt = "".join(f"\\u{ord(char):04x}" for char in SECRET)
    body = "." * (BODY_KEPT_MAX - 10) + spelt + "." * 100
    receiver.script = [f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()]

    result = await send()

    assert result.response is not None
    assert result.response.body == "." * (BODY_KEPT_MAX - 10) + MASK


@pytest.mark.parametrize("size", [10, 1000])
async def test_what_is_no_answer_at_all_is_quoted_without_secrets(receiver: Receiver, send: Send, size: int) -> None:
    """Even where the first piece that came ends in the midst of one."""
    receiver.script = [in_pieces(*split(f"ERR {SECRET} is no HTTP\r\n\r\n", size), breaks_off=True)]

    result = await send()

    assert result.fault in (Fault.PROTOCOL, Fault.RESET)
    assert shows_nothing(result)


async def test_a_first_piece_that_ends_in_a_secret_is_quoted_without_it(receiver: Receiver, send: Send) -> None:
    receiver.script = [in_pieces(f"ERR {SECRET[:20]}".encode(), f"{SECRET[20:]}\r\n\r\n".encode(), breaks_off=True)]

    result = await send()

    assert result.fault is Fault.PROTOCOL
    assert shows_nothing(result)


async def test_a_judged_answer_is_quoted_without_secrets(receiver: Receiver, send: Send) -> None:
    """A detail says what stands there instead of what is wanted, cut: masked before that."""
    body = json.dumps({"status": f"{'x' * 40}{SECRET}"})
    receiver.script = [f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()]
    wanted = ResponseValidator.model_validate({"json_path": "$.status", "expected_values": ["ok"]}, strict=False)

    result = await send(validators=(wanted,))

    assert result.fault is Fault.VALIDATOR
    assert MASK in result.detail
    assert shows_nothing(result)
