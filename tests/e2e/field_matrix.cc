#include "tests/e2e/field_matrix.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "google/api/field_behavior.pb.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

bool IsOutputOnly(const FieldDescriptor& field) {
  const auto& options = field.options();
  for (int i = 0; i < options.ExtensionSize(google::api::field_behavior); ++i) {
    if (options.GetExtension(google::api::field_behavior, i) == google::api::OUTPUT_ONLY) return true;
  }
  return false;
}

// Of netprov's own; those of Protobuf are values.
bool IsMessage(const FieldDescriptor& field) {
  return field.message_type() != nullptr && !field.is_map() &&
         absl::StartsWith(field.message_type()->full_name(), "netprov.");
}

std::string ValueName(const FieldDescriptor& field, const std::string& value) {
  return absl::StrCat(field.full_name(), " ", value);
}

void AddFieldsIn(const Message& message, std::set<std::string>& fields) {
  std::vector<const FieldDescriptor*> present;
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  reflection.ListFields(message, &present);
  for (const FieldDescriptor* field : present) {
    fields.insert(field->full_name());
    if (field->enum_type() != nullptr) fields.insert(ValueName(*field, reflection.GetEnum(message, field)->name()));
    if (!IsMessage(*field)) continue;
    if (!field->is_repeated()) AddFieldsIn(reflection.GetMessage(message, field), fields);
    for (int i = 0; field->is_repeated() && i < reflection.FieldSize(message, field); ++i) {
      AddFieldsIn(reflection.GetRepeatedMessage(message, field, i), fields);
    }
  }
}

void AddFieldsOf(const Descriptor& type, std::set<std::string>& fields) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (IsOutputOnly(field) || !fields.insert(field.full_name()).second) continue;
    // 0 says nothing.
    for (int k = 0; field.enum_type() != nullptr && k < field.enum_type()->value_count(); ++k) {
      const auto& value = *field.enum_type()->value(k);
      if (value.number() != 0) fields.insert(ValueName(field, value.name()));
    }
    if (IsMessage(field)) AddFieldsOf(*field.message_type(), fields);
  }
}

// Whether an update can name what is in it.
bool HasPaths(const FieldDescriptor& field) {
  // A limit goes as a whole: there is none without a rate.
  if (field.message_type() == v1::RateLimit::descriptor()) return false;
  return IsMessage(field) && !field.is_repeated() && field.message_type()->field_count() > 0;
}

void AddPathsIn(const Message& message, const std::string& before, std::vector<std::string>& paths) {
  std::vector<const FieldDescriptor*> present;
  message.GetReflection()->ListFields(message, &present);
  for (const FieldDescriptor* field : present) {
    const std::string path = before + field->name();
    if (HasPaths(*field)) {
      AddPathsIn(message.GetReflection()->GetMessage(message, field), path + ".", paths);
    } else {
      paths.push_back(path);
    }
  }
}

void AddPathsOf(const Descriptor& type, const std::string& before, bool is_all, std::vector<std::string>& paths) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (!is_all && IsOutputOnly(field)) continue;
    const std::string path = before + field.name();
    if (HasPaths(field)) {
      AddPathsOf(*field.message_type(), path + ".", is_all, paths);
    } else {
      paths.push_back(path);
    }
  }
}

std::unique_ptr<Message> Parsed(const std::string& text, const Message& base) {
  std::unique_ptr<Message> message(base.New());
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, message.get())) << text;
  return message;
}

std::unique_ptr<Message> With(const Thing& thing, const Message& base) {
  std::unique_ptr<Message> message(base.New());
  message->CopyFrom(base);
  message->MergeFrom(*Parsed(thing.text, base));
  return message;
}

bool IsLacking(const Thing& thing) {
  return !thing.probe.empty() &&
         Shell(absl::StrCat("if (", thing.probe, ") >/dev/null 2>&1; then echo yes; fi")) != "yes\n";
}

// The fields of a message with the paths, whatever they were.
void CopyPath(const std::string& path, const Message& from, Message& to) {
  const Message* source = &from;
  Message* target = &to;
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  for (size_t i = 0; i < names.size(); ++i) {
    const FieldDescriptor* field = source->GetDescriptor()->FindFieldByName(names[i]);
    if (i + 1 < names.size()) {
      source = &source->GetReflection()->GetMessage(*source, field);
      target = target->GetReflection()->MutableMessage(target, field);
      continue;
    }
    std::unique_ptr<Message> one(source->New());
    one->CopyFrom(*source);
    std::vector<const FieldDescriptor*> present;
    one->GetReflection()->ListFields(*one, &present);
    for (const FieldDescriptor* other : present) {
      if (other != field) one->GetReflection()->ClearField(one.get(), other);
    }
    target->GetReflection()->ClearField(target, field);
    target->MergeFrom(*one);
  }
}

}  // namespace

bool Shows(const json& whole, const json& part) {
  if (part.is_object()) {
    if (!whole.is_object()) return false;
    return std::all_of(part.items().begin(), part.items().end(), [&](const auto& item) {
      return whole.contains(item.key()) && Shows(whole.at(item.key()), item.value());
    });
  }
  if (part.is_array()) {
    if (!whole.is_array()) return false;
    return std::all_of(part.begin(), part.end(), [&](const json& element) {
      return std::any_of(whole.begin(), whole.end(), [&](const json& other) { return Shows(other, element); });
    });
  }
  return whole == part;
}

json LinkOf(uint32_t ifindex, const std::string& mac, uint32_t mtu) {
  json link = json::object();
  link["ifindex"] = ifindex;
  link["address"] = mac;
  link["mtu"] = mtu;
  return json::array({link});
}

std::set<std::string> FieldsIn(const Message& message) {
  std::set<std::string> fields;
  AddFieldsIn(message, fields);
  return fields;
}

std::set<std::string> FieldsOf(const Descriptor& type) {
  std::set<std::string> fields;
  AddFieldsOf(type, fields);
  return fields;
}

std::vector<std::string> PathsOf(const Descriptor& type, bool is_all) {
  std::vector<std::string> paths;
  AddPathsOf(type, "", is_all, paths);
  return paths;
}

void MergeNew(const Message& from, Message& to) {
  std::vector<const FieldDescriptor*> present;
  from.GetReflection()->ListFields(from, &present);
  for (const FieldDescriptor* field : present) {
    if (IsMessage(*field) && !field->is_repeated()) {
      MergeNew(from.GetReflection()->GetMessage(from, field), *to.GetReflection()->MutableMessage(&to, field));
    } else if (IsMessage(*field)) {
      const int already = to.GetReflection()->FieldSize(to, field);
      for (int i = 0; i < from.GetReflection()->FieldSize(from, field); ++i) {
        const Message& added = from.GetReflection()->GetRepeatedMessage(from, field, i);
        bool is_there = false;
        for (int k = 0; k < already; ++k) {
          is_there |= to.GetReflection()->GetRepeatedMessage(to, field, k).DebugString() == added.DebugString();
        }
        if (!is_there) to.GetReflection()->AddMessage(&to, field)->CopyFrom(added);
      }
    } else {
      std::unique_ptr<Message> one(from.New());
      one->CopyFrom(from);
      for (const FieldDescriptor* other : present) {
        if (other != field) one->GetReflection()->ClearField(one.get(), other);
      }
      to.MergeFrom(*one);
    }
  }
}

void FillAddress(v1::Address& address) {
  const bool is_ipv6 = absl::StrContains(address.address(), ':');
  if (!absl::StrContains(address.address(), '/')) address.set_address(address.address() + (is_ipv6 ? "/128" : "/32"));
  if (!is_ipv6 && address.scope() == v1::Address::SCOPE_UNSPECIFIED) address.set_scope(v1::Address::SCOPE_GLOBAL);
  if (is_ipv6 && address.duplicate_detection() == v1::Address::DUPLICATE_DETECTION_UNSPECIFIED) {
    address.set_duplicate_detection(v1::Address::DUPLICATE_DETECTION_NONE);
  }
}

void FillRoute(v1::Route& route) {
  const bool is_ipv6 = absl::StrContains(route.destination(), ':');
  if (route.type() == v1::Route::TYPE_UNSPECIFIED) route.set_type(v1::Route::TYPE_UNICAST);
  if (route.table() == 0) route.set_table(254);
  if (is_ipv6 && route.metric() == 0) route.set_metric(1024);
  if (!is_ipv6 && route.type() == v1::Route::TYPE_UNICAST && route.scope() == v1::Route::SCOPE_UNSPECIFIED) {
    route.set_scope(route.gateway().empty() ? v1::Route::SCOPE_LINK : v1::Route::SCOPE_GLOBAL);
  }
}

void FillPort(uint32_t cost, v1::BridgePort& port) {
  if (!port.has_hairpin()) port.set_hairpin(false);
  if (!port.has_isolated()) port.set_isolated(false);
  if (!port.has_learning()) port.set_learning(true);
  if (!port.has_unicast_flood()) port.set_unicast_flood(true);
  if (!port.has_multicast_flood()) port.set_multicast_flood(true);
  if (!port.has_broadcast_flood()) port.set_broadcast_flood(true);
  if (!port.has_neighbor_suppression()) port.set_neighbor_suppression(false);
  if (!port.has_cost()) port.set_cost(cost);
  if (!port.has_priority()) port.set_priority(32);
  for (v1::BridgeVlan& vlan : *port.mutable_vlans()) {
    if (vlan.last() == 0) vlan.set_last(vlan.first());
  }
}

void FillMetadata(const v1::Metadata& made, v1::Metadata& metadata) {
  EXPECT_NE(made.creator(), "");
  metadata.set_creator(made.creator());
  EXPECT_EQ(made.has_expire_time(), metadata.has_ttl());
  if (!made.has_expire_time()) return;
  const int64_t left = made.expire_time().seconds() - absl::ToUnixSeconds(absl::Now());
  EXPECT_LE(left, metadata.ttl().seconds());
  EXPECT_GT(left, metadata.ttl().seconds() - 60);
  *metadata.mutable_expire_time() = made.expire_time();
}

bool FieldMatrixTest::Confirms(const Witness& witness, Prints& prints) {
  const auto [found, is_new] = prints.try_emplace(witness.command);
  if (is_new) found->second = Shell(witness.command);
  if (!absl::StrContains(witness.command, " -j ")) return absl::StrContains(found->second, witness.part);
  const json part = json::parse(witness.part, nullptr, /*allow_exceptions=*/false);
  EXPECT_FALSE(part.is_discarded()) << witness.part;
  return Shows(json::parse(found->second, nullptr, /*allow_exceptions=*/false), part);
}

void FieldMatrixTest::ExpectConfirmed(const Thing& thing, Prints& prints) {
  for (const Witness& witness : thing.witnesses) {
    EXPECT_TRUE(Confirms(witness, prints))
        << thing.text << "\n"
        << witness.command << " does not show " << witness.part << " in " << prints[witness.command];
  }
}

void FieldMatrixTest::ExpectIs(const Answer& answer, const Message& asked) {
  EXPECT_OK(answer);
  if (!answer.ok()) return;
  const Answer read = Read();
  EXPECT_OK(read);
  // Each for itself: the time at which a lease ends is worked out anew each time.
  for (const Answer& told : {answer, read}) {
    std::unique_ptr<Message> expected(asked.New());
    expected->CopyFrom(asked);
    Fill(*told.value, *expected);
    EXPECT_EQ(told.value->DebugString(), expected->DebugString());
  }
}

void FieldMatrixTest::ExpectEachAlone(const Message& base, const std::vector<Thing>& things) {
  const std::string before = Everything();
  ExpectIs(Make(base), base);
  Prints bare;
  for (const Thing& thing : things) {
    for (const Witness& witness : thing.witnesses) {
      EXPECT_TRUE(thing.kind == Thing::kDefault || !Confirms(witness, bare))
          << thing.text << "\n"
          << witness.command << " shows " << witness.part << " without it";
    }
  }
  Remove();
  EXPECT_EQ(Everything(), before);
  for (const Thing& thing : things) {
    SCOPED_TRACE(thing.text);
    const std::unique_ptr<Message> asked = With(thing, base);
    if (IsLacking(thing)) {
      EXPECT_EQ(Make(*asked).Summary(), "FAILED_PRECONDITION KERNEL_FEATURE_MISSING");
      EXPECT_EQ(Read().code, absl::StatusCode::kNotFound);
    } else {
      ExpectIs(Make(*asked), *asked);
      Prints prints;
      ExpectConfirmed(thing, prints);
      Remove();
    }
    EXPECT_EQ(Everything(), before);
  }
}

void FieldMatrixTest::ExpectAllTogether(const Message& base, const std::vector<Thing>& things) {
  const std::string before = Everything();
  std::unique_ptr<Message> asked(base.New());
  asked->CopyFrom(base);
  std::vector<const Thing*> together;
  for (const Thing& thing : things) {
    if (thing.kind != Thing::kAny || IsLacking(thing)) continue;
    MergeNew(*Parsed(thing.text, base), *asked);
    together.push_back(&thing);
  }
  const Answer made = Make(*asked);
  ExpectIs(made, *asked);
  for (const bool is_restarted : {false, true}) {
    SCOPED_TRACE(is_restarted);
    Prints prints;
    for (const Thing* thing : together) ExpectConfirmed(*thing, prints);
    if (is_restarted) break;
    KillDaemon();
    StartDaemon();
    EXPECT_THAT(Findings(), IsEmpty());
    ExpectIs(Read(), *asked);
  }
  Remove();
  EXPECT_EQ(Everything(), before);
}

void FieldMatrixTest::ExpectUpdates(const Message& base, const std::vector<Thing>& things,
                                    const std::set<std::string>& fixed) {
  const Answer made = Make(base);
  ExpectIs(made, base);
  if (!made.ok()) return;
  const std::string before = Everything();
  std::unique_ptr<Message> all(base.New());
  std::vector<const Thing*> together;
  const auto update = [&](const Message& change, const std::vector<const Thing*>& shown) {
    std::vector<std::string> paths;
    AddPathsIn(change, "", paths);
    std::unique_ptr<Message> wanted(made.value->New());
    wanted->CopyFrom(*made.value);
    for (const std::string& path : paths) CopyPath(path, change, *wanted);
    ExpectIs(Update(*wanted, paths, /*validate_only=*/false), *wanted);
    Prints prints;
    for (const Thing* thing : shown) ExpectConfirmed(*thing, prints);
    const Answer back = Update(*made.value, paths, /*validate_only=*/false);
    EXPECT_OK(back);
    EXPECT_EQ(back.value->DebugString(), made.value->DebugString());
    EXPECT_EQ(Everything(), before);
  };
  for (const Thing& thing : things) {
    SCOPED_TRACE(thing.text);
    const std::unique_ptr<Message> change = Parsed(thing.text, base);
    std::vector<std::string> paths;
    AddPathsIn(*change, "", paths);
    if (std::any_of(paths.begin(), paths.end(), [&](const std::string& path) { return fixed.contains(path); })) {
      continue;
    }
    if (IsLacking(thing)) {
      EXPECT_EQ(Update(*With(thing, *made.value), paths, /*validate_only=*/false).Summary(),
                "FAILED_PRECONDITION KERNEL_FEATURE_MISSING");
      EXPECT_EQ(Everything(), before);
      continue;
    }
    update(*change, {&thing});
    if (thing.kind != Thing::kAny) continue;
    MergeNew(*change, *all);
    together.push_back(&thing);
  }
  update(*all, together);
  Remove();
}

void FieldMatrixTest::ExpectComplete(const Message& base, const std::vector<Thing>& things,
                                     const std::set<std::string>& elsewhere) {
  std::set<std::string> missing = FieldsOf(*base.GetDescriptor());
  for (const std::string& field : FieldsIn(base)) missing.erase(field);
  for (const Thing& thing : things) {
    for (const std::string& field : FieldsIn(*Parsed(thing.text, base))) missing.erase(field);
    // The kernel knows nothing of whose an object is.
    EXPECT_TRUE(!thing.witnesses.empty() || absl::StrContains(thing.text, "metadata")) << thing.text;
  }
  for (const std::string& field : elsewhere) missing.erase(field);
  EXPECT_THAT(missing, IsEmpty());
}

void FieldMatrixTest::ExpectRefusesOnly(const Message& base, const std::set<std::string>& fixed) {
  const Answer made = Make(base);
  EXPECT_OK(made);
  const std::vector<std::string> given = PathsOf(*base.GetDescriptor(), /*is_all=*/false);
  for (const std::string& path : PathsOf(*base.GetDescriptor(), /*is_all=*/true)) {
    SCOPED_TRACE(path);
    const Answer answer = Update(*made.value, {path}, /*validate_only=*/true);
    const bool can_change = !fixed.contains(path) && std::find(given.begin(), given.end(), path) != given.end();
    const std::vector<std::string> fields = answer.Fields();
    const bool is_refused = std::find(fields.begin(), fields.end(), "update_mask") != fields.end();
    EXPECT_EQ(is_refused, !can_change) << answer.Summary() << " " << answer.message;
    if (can_change) continue;
    EXPECT_EQ(answer.Summary(), "INVALID_ARGUMENT INVALID_FIELD");
    EXPECT_THAT(answer.message, HasSubstr(absl::StrCat("\"", path, "\"")));
  }
  for (const std::string& path : fixed) {
    EXPECT_NE(std::find(given.begin(), given.end(), path), given.end()) << path << " is no field";
  }
  Remove();
}

}  // namespace netprov::testing
