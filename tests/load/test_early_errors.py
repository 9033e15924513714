"""An error while the body is on its way: the client that writes and writes still reads the whole answer."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from conftest import BUCKET
from counts import count, report
from wire import expect, once, signed_head

CLIENTS = count(50, 1_000)
AT_ONCE = 16
BODY_BYTES = 64 << 20
PIECE = bytes(256 << 10)

CASES = {
    403: ("SignatureDoesNotMatch", {"secret_key": "another/secret+key000000000000000000000"}),
    412: ("PreconditionFailed", {"headers": {"if-none-match": "*"}}),
}


def write_then_read(endpoint, head):
    """Writes the whole body, or as much as the connection takes, before it reads a byte; returns sent and read."""
    address = urlsplit(endpoint)
    sent, answer = 0, b""
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(head)
        try:
            while sent < BODY_BYTES:
                sent += connection.send(PIECE)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
    return sent, answer


@pytest.mark.parametrize("status", CASES)
def test_the_answer_is_read_whole(serve, status):
    server = serve()
    code, how = CASES[status]
    asyncio.run(expect(200, once(server.endpoint, "PUT", f"{BUCKET}/taken", b"x")))

    def client(_):
        head = signed_head(server.endpoint, "PUT", f"{BUCKET}/taken", BODY_BYTES, **how)
        return write_then_read(server.endpoint, head)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        ends = list(pool.map(client, range(CLIENTS)))
    whole = [is_whole(answer, status, code) for _, answer in ends]
    failed = [end for end, good in zip(ends, whole, strict=True) if not good]
    assert not failed, f"{len(failed)} of {CLIENTS}: {failed[:3]}"
    sent = [sent for sent, _ in ends]
    report(f"{status} {code}: {sum(whole)} of {CLIENTS} clients read the XML; they had sent {min(sent)} to {max(sent)}")


def is_whole(answer, status, code):
    head, _, body = answer.partition(b"\r\n\r\n")
    return (
        head.startswith(f"HTTP/1.1 {status} ".encode())
        and f"content-length: {len(body)}".encode() in head.lower()
        and f"<Code>{code}</Code>".encode() in body
        and body.endswith(b"</Error>")
    )
