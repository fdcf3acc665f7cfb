#include "tests/e2e/audit_lines.h"

#include <fstream>
#include <set>
#include <sstream>

#include "gtest/gtest.h"

namespace netprov::testing {

using nlohmann::json;

std::vector<json> AuditLines(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  std::istringstream file(text.str());
  EXPECT_TRUE(text.str().empty() || text.str().back() == '\n') << "the last line is not whole";
  std::vector<json> lines;
  std::set<std::string> ids;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(json::parse(line, nullptr, /*allow_exceptions=*/false));
    if (!lines.back().is_object()) {
      ADD_FAILURE() << "no JSON: " << line;
      lines.pop_back();
      continue;
    }
    EXPECT_TRUE(ids.insert(lines.back().value("id", "")).second) << "a second line of its call: " << line;
  }
  return lines;
}

bool IsOfCall(const json& line) { return line.at("who").value("name", "") != "self"; }

bool SaysDone(const json& line) {
  if (!line.contains("changes")) return false;
  for (const json& change : line.at("changes")) {
    const std::string fate = change.value("fate", "");
    if (fate != "done" && fate != "completed") return false;
  }
  return true;
}

}  // namespace netprov::testing
