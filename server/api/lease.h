// Leases: requests to calls of the engine, and its answers to messages.
#ifndef NETPROV_SERVER_API_LEASE_H_
#define NETPROV_SERVER_API_LEASE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "netprov/v1/lease.pb.h"
#include "server/engine/engine.h"
#include "server/engine/lease_book.h"

namespace netprov::api {

// The owner. INVALID_FIELD for one that can't be.
absl::StatusOr<std::string> ToCall(const v1::RenewLeaseRequest& request);

// What Engine::PlanGarbage() wants to know.
struct GarbageQuery {
  std::string owner;
  std::vector<std::string> keep;
  bool validate_only = false;
};
absl::StatusOr<GarbageQuery> ToCall(const v1::CollectGarbageRequest& request);

v1::RenewLeaseResponse ToProto(const engine::LeaseBook::Renewal& renewal);
v1::CollectGarbageResponse ToProto(const engine::Garbage& garbage);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_LEASE_H_
