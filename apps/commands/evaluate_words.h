#pragma once
// The options of `evaluate`, for whoever calls it with words of their own.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/config/options.h"

namespace retort::commands {

class EvaluateWords {
 public:
  EvaluateWords();
  ~EvaluateWords();
  EvaluateWords(const EvaluateWords&) = delete;
  EvaluateWords& operator=(const EvaluateWords&) = delete;

  /// Bound to this object.
  config::OptionTable& table();
  /// Takes flags, and finds what they alone can say wrongly. Once only.
  /// @throws ConfigError as `retort evaluate` would before it reads the set
  void take(const std::vector<std::string>& flags);
  /// Networks asked for; empty: the protocol's.
  const std::vector<std::string>& nets() const;
  std::int64_t threads() const;
  /// Part of every class that is tested on instead of the test images; 0: none.
  double hold_out() const;
  const std::string& device() const;
  /// `key = value` lines of all that decides the numbers of an evaluation, but for the set.
  std::string recorded() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort::commands
