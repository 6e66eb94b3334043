#include "static_ends.h"

namespace {

struct Caller {
  const char *which;
  static_end_fn fn;
  ~Caller() {
    if (fn) fn(which);
  }
};

Caller global{"global", nullptr};

} // namespace

void at_end_of_global(static_end_fn fn) { global.fn = fn; }

void at_end_of_local(static_end_fn fn) {
  static Caller local{"local", nullptr};
  local.fn = fn;
}

void at_end_of_thread(static_end_fn fn) {
  thread_local Caller own{"thread", nullptr};
  own.fn = fn;
}
