// The fields of the API against the kernel: a table of what an object can have, each in the form of a request and with
// what iproute2, nft and others then say, and a fixture that makes and updates objects with each alone and all
// together.
#ifndef NETPROV_TESTS_E2E_FIELD_MATRIX_H_
#define NETPROV_TESTS_E2E_FIELD_MATRIX_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "google/protobuf/message.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/component/test_client.h"
#include "tests/e2e/host_fixture.h"

namespace netprov::testing {

// What a command that knows nothing of netprov prints.
struct Witness {
  std::string command;
  // A part of that. Of JSON (a command with `-j`) as Shows() has it; of anything else a piece of the text.
  std::string part;
};

// One thing that an object can have.
struct Thing {
  enum Kind {
    kAny,
    // What it is anyway, so that witnesses see no difference. Left out where others are together.
    kDefault,
    // It can't be together with others.
    kAlone,
  };
  // The object with it, in the text format.
  std::string text;
  std::vector<Witness> witnesses;
  Kind kind = kAny;
  // Fails on a kernel that does not have it. Then the call fails with KERNEL_FEATURE_MISSING.
  std::string probe = {};
};

// Behind `ip address`: takes off what changes by itself, as how far the kernel is with its own addresses, and a link
// with its carrier and its bridge.
inline constexpr char kSteady[] =
    " | sed '/inet6 fe80/,+1d; s/ tso_max[a-z_]* [0-9]*\\| tentative\\|NO-CARRIER,\\|,LOWER_UP\\| qdisc [a-z]*\\| "
    "state [A-Z]*\\|[a-z_]*_timer *[0-9.]*"
    "\\|\\(bridge_id\\|designated_root\\) [^ ]*//g'; ";

// Whether `whole` has `part`: of an object the members that `part` names, of an array an element for each of `part`'s,
// in any order, and else the same.
bool Shows(const nlohmann::json& whole, const nlohmann::json& part);

// The part of what `ip -j link show dev` prints that is so.
nlohmann::json LinkOf(uint32_t ifindex, const std::string& mac, uint32_t mtu);

// The fields that `message` has, and those of the messages in it, as `netprov.v1.Route.metric`; of enumerations also
// their values, as `netprov.v1.Route.type TYPE_BLACKHOLE`.
std::set<std::string> FieldsIn(const google::protobuf::Message& message);
// All of them that a caller can give.
std::set<std::string> FieldsOf(const google::protobuf::Descriptor& type);
// The paths of what a caller can give, or of all that there is, down to lists and to what is replaced as a whole.
std::vector<std::string> PathsOf(const google::protobuf::Descriptor& type, bool is_all);

// Adds what `from` has to `to`, but elements that it has already.
void MergeNew(const google::protobuf::Message& from, google::protobuf::Message& to);

// What a port of a bridge can have but for VLANs, in the text format, with what `bridge -j -d link show` says of it.
inline constexpr std::pair<const char*, const char*> kPortSettings[] = {
    {"hairpin: true", R"("hairpin":true)"},
    {"isolated: true", R"("isolated":true)"},
    {"learning: false", R"("learning":false)"},
    {"unicast_flood: false", R"("flood":false)"},
    {"multicast_flood: false", R"("mcast_flood":false)"},
    {"broadcast_flood: false", R"("bcast_flood":false)"},
    {"neighbor_suppression: true", R"("neigh_suppress":true)"},
    {"cost: 7", R"("cost":7)"},
    {"priority: 5", R"("priority":5)"},
};

// What is left out and filled in by the server, as the documentation has it, where that is the same for several
// messages.
void FillAddress(v1::Address& address);
void FillRoute(v1::Route& route);
// `cost` is the kernel's choice.
void FillPort(uint32_t cost, v1::BridgePort& port);
// Of metadata, what only the server knows is that of `made`.
void FillMetadata(const v1::Metadata& made, v1::Metadata& metadata);
// Of a link: VethEndpoint, Bridge or Device. `mtu` is the kernel's choice.
template <typename Link>
void FillLink(const Link& made, uint32_t mtu, Link& link) {
  EXPECT_NE(made.ifindex(), 0U);
  link.set_ifindex(made.ifindex());
  EXPECT_FALSE(made.mac_address().empty());
  if (link.mac_address().empty()) link.set_mac_address(made.mac_address());
  if (link.mtu() == 0) link.set_mtu(mtu);
  if (link.admin_state() == v1::VethEndpoint::ADMIN_STATE_UNSPECIFIED) {
    link.set_admin_state(v1::VethEndpoint::ADMIN_STATE_UP);
  }
}
// Of an object that is READY.
template <typename Object>
void FillObject(const Object& made, const std::string& name, Object& object) {
  object.set_name(name);
  EXPECT_EQ(made.uid().size(), 36U);
  object.set_uid(made.uid());
  EXPECT_NE(made.create_time().seconds(), 0);
  *object.mutable_create_time() = made.create_time();
  object.set_state(Object::STATE_READY);
  FillMetadata(made.metadata(), *object.mutable_metadata());
}

// A daemon, and objects of one kind, all under the same name and one at a time.
class FieldMatrixTest : public HostTest {
 protected:
  // The answer to a call about the object, whichever kind it is.
  struct Answer : Ending {
    std::shared_ptr<google::protobuf::Message> value;
  };
  template <typename T>
  static Answer AnswerOf(Reply<T> reply) {
    Answer answer;
    static_cast<Ending&>(answer) = reply;
    answer.value = std::make_shared<T>(std::move(reply.value));
    return answer;
  }

  // The answer to a request that makes or updates `object`, which is in it.
  template <typename Request>
  Answer MakeBy(Request& request, google::protobuf::Message* object, const google::protobuf::Message& asked) {
    object->CopyFrom(asked);
    return AnswerOf(client_->Create(request));
  }
  template <typename Request>
  Answer UpdateBy(Request& request, google::protobuf::Message* object, const google::protobuf::Message& wanted,
                  const std::vector<std::string>& paths, bool validate_only) {
    object->CopyFrom(wanted);
    request.mutable_update_mask()->mutable_paths()->Add(paths.begin(), paths.end());
    request.set_validate_only(validate_only);
    return AnswerOf(client_->Update(request));
  }

  // Makes the object, reads, updates (or only checks whether it could) and deletes it.
  virtual Answer Make(const google::protobuf::Message& asked) = 0;
  virtual Answer Read() = 0;
  virtual Answer Update(const google::protobuf::Message& wanted, const std::vector<std::string>& paths,
                        bool validate_only) = 0;
  virtual void Remove() = 0;
  // What an object that was asked for so is to be like. `made` is the answer, for what only the server knows.
  virtual void Fill(const google::protobuf::Message& made, google::protobuf::Message& asked) = 0;
  // All that the object can change on the host, as far as it goes with the object.
  virtual std::string Everything() = 0;

  // Makes `base` with each of `things` alone, and expects it to be answered, read and seen, and nothing to be left.
  void ExpectEachAlone(const google::protobuf::Message& base, const std::vector<Thing>& things);
  // The same with all of them, after a restart too.
  void ExpectAllTogether(const google::protobuf::Message& base, const std::vector<Thing>& things);
  // Makes `base` and updates it to each of `things` and back, and then to all of them and back; those with one of
  // `fixed`, which are paths that no update can name, are left out.
  void ExpectUpdates(const google::protobuf::Message& base, const std::vector<Thing>& things,
                     const std::set<std::string>& fixed);

  // Expects that nothing is missing in a table, so that a new field or value can't be forgotten. `elsewhere`: fields
  // that another table has.
  static void ExpectComplete(const google::protobuf::Message& base, const std::vector<Thing>& things,
                             const std::set<std::string>& elsewhere = {});
  // Expects that an update refuses to name any of `fixed` and what only the server gives, and takes all else.
  void ExpectRefusesOnly(const google::protobuf::Message& base, const std::set<std::string>& fixed);

 private:
  // What commands print now; each runs once.
  using Prints = std::map<std::string, std::string>;
  static bool Confirms(const Witness& witness, Prints& prints);
  static void ExpectConfirmed(const Thing& thing, Prints& prints);
  // Expects `answer` and what is read to be what was asked for.
  void ExpectIs(const Answer& answer, const google::protobuf::Message& asked);
};

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_E2E_FIELD_MATRIX_H_
