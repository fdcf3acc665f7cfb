"""Fuzz targets whose corpora also run as plain tests."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

def fuzz_target(name, srcs, corpus, deps = []):
    """Declares two programs around one LLVMFuzzerTestOneInput.

    `NAME_corpus_test` runs each file of the corpus through it, with any compiler. `NAME` is the libFuzzer binary, which
    only builds with --config=fuzz:

        bazel build --config=fuzz //tests/fuzz:NAME
        mkdir -p /tmp/new && bazel-bin/tests/fuzz/NAME -max_total_time=60 /tmp/new tests/fuzz/CORPUS

    libFuzzer writes inputs that reach new code to the first directory, and one that fails to the current one. The latter
    belongs into the corpus once its cause is mended.

    Args:
      name: of the libFuzzer binary.
      srcs: the sources; one defines LLVMFuzzerTestOneInput.
      corpus: the directory of the corpus in this package. It must hold files.
      deps: what srcs need.
    """
    inputs = native.glob([corpus + "/**"], allow_empty = False)
    cc_library(
        name = name + "_function",
        testonly = True,
        srcs = srcs,
        alwayslink = True,
        deps = deps,
    )
    cc_test(
        name = name + "_corpus_test",
        size = "small",
        srcs = ["//tests/fuzz:corpus_main.cc"],
        args = [native.package_name() + "/" + corpus],
        data = inputs,
        deps = [":" + name + "_function"],
    )
    cc_binary(
        name = name,
        testonly = True,
        linkopts = select(
            {"//tests/fuzz:fuzzing": ["-fsanitize=fuzzer"]},
            no_match_error = "a fuzz target needs --config=fuzz",
        ),
        tags = ["manual"],
        deps = [":" + name + "_function"],
    )
