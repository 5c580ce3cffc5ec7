"""HTTP/2 by hand: enough to open streams and not read them."""
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
STATUSES = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def string(text):
    """A string of HPACK, without Huffman coding."""
    raw = text.encode()
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    rest, out = len(raw) - 127, [127]
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    return bytes([*out, rest]) + raw


def block(headers):
    """Headers as literals that are not indexed."""
    return b"".join(b"\0" + string(name) + string(value) for name, value in headers)


def first_field(payload):
    """The first byte of a block of headers that is no update of the size of the table."""
    return next((byte for byte in payload if byte & 0xE0 != 0x20), None)


class Connection:
    def __init__(self, port, window=None, receive=None):
        """`window`: what the server may send on each stream before it is told that it was read. `receive`: bytes
        that the system takes for this end."""
        self.socket = socket.socket()
        if receive is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.connect(("127.0.0.1", port))
        settings = b"" if window is None else struct.pack(">HI", 4, window)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        self.next_stream = 1

    def widen(self, more):
        """Lets the server send more on all streams together."""
        self.socket.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", more)))

    def get(self, path, host):
        return self.ask("GET", path, host)

    def ask(self, method, path, host, headers=(), pieces=()):
        """Begins a stream, with a frame for each piece of its body; returns its number."""
        headers = [(":method", method), (":scheme", "http"), (":authority", host), (":path", path), *headers]
        number, flags = self.next_stream, END_HEADERS if pieces else END_STREAM | END_HEADERS
        out = frame(HEADERS, flags, number, block(headers))
        for at, piece in enumerate(pieces):
            out += frame(DATA, END_STREAM if at == len(pieces) - 1 else 0, number, piece)
        self.socket.sendall(out)
        self.next_stream += 2
        return number

    def answers(self, streams, timeout=20):
        """What each stream is answered: its status, "reset", or "other" for a status that HPACK has no number for."""
        self.socket.settimeout(timeout)
        found, left = {}, set(streams)
        while left:
            kind, flags, stream, payload = self.read_frame()
            if kind == GOAWAY and payload[4:8] != bytes(4):
                raise EOFError(payload)
            if kind == SETTINGS and not flags & ACK:
                self.socket.sendall(frame(SETTINGS, ACK, 0))
            if stream in left and kind in (HEADERS, RST_STREAM):
                found[stream] = "reset" if kind == RST_STREAM else STATUSES.get(first_field(payload), "other")
                left.discard(stream)
        return found

    def read_frame(self):
        head = self._exactly(9)
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        return kind, flags, int.from_bytes(head[5:], "big") & 0x7FFF_FFFF, self._exactly(length)

    def _exactly(self, count):
        got = b""
        while len(got) < count:
            piece = self.socket.recv(count - len(got))
            if not piece:
                raise EOFError("the server closed the connection")
            got += piece
        return got

    def close(self):
        self.socket.close()
