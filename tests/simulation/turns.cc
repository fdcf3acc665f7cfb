#include "tests/simulation/turns.h"

#include <utility>

namespace netprov::simulation {
namespace {

thread_local Turn* current = nullptr;

}  // namespace

Turn::Turn(std::function<void()> body) : body_(std::move(body)) {
  thread_ = std::thread([this] {
    current = this;
    go_.acquire();
    try {
      if (killed_) throw Crash();
      body_();
    } catch (const Crash&) {
      crashed_ = true;
    }
    ended_ = true;
    back_.release();
  });
}

Turn::~Turn() {
  Kill();
  thread_.join();
}

void Turn::Step() {
  go_.release();
  back_.acquire();
}

void Turn::Kill() {
  killed_ = true;
  while (!ended_) Step();
}

void Turn::Yield() {
  if (current == nullptr) return;
  Turn& turn = *current;
  turn.back_.release();
  turn.go_.acquire();
  if (turn.killed_) throw Crash();
}

}  // namespace netprov::simulation
