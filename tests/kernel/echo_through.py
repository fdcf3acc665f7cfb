"""Sends a line to an echo server inside the named namespace argv[1], at the address argv[2], from the host's namespace."""

import ctypes
import os
import socket
import sys

CLONE_NEWNET = 0x40000000


def listen_inside(netns, address):
    """A listening socket of the namespace; a socket stays where it was made."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    inside = os.open(f"/run/netns/{netns}", os.O_RDONLY)
    assert libc.setns(inside, CLONE_NEWNET) == 0
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.create_server((address, 0), family=family)
    assert libc.setns(home, CLONE_NEWNET) == 0
    return server


def main():
    server = listen_inside(sys.argv[1], sys.argv[2])
    server.settimeout(10)
    client = socket.create_connection(server.getsockname()[:2], timeout=10)
    accepted, _ = server.accept()
    client.sendall(b"hello")
    accepted.sendall(accepted.recv(5))
    assert client.recv(5) == b"hello"


if __name__ == "__main__":
    main()
