#pragma once
// Which cells run side by side, and how long the others will take.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace retort::sweep {

/// What a cell takes while it runs.
struct Demand {
  std::int64_t threads = 1;
  double memory_bytes = 0;             ///< 0: not known
  std::vector<std::string> devices{};  ///< beside the processor
};

/// What all that run at a time may take; 0: no limit.
struct Budget {
  std::int64_t jobs = 0;
  std::int64_t threads = 0;
  double memory_bytes = 0;
  bool shared_devices = false;  ///< else a device has one cell at a time: its memory is not known

  /// Whether `next` may start beside what runs.
  bool fits(const std::vector<Demand>& running, const Demand& next) const;
};

/// What is left to do of a cell, in seconds as predicted; none: nobody knows.
struct Left {
  std::optional<double> condense = 0.0;
  std::int64_t evaluations = 0;
};

/// How work went so far.
class Pace {
 public:
  void condensed(std::optional<double> predicted_seconds, double seconds);
  void evaluated(double seconds);

  /// Until all that is `left` is done with `lanes` cells at a time; none: not enough was seen.
  /// @param running seconds that cells have been at work on something that `left` holds
  std::optional<double> seconds_left(const std::vector<Left>& left, std::int64_t lanes,
                                     double running) const;

 private:
  std::optional<double> seconds_of(const Left& left) const;

  double predicted_ = 0;  ///< of runs whose time was predicted
  double measured_ = 0;   ///< of the same runs
  double condense_seconds_ = 0;
  std::int64_t condensed_ = 0;
  double evaluate_seconds_ = 0;
  std::int64_t evaluated_ = 0;
};

/// "1/4": the second quarter of the cells.
struct Shard {
  std::size_t index = 0;
  std::size_t count = 1;

  bool has(std::size_t cell) const { return cell % count == index; }
};
/// @throws ConfigError unless it is "i/n" with i below n
Shard parse_shard(const std::string& text);

/// "16G", "900M", "2.5G", or plain bytes; a unit is a power of 1024. @throws ConfigError naming
/// `option`
double parse_bytes(const std::string& option, const std::string& text);

}  // namespace retort::sweep
