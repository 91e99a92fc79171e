"""A loopback proxy that passes HTTP/1.1 messages on byte by byte and notes each exchange.

Never: changes a message, or answers itself; when the server can not be reached the client's connection is closed.
"""
import socket
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Exchange:
    """One request and its answer. `status` is 0 when there was no answer; times are of the monotonic clock."""
    at: float
    method: str
    path: str
    headers: dict
    body: bytes
    status: int = 0
    answer_headers: dict = field(default_factory=dict)
    answer_size: int = 0
    seconds: float = 0.0


class Closed(Exception):
    """The other side closed between two messages."""


class _Reader:
    def __init__(self, connection):
        self.connection = connection
        self.buffer = b""

    def _more(self):
        data = self.connection.recv(65536)
        if not data:
            raise Closed
        self.buffer += data

    def take(self, count):
        while len(self.buffer) < count:
            self._more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def until(self, mark):
        while mark not in self.buffer:
            self._more()
        end = self.buffer.index(mark) + len(mark)
        data, self.buffer = self.buffer[:end], self.buffer[end:]
        return data

    def head(self):
        raw = self.until(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
        return raw, first, headers

    def body(self, headers, until_close):
        """The raw bytes of a body as framed, and the body itself."""
        if "chunked" in headers.get("transfer-encoding", "").lower():
            raw, plain = b"", b""
            while True:
                line = self.until(b"\r\n")
                size = int(line.split(b";")[0], 16)
                if size == 0:
                    raw += line
                    while line != b"\r\n":
                        line = self.until(b"\r\n")
                        raw += line
                    return raw, plain
                data = self.take(size + 2)
                raw += line + data
                plain += data[:-2]
        if "content-length" in headers:
            data = self.take(int(headers["content-length"]))
            return data, data
        if until_close:
            try:
                while True:
                    self._more()
            except Closed:
                data, self.buffer = self.buffer, b""
                return data, data
        return b"", b""


class Proxy:
    """Listens on a port of its own and passes everything on to `host:port`."""

    def __init__(self, port, host="127.0.0.1"):
        self.target = (host, port)
        self.exchanges = []
        self.lock = threading.Lock()
        self.open = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def log(self, start=0):
        """What was exchanged so far, from the given place on."""
        with self.lock:
            return self.exchanges[start:]

    def mark(self):
        """The place in the log that the next exchange will have."""
        with self.lock:
            return len(self.exchanges)

    def close(self):
        self.listener.close()
        with self.lock:
            for connection in list(self.open):
                _shut(connection)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _connect(self):
        server = socket.create_connection(self.target, timeout=30)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.lock:
            self.open.add(server)
        return server

    def _serve(self, client):
        with self.lock:
            self.open.add(client)
        requests, server, answers = _Reader(client), None, None
        try:
            while True:
                raw, first, headers = requests.head()
                method, path, _ = first.split(" ", 2)
                framed, body = requests.body(headers, False)
                exchange = Exchange(time.monotonic(), method, path, headers, body)
                with self.lock:
                    self.exchanges.append(exchange)
                for attempt in (1, 2):
                    try:
                        fresh = server is None
                        if fresh:
                            server = self._connect()
                            answers = _Reader(server)
                        server.sendall(raw + framed)
                        head, line, got = answers.head()
                        break
                    except (OSError, Closed):
                        if server:
                            _shut(server)
                        server = None
                        # A kept connection may have been closed by the server; a new one may not fail.
                        if fresh or attempt == 2:
                            return
                status = int(line.split(" ")[1])
                bare = method == "HEAD" or status in (204, 304)
                framed, plain = (b"", b"") if bare else answers.body(got, True)
                exchange.answer_headers, exchange.answer_size = got, len(plain)
                exchange.seconds = time.monotonic() - exchange.at
                exchange.status = status
                client.sendall(head + framed)
                unframed = not bare and "content-length" not in got and "transfer-encoding" not in got
                if unframed or got.get("connection", "").lower() == "close":
                    return
        except (OSError, Closed, ValueError):
            return
        finally:
            for connection in (client, server):
                if connection:
                    _shut(connection)
                    with self.lock:
                        self.open.discard(connection)


def _shut(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()
