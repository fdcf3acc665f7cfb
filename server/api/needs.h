// What a request needs to be allowed, and what of an answer its caller may see.
#ifndef NETPROV_SERVER_API_NEEDS_H_
#define NETPROV_SERVER_API_NEEDS_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "server/access/policy.h"

namespace netprov::api {

// One thing that a request needs, and what is known of the labels that it is up to.
struct Need {
  access::Demand demand;
  // The labels that the resource will have; if it is there already, those that it has now count too. nullopt: those
  // that it has now.
  std::optional<access::Labels> labels;
  // The resource need not be there: if it is not, `labels` count, and else those that it has.
  bool may_be_made = false;
};

struct Needs {
  std::vector<Need> all;
  // The object that the call makes, changes or deletes, by its resource name: if it is there, where it is and what it
  // stands on are rights of their own too. Empty: none.
  std::string changes;
};

// What the request of `method`, as in `CreateVeth`, needs, as the caller wrote it: unchecked. Of any request there is
// at least one need; what names a resource that can't exist needs it all the same.
Needs NeedsOf(absl::string_view method, const google::protobuf::Message& request);

// Takes the resources out of a page of a list that `may_see` refuses, by their names and labels. Answers that are no
// such page stay as they are.
void Filter(google::protobuf::Message& response,
            const std::function<bool(const std::string& resource, const access::Labels& labels)>& may_see);

// Takes the pairs and devices out of the `ports` of bridges in an answer that `may_see` refuses, by their names.
void FilterPorts(google::protobuf::Message& response, const std::function<bool(const std::string& port)>& may_see);

// The method that deletes a resource of that name: `DeleteVeth`. Empty: none does.
std::string DeletionOf(absl::string_view resource);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_NEEDS_H_
