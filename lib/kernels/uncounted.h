#pragma once

#include "lib/kernels/policy.h"

namespace retort::kernels {

/// What is computed while one lives is not counted: for trials, whose results nobody gets.
class Uncounted {
 public:
  Uncounted() : before_(counters()) {}
  ~Uncounted();
  Uncounted(const Uncounted&) = delete;
  Uncounted& operator=(const Uncounted&) = delete;

 private:
  Counters before_;
};

}  // namespace retort::kernels
