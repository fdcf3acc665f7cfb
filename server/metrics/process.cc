#include "server/metrics/process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace netprov::metrics {
namespace {

std::string Read(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::optional<double> Number(absl::string_view text) {
  double number = 0;
  if (!absl::SimpleAtod(text, &number)) return std::nullopt;
  return number;
}

// The fields of /proc/self/stat from the third on: the second, the program's name, may hold anything.
std::vector<std::string> ReadStat() {
  const std::string text = Read("/proc/self/stat");
  const size_t end = text.rfind(") ");
  if (end == std::string::npos) return {};
  return absl::StrSplit(text.substr(end + 2), ' ');
}

// When the machine started, in seconds since 1970.
std::optional<double> BootTime() {
  for (absl::string_view line : absl::StrSplit(Read("/proc/stat"), '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
    if (words.size() == 2 && words[0] == "btime") return Number(words[1]);
  }
  return std::nullopt;
}

std::optional<double> OpenFiles() {
  std::error_code error;
  double count = 0;
  for (std::filesystem::directory_iterator file("/proc/self/fd", error), end; !error && file != end;
       file.increment(error)) {
    ++count;
  }
  if (error) return std::nullopt;
  // Less the one that the directory is read by.
  return count - 1;
}

}  // namespace

void AddProcess(Families& families) {
  const std::vector<std::string> stat = ReadStat();
  // By its number in proc(5), which begins with 1.
  auto field = [&stat](size_t number) { return number - 3 < stat.size() ? Number(stat[number - 3]) : std::nullopt; };
  auto sample = [&families](std::optional<double> value) {
    if (value.has_value()) families.Sample({}, *value);
  };
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const auto page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  const std::optional<double> user = field(14);
  const std::optional<double> system = field(15);
  const std::optional<double> start = field(22);
  const std::optional<double> size = field(23);
  const std::optional<double> resident = field(24);

  families.Counter("process_cpu_seconds_total", "Processor time that the daemon has used");
  if (user.has_value() && system.has_value()) families.Sample({}, (*user + *system) / ticks);
  families.Gauge("process_start_time_seconds", "When the daemon started, in seconds since 1970");
  const std::optional<double> boot = BootTime();
  if (boot.has_value() && start.has_value()) families.Sample({}, *boot + *start / ticks);
  families.Gauge("process_open_fds", "Open file descriptors");
  sample(OpenFiles());
  families.Gauge("process_max_fds", "How many file descriptors may be open");
  rlimit files = {};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) families.Sample({}, static_cast<double>(files.rlim_cur));
  families.Gauge("process_virtual_memory_bytes", "Address space");
  sample(size);
  families.Gauge("process_resident_memory_bytes", "Memory that is resident");
  if (resident.has_value()) families.Sample({}, *resident * page);
}

}  // namespace netprov::metrics
