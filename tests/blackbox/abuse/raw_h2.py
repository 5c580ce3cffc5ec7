"""HTTP/2 by hand: enough to open streams and not read them."""
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4


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


class Connection:
    def __init__(self, port, window=None):
        """`window`: what the server may send on each stream before it is told that it was read."""
        self.socket = socket.create_connection(("127.0.0.1", port))
        settings = b"" if window is None else struct.pack(">HI", 4, window)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        self.next_stream = 1

    def widen(self, more):
        """Lets the server send more on all streams together."""
        self.socket.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", more)))

    def get(self, path, host):
        headers = [(":method", "GET"), (":scheme", "http"), (":authority", host), (":path", path)]
        self.socket.sendall(frame(HEADERS, END_STREAM | END_HEADERS, self.next_stream, block(headers)))
        self.next_stream += 2

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
