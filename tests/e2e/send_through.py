"""Sends argv[4] bytes by TCP from the namespace argv[1] to the namespace argv[2], which listens at the address argv[3]. The
host's namespace is `-`. Prints how many came through, and in how many nanoseconds."""

import ctypes
import os
import socket
import sys
import threading
import time

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def socket_of(netns, make):
    """What `make` makes inside; a socket stays where it was made."""
    if netns == "-":
        return make()
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    inside = os.open(f"/run/netns/{netns}", os.O_RDONLY)
    assert LIBC.setns(inside, CLONE_NEWNET) == 0
    made = make()
    assert LIBC.setns(home, CLONE_NEWNET) == 0
    return made


def main():
    sender_netns, receiver_netns, address, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    server = socket_of(receiver_netns, lambda: socket.create_server((address, 0)))
    server.settimeout(60)
    client = socket_of(sender_netns, socket.socket)
    client.settimeout(60)
    client.connect(server.getsockname())
    accepted, _ = server.accept()
    accepted.settimeout(60)

    def send():
        client.sendall(bytes(size))
        client.shutdown(socket.SHUT_WR)

    began = time.monotonic_ns()
    sender = threading.Thread(target=send)
    sender.start()
    received = 0
    while chunk := accepted.recv(65536):
        received += len(chunk)
    took = time.monotonic_ns() - began
    sender.join()
    print(received, took)


if __name__ == "__main__":
    main()
