// What the kernel has: requests to calls of the engine, and its answers to messages.
#ifndef NETPROV_SERVER_API_INSPECTION_H_
#define NETPROV_SERVER_API_INSPECTION_H_

#include <string>

#include "absl/status/statusor.h"
#include "netprov/v1/inspection.pb.h"
#include "server/api/validate.h"
#include "server/engine/engine.h"
#include "server/engine/inspection.h"

namespace netprov::api {

// A list of what is in a namespace.
template <typename Filter>
struct InspectCall {
  Filter filter;
  ListCall page;
  std::string parent;  // as requested
  std::string scope;   // stands for parent and filter in page tokens, so that one of another list is found out
};
using ListLinksCall = InspectCall<engine::LinkFilter>;
using ListIpCall = InspectCall<engine::IpFilter>;

// INVALID_FIELD, with every field that is wrong.
absl::StatusOr<ListLinksCall> ToCall(const v1::ListLinksRequest& request);
absl::StatusOr<ListIpCall> ToCall(const v1::ListAddressesRequest& request);
absl::StatusOr<ListIpCall> ToCall(const v1::ListRoutesRequest& request);
absl::StatusOr<ListIpCall> ToCall(const v1::ListNeighborsRequest& request);

v1::ListLinksResponse ToProto(const ListLinksCall& call, const engine::Page<engine::InspectedLink>& page);
v1::ListAddressesResponse ToProto(const ListIpCall& call, const engine::Page<engine::InspectedAddress>& page);
v1::ListRoutesResponse ToProto(const ListIpCall& call, const engine::Page<engine::InspectedRoute>& page);
v1::ListNeighborsResponse ToProto(const ListIpCall& call, const engine::Page<engine::InspectedNeighbour>& page);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_INSPECTION_H_
