"""Raw signed requests over asyncio streams: what is sent when, and what comes back, to the byte.

SDKs retry, pool and wait for 100 Continue; here a client stalls, races or goes away exactly where a test wants it to.
"""

import asyncio
import datetime
import hashlib
import hmac
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import server as ringway

HEAD_BYTES_MAX = 64 * 1024


@dataclass
class Answer:
    """A whole response."""

    status: int
    headers: dict
    body: bytes


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signed_head(endpoint, method, path, length=0, headers=(), query="", secret_key=ringway.SECRET_KEY):
    """The head of a request for `path`, signed with an unsigned payload; `query` is canonical."""
    host = urlsplit(endpoint).netloc
    moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{ringway.REGION}/s3/aws4_request"
    every = {"host": host, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": moment, **dict(headers)}
    names = ";".join(sorted(every))
    lines = "".join(f"{name}:{every[name]}\n" for name in sorted(every))
    path = quote(path)
    canonical = f"{method}\n{path}\n{query}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    signature = _hmac(key, f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}").hex()
    every["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={ringway.ACCESS_KEY}/{scope},SignedHeaders={names},Signature={signature}"
    )
    if length or method == "PUT":
        every["content-length"] = str(length)
    fields = "".join(f"{name}: {value}\r\n" for name, value in every.items())
    target = f"{path}?{query}" if query else path
    return f"{method} {target} HTTP/1.1\r\n{fields}\r\n".encode()


class Connection:
    """One connection to a server."""

    def __init__(self, endpoint, reader, writer):
        self.endpoint, self.reader, self.writer = endpoint, reader, writer

    @classmethod
    async def open(cls, endpoint, receive_buffer_bytes=HEAD_BYTES_MAX):
        address = urlsplit(endpoint)
        streams = await asyncio.open_connection(address.hostname, address.port, limit=receive_buffer_bytes)
        return cls(endpoint, *streams)

    def send_head(self, method, path, length=0, headers=(), **signing):
        self.writer.write(signed_head(self.endpoint, method, path, length, headers, **signing))

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self):
        """Reads one whole response; the exceptions of asyncio say that it was cut."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *fields = head.decode().split("\r\n")[:-2]
        headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(first.split()[1]), headers, body)

    async def request(self, method, path, body=b"", headers=()):
        self.writer.write(signed_head(self.endpoint, method, path, len(body), headers) + body)
        return await self.answer()

    async def after(self, answer):
        """The connection for the request after `answer`: another one when the server said that it closes this."""
        if answer.headers.get("connection") != "close":
            return self
        self.abort()
        return await Connection.open(self.endpoint)

    def abort(self):
        """Goes away without waiting for anything."""
        self.writer.transport.abort()


async def once(endpoint, method, path, body=b"", headers=()):
    """One request on a connection of its own."""
    connection = await Connection.open(endpoint)
    try:
        return await connection.request(method, path, body, headers)
    finally:
        connection.abort()


async def expect(status, answer):
    """The awaited answer, which must have this status."""
    answer = await answer
    assert answer.status == status, f"{answer.status} instead of {status}: {answer.body[:2000]!r}"
    return answer


async def metrics(server):
    """The gauges of the server's first core, as text by their names without prefix."""
    connection = await Connection.open(server.admin)
    connection.writer.write(b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
    page = (await connection.reader.read()).decode()
    connection.abort()
    return dict(re.findall(r'^ringway_(\w+){core="0"} (\S+)$', page, re.MULTILINE))
