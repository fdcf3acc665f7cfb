"""Sends datagrams, and words on one TCP connection, from the namespace argv[1] to the address argv[2] of the host's namespace,
and lets each come back before the next, until SIGTERM. Says so on standard error when it has begun, and at the end how
many came back and how many did not. Nothing of it depends on how fast the machine is: one thread has both ends."""

import ctypes
import os
import signal
import socket
import sys

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
PATIENCE = 2
WORD = b"hello"


def main():
    netns, address = sys.argv[1:3]
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, 0))
    listener = socket.create_server((address, 0))
    inside = os.open(f"/run/netns/{netns}", os.O_RDONLY)
    assert LIBC.setns(inside, CLONE_NEWNET) == 0
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect(datagrams.getsockname())
    client = socket.create_connection(listener.getsockname(), PATIENCE)
    server, _ = listener.accept()
    for one in (datagrams, sender, client, server):
        one.settimeout(PATIENCE)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    rounds = lost = 0
    while not ended:
        try:
            word = WORD + str(rounds).encode()
            sender.send(word)
            received, whose = datagrams.recvfrom(64)
            datagrams.sendto(received, whose)
            if sender.recv(64) != word:
                lost += 1
        except OSError:
            lost += 1
        client.sendall(WORD)
        server.sendall(server.recv(len(WORD), socket.MSG_WAITALL))
        assert client.recv(len(WORD), socket.MSG_WAITALL) == WORD
        rounds += 1
        if rounds == 100:
            print("begun", file=sys.stderr, flush=True)
    print(f"rounds={rounds} lost={lost}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
