// Runs the example against the server at the endpoint that is the only argument, by default netprovd's socket.
#include <iostream>

#include "client/client.h"
#include "client/example.h"

int main(int argc, char** argv) {
  if (argc > 2) {
    std::cerr << "usage: " << argv[0] << " [unix:///PATH | HOST:PORT]\n";
    return 2;
  }
  const auto connection = netprov::client::MakeConnection(argc == 2 ? argv[1] : netprov::client::kDefaultEndpoint);
  if (!connection.ok()) {
    std::cerr << "example: " << connection.status().message() << "\n";
    return 2;
  }
  const absl::Status status = netprov::client::RunExample(netprov::client::Client(*connection), std::cout);
  if (!status.ok()) {
    std::cerr << "example: " << status.ToString() << "\n";
    return 1;
  }
  std::cout.flush();
  return std::cout.good() ? 0 : 1;
}
