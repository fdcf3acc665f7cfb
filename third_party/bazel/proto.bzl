"""Generates C++ and Python from .proto files with the system's protoc and gRPC plugins."""

load("@rules_cc//cc:defs.bzl", "cc_library")

# The roots of the import paths of every .proto file here.
_ROOTS = "-I proto -I third_party"

def _protoc(name, srcs, imports, outs, flags, visibility = None):
    native.genrule(
        name = name,
        srcs = srcs + imports,
        outs = outs,
        cmd = "protoc %s %s %s" % (_ROOTS, flags, " ".join(["$(locations %s)" % src for src in srcs])),
        message = "Generating from .proto",
        visibility = visibility,
    )

def cc_proto(name, srcs, imports = [], deps = [], services = [], visibility = None):
    """A cc_library of the messages of `srcs`, and of the stubs, services and mocks of those that are also in `services`.

    Args:
      name: of the library.
      srcs: .proto files of this package.
      imports: filegroups with the .proto files that they import.
      deps: the cc_proto libraries of those.
      services: the ones of srcs that define gRPC services; each then has a _mock.grpc.pb.h for gMock besides.
      visibility: of the library.
    """
    stems = [src[:-len(".proto")] for src in srcs]
    service_stems = [src[:-len(".proto")] for src in services]
    _protoc(
        name = name + "_messages",
        srcs = srcs,
        imports = imports,
        outs = [stem + ending for stem in stems for ending in [".pb.h", ".pb.cc"]],
        flags = "--cpp_out=$(RULEDIR)",
    )
    if services:
        _protoc(
            name = name + "_services",
            srcs = services,
            imports = imports + [src for src in srcs if src not in services],
            outs = [stem + ending for stem in service_stems for ending in [".grpc.pb.h", ".grpc.pb.cc", "_mock.grpc.pb.h"]],
            flags = "--grpc_out=generate_mock_code=true:$(RULEDIR) --plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin",
        )
    cc_library(
        name = name,
        srcs = [stem + ".pb.cc" for stem in stems] + [stem + ".grpc.pb.cc" for stem in service_stems],
        hdrs = [stem + ".pb.h" for stem in stems] +
               [stem + ending for stem in service_stems for ending in [".grpc.pb.h", "_mock.grpc.pb.h"]],
        includes = ["."],
        visibility = visibility,
        deps = deps + ["//third_party:protobuf"] + (["//third_party:grpc++"] if services else []),
    )

def py_proto(name, srcs, imports = [], services = [], visibility = None):
    """A filegroup-like rule with the _pb2.py of `srcs` and the _pb2_grpc.py of `services`.

    Args:
      name: of the rule.
      srcs: .proto files of this package.
      imports: filegroups with the .proto files that they import.
      services: the ones of srcs that define gRPC services.
      visibility: of the rule.
    """
    stems = [src[:-len(".proto")] for src in srcs]
    service_stems = [src[:-len(".proto")] for src in services]
    _protoc(
        name = name,
        srcs = srcs,
        imports = imports,
        outs = [stem + "_pb2.py" for stem in stems] + [stem + "_pb2_grpc.py" for stem in service_stems],
        flags = "--python_out=$(RULEDIR)" +
                (" --grpc_out=$(RULEDIR) --plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin" if services else ""),
        visibility = visibility,
    )
