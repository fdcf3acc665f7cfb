"""A second, independent gRPC client: creates, reads, lists and deletes against the daemon at argv[1], with pyroute2 as witness.

Over TLS with argv[2], the directory of a `contain pki`, and argv[3], whose certificate to show; argv[4] is then the file of
the host's network namespace, which is not that of the client."""

import sys
import uuid

import grpc
import pyroute2
from google.rpc import error_details_pb2, status_pb2
from netprov.v1 import namespace_pb2, namespace_pb2_grpc, veth_pb2, veth_pb2_grpc

TIMEOUT = 10


def error_info(error):
    """The google.rpc.ErrorInfo of a failed call."""
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return info
    raise AssertionError(f"no ErrorInfo in {error}")


def expect_error(call, code, reason):
    """The call fails with that code and that reason."""
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        info = error_info(error)
        assert (info.domain, info.reason) == ("netprov.v1", reason), info
    else:
        raise AssertionError(f"expected {reason}")


def links_inside(netns):
    """What pyroute2 sees in a named namespace."""
    with pyroute2.NetNS(netns, flags=0) as inside:
        return {link.get_attr("IFLA_IFNAME"): link for link in inside.get_links()}


def read(path):
    with open(path, "rb") as file:
        return file.read()


def channel_to(target, pki=None, name=None):
    if pki is None:
        return grpc.insecure_channel(target)
    credentials = grpc.ssl_channel_credentials(
        read(f"{pki}/ca.pem"), read(f"{pki}/{name}-key.pem"), read(f"{pki}/{name}.pem")
    )
    return grpc.secure_channel(target, credentials)


def main():
    channel = channel_to(*sys.argv[1:4])
    namespaces = namespace_pb2_grpc.NamespaceServiceStub(channel)
    veths = veth_pb2_grpc.VethServiceStub(channel)

    request = namespace_pb2.CreateNamespaceRequest(namespace_id="py", request_id=str(uuid.uuid4()))
    netns = namespaces.CreateNamespace(request, timeout=TIMEOUT)
    assert netns.name == "namespaces/py" and netns.managed and netns.path == "/run/netns/py", netns
    assert namespaces.CreateNamespace(request, timeout=TIMEOUT) == netns, "a repeat gets the first answer"
    assert "py" in pyroute2.netns.listnetns()
    got = namespaces.GetNamespace(namespace_pb2.GetNamespaceRequest(name="namespaces/py"), timeout=TIMEOUT)
    assert got == netns, got
    listed = namespaces.ListNamespaces(namespace_pb2.ListNamespacesRequest(), timeout=TIMEOUT)
    assert [item.name for item in listed.namespaces if item.managed] == ["namespaces/py"], listed

    veth = veths.CreateVeth(
        veth_pb2.CreateVethRequest(
            veth_id="pair",
            veth=veth_pb2.Veth(
                endpoint_a=veth_pb2.VethEndpoint(host=veth_pb2.VethEndpoint.Host(), interface_name="py-host", mtu=1400),
                endpoint_b=veth_pb2.VethEndpoint(namespace="namespaces/py", mac_address="02:00:5E:10:00:01"),
            ),
        ),
        timeout=TIMEOUT,
    )
    assert veth.endpoint_b.interface_name == "veth0", veth
    inside = links_inside("py")["veth0"]
    assert inside.get_attr("IFLA_ADDRESS") == "02:00:5e:10:00:01" == veth.endpoint_b.mac_address
    assert inside["index"] == veth.endpoint_b.ifindex
    with pyroute2.NetNS(sys.argv[4], flags=0) if len(sys.argv) > 4 else pyroute2.IPRoute() as host:
        (link,) = host.link("get", ifname="py-host")
        assert link.get_attr("IFLA_MTU") == 1400 and link["index"] == veth.endpoint_a.ifindex
    assert veths.GetVeth(veth_pb2.GetVethRequest(name="veths/pair"), timeout=TIMEOUT) == veth
    assert list(veths.ListVeths(veth_pb2.ListVethsRequest(), timeout=TIMEOUT).veths) == [veth]

    expect_error(
        lambda: namespaces.CreateNamespace(
            namespace_pb2.CreateNamespaceRequest(namespace_id="py"), timeout=TIMEOUT
        ),
        grpc.StatusCode.ALREADY_EXISTS,
        "NAMESPACE_ALREADY_EXISTS",
    )
    expect_error(
        lambda: namespaces.CreateNamespace(
            namespace_pb2.CreateNamespaceRequest(namespace_id="../etc"), timeout=TIMEOUT
        ),
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_FIELD",
    )

    veths.DeleteVeth(veth_pb2.DeleteVethRequest(name="veths/pair"), timeout=TIMEOUT)
    assert list(links_inside("py")) == ["lo"]
    namespaces.DeleteNamespace(namespace_pb2.DeleteNamespaceRequest(name="namespaces/py"), timeout=TIMEOUT)
    assert "py" not in pyroute2.netns.listnetns()
    expect_error(
        lambda: namespaces.GetNamespace(namespace_pb2.GetNamespaceRequest(name="namespaces/py"), timeout=TIMEOUT),
        grpc.StatusCode.NOT_FOUND,
        "NAMESPACE_NOT_FOUND",
    )
    print("all calls answered as they should")


if __name__ == "__main__":
    main()
