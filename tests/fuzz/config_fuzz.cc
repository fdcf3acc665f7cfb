// A configuration file, whatever is in it: it is refused with a sentence, or every value is within its range.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/unique_fd.h"
#include "server/config.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void Check(const netprov::Config& config) {
  Require(config.workers >= 1 && config.workers <= 256);
  Require(config.queue_limit >= 1 && config.prepared_namespaces <= 64);
  Require(config.shutdown_grace >= absl::ZeroDuration() && config.shutdown_grace <= absl::Hours(24));
  Require(!config.socket_path.empty() || !config.listen.empty());
  Require(!config.state_dir.empty());
  // TCP is never served by chance.
  Require(config.listen.empty() || config.insecure || !config.tls.certificate.empty());
  Require(config.tls.certificate.empty() == config.tls.client_ca.empty());
  Require(config.connections.unix_total >= 1 && config.connections.tcp_total >= 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const netprov::UniqueFd file(::memfd_create("config", MFD_CLOEXEC));
  Require(::write(file.get(), data, size) == static_cast<ssize_t>(size));
  const std::string path = absl::StrCat("/proc/self/fd/", file.get());
  const char* const arguments[] = {"netprovd", "--config", path.c_str()};
  const auto parsed = netprov::ParseConfig(3, arguments);
  if (const auto* config = std::get_if<netprov::Config>(&parsed)) {
    Check(*config);
  } else {
    Require(!std::get<netprov::ExitRequest>(parsed).text.empty());
  }
  return 0;
}
