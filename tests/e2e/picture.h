// A picture of a host's state that owes nothing to our decoder.
#ifndef NETPROV_TESTS_E2E_PICTURE_H_
#define NETPROV_TESTS_E2E_PICTURE_H_

#include <string>
#include <vector>

#include "tests/component/test_client.h"

namespace netprov::testing {

// What there is: the objects of the API, the files at /run/netns with what is mounted there and those at /etc/netns,
// then of the host, of each namespace at /run/netns and of those at the paths `places` the links with their addresses,
// routes, rules of routing (as bytes), permanent neighbors, forwarding databases and VLANs of bridges' ports, queueing
// disciplines, classes and filters, the rule set of nftables, all settings of each link (net.ipv4.conf.LINK and
// net.ipv6.conf.LINK, as numbers in the kernel's order) and some of the namespace's own, as iproute2, nft, rtnetlink
// and the kernel's files show them.
//
// Equal for equal states. What another object of the same kind would have otherwise is left out (uids, indexes, times,
// handles), and what the kernel adds or changes on its own time (operational states, what comes of IPv6's link-local
// addresses, timers). In the kernel's part each uid that the API knows stands as its object's name, so that two
// pictures with the same objects differ where a tag in the kernel is not that of the object.
std::string PictureOf(TestClient& client, const std::vector<std::string>& places = {});

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_E2E_PICTURE_H_
