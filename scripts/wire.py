"""A small blocking client of the broker, for scripts that measure: requests, answers, updates."""
import socket
import struct
import sys

HANDSHAKE = (b"GET /websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
             b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


def pack(value):
    """The MessagePack bytes of the few kinds of values that a request needs."""
    if value is None:
        return b"\xc0"
    if isinstance(value, int):
        return struct.pack(">Bi", 0xd2, value)
    if isinstance(value, str):
        text = value.encode()
        return struct.pack(">BB", 0xd9, len(text)) + text
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xc6, len(value)) + value
    if isinstance(value, list):
        return struct.pack(">BH", 0xdc, len(value)) + b"".join(map(pack, value))
    entries = b"".join(pack(key) + pack(entry) for key, entry in value.items())
    return struct.pack(">BH", 0xde, len(value)) + entries


def request(reid, verb, path, payload=None):
    """A request in a frame. A mask of zeros leaves the bytes as they are."""
    message = pack({"REID": reid, "AUTH": {"USER": "u", "TOKEN": "t"}, "VERB": verb, "PATH": path,
                    "META": {}, "PAYL": payload})
    return frame_header(len(message)) + message


def frame_header(length):
    """A length has to take the shortest of its three forms (RFC 6455, 5.2)."""
    if length < 126:
        return struct.pack(">BBI", 0x82, 0x80 | length, 0)
    if length < 1 << 16:
        return struct.pack(">BBHI", 0x82, 0xfe, length, 0)
    return struct.pack(">BBQI", 0x82, 0xff, length, 0)


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(HANDSHAKE)
        self.received = b""
        while b"\r\n\r\n" not in self.received:
            self.read_more()
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        if not head.startswith(b"HTTP/1.1 101 "):
            sys.exit("no upgrade: %r" % head)

    def read_more(self):
        data = self.socket.recv(1 << 18)
        if not data:
            sys.exit("the server closed a connection")
        self.received += data

    def message(self):
        """The next answer or update; pings of the server are answered."""
        while True:
            length, header = self.length(0)
            if length is None or len(self.received) < header + length:
                self.read_more()
                continue
            opcode, body = self.received[0] & 15, self.received[header:header + length]
            self.received = self.received[header + length:]
            if opcode == 2:
                return body
            if opcode == 8:
                sys.exit("the server closed a connection: %r" % body)
            if opcode == 9:
                self.socket.sendall(struct.pack(">BBI", 0x8a, 0x80 | length, 0) + body)

    def answers(self, count):
        """Reads so many answers; pings of the server are stepped over."""
        start = 0
        while count > 0:
            length, header = self.length(start)
            if length is None or len(self.received) < start + header + length:
                self.received = self.received[start:]
                start = 0
                self.read_more()
                continue
            message = self.received[start + header:start + header + length]
            if self.received[start] == 0x82:
                # RNUM is 200 or 201, as int 16, behind a REID of five bytes.
                if message[11:17] != b"\xa4RNUM\xd1" or message[17] != 0 or message[18] > 201:
                    sys.exit("refused: %r" % message[:200])
                count -= 1
            start += header + length
        self.received = self.received[start:]

    def length(self, start):
        if len(self.received) < start + 2:
            return None, 0
        short = self.received[start + 1]
        form, header = {126: (">H", 4), 127: (">Q", 10)}.get(short, (None, 2))
        if form is None:
            return short, header
        if len(self.received) < start + header:
            return None, 0
        return struct.unpack_from(form, self.received, start + 2)[0], header
