// Who a client is to a server that it reaches by TLS, and which servers it trusts.
#ifndef NETPROV_CLIENT_TLS_H_
#define NETPROV_CLIENT_TLS_H_

#include <string>

namespace netprov::client {

// Paths of files in PEM, which are read when a connection is made.
struct TlsOptions {
  // The CAs that sign the certificates of servers.
  std::string ca;

  // The client's certificate, with those between it and its CA behind it, and its private key, without a passphrase.
  std::string certificate;
  std::string key;

  // The name that the server's certificate must have; empty: the host of the endpoint.
  std::string server_name;

  bool is_empty() const { return ca.empty() && certificate.empty() && key.empty() && server_name.empty(); }

  friend bool operator==(const TlsOptions&, const TlsOptions&) = default;
};

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_TLS_H_
