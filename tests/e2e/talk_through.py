"""Lets a client in the namespace argv[2] say a word to the address argv[3], port argv[4], by argv[1] (tcp or udp), and a server
in the namespace argv[5], which listens at the address argv[6], port argv[7], say it back. The host's namespace is `-`. Prints
which address the server saw, or `nothing` where it heard nothing."""

import ctypes
import os
import socket
import sys

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
PATIENCE = 10
IMPATIENCE = 1


def socket_of(netns, family, kind):
    """A socket of the namespace; it stays where it was made."""
    if netns == "-":
        return socket.socket(family, kind)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    inside = os.open(f"/run/netns/{netns}", os.O_RDONLY)
    assert LIBC.setns(inside, CLONE_NEWNET) == 0
    made = socket.socket(family, kind)
    assert LIBC.setns(home, CLONE_NEWNET) == 0
    return made


def main():
    protocol, client_netns, target, target_port, server_netns, address, port = sys.argv[1:8]
    patience = IMPATIENCE if sys.argv[8:] == ["refused"] else PATIENCE
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    server = socket_of(server_netns, family, kind)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.settimeout(patience)
    server.bind((address, int(port)))
    client = socket_of(client_netns, family, kind)
    client.settimeout(patience)
    if protocol == "tcp":
        server.listen()
    try:
        client.connect((target, int(target_port)))
        client.sendall(b"hello")
        if protocol == "tcp":
            accepted, seen = server.accept()
            accepted.settimeout(patience)
            accepted.sendall(accepted.recv(5))
        else:
            word, seen = server.recvfrom(5)
            server.sendto(word, seen)
        assert client.recv(5) == b"hello"
        print(seen[0])
    except OSError:
        print("nothing")


if __name__ == "__main__":
    main()
