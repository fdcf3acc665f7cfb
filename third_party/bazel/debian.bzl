"""The external repositories of a build that has no route to the outside: Debian's copies, made to load in Debian's Bazel."""

_RULES = "/usr/share/bazel/rules/"

def _debian_rules_cc_impl(ctx):
    # Debian 12 pairs rules_cc 0.0.4 with Bazel 4.2.3, which has no use_cpp_toolchain. The real rules are copied and that one
    # symbol is replaced by what it stood for. Unnecessary from Bazel 5.3 on, whose @bazel_tools defines the symbol.
    source = _RULES + "cc"
    result = ctx.execute(["cp", "-rL", source + "/.", "."])
    if result.return_code != 0:
        fail("cannot copy %s (Debian package bazel-rules-cc): %s" % (source, result.stderr))
    for name in ["cc_flags_supplier", "compiler_flag"]:
        path = "cc/private/rules_impl/%s.bzl" % name
        text = ctx.read(path)
        text = text.replace(", \"use_cpp_toolchain\")", ")")
        text = text.replace("use_cpp_toolchain()", "[\"@bazel_tools//tools/cpp:toolchain_type\"]")
        ctx.file(path, text, executable = False)

_debian_rules_cc = repository_rule(
    implementation = _debian_rules_cc_impl,
    doc = "rules_cc as Debian packages it, made to load in Debian's Bazel 4.2.3.",
    local = True,
)

def _coverage_stub_impl(ctx):
    # `bazel test` resolves this label although nothing here is written in Java. Unnecessary from Bazel 5 on, where only
    # `bazel coverage` asks for it.
    ctx.file("WORKSPACE", "")
    ctx.file("BUILD.bazel", "filegroup(name = \"coverage_report_generator\", visibility = [\"//visibility:public\"])\n")

_coverage_stub = repository_rule(
    implementation = _coverage_stub_impl,
    doc = "An empty stand-in for the Java coverage tools, which would be downloaded.",
    local = True,
)

def debian_bazel_repositories():
    """Declares every external repository of the build."""
    _debian_rules_cc(name = "rules_cc")

    # Bazel 4's built-in JDK toolchains load these at analysis. Unnecessary from Bazel 7 on, where they are registered lazily.
    native.local_repository(name = "rules_java", path = _RULES + "java")
    _coverage_stub(name = "remote_coverage_tools")
