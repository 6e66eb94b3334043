#include "throwing.h"

#include <stdexcept>

bool throw_from_watch(const char *, const char *, hmkv_keychange, void *) {
  throw std::runtime_error("thrown on purpose");
}

void throw_from_state(hmkv_state, const char *, void *) {
  throw std::runtime_error("thrown on purpose");
}

void throw_from_log(int32_t, const char *, void *) {
  throw std::runtime_error("thrown on purpose");
}
