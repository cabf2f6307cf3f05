#include "lib/sweep/schedule.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::sweep {
namespace {

bool share_one(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return std::find_first_of(a.begin(), a.end(), b.begin(), b.end()) != a.end();
}

}  // namespace

bool Budget::fits(const std::vector<Demand>& running, const Demand& next) const {
  Demand all = next;
  for (const auto& demand : running) {
    if (!shared_devices && share_one(demand.devices, next.devices)) return false;
    all.threads += demand.threads;
    all.memory_bytes += demand.memory_bytes;
  }
  return (jobs == 0 || std::int64_t(running.size()) < jobs) &&
         (threads == 0 || all.threads <= threads) &&
         (memory_bytes == 0 || all.memory_bytes <= memory_bytes);
}

void Pace::condensed(std::optional<double> predicted_seconds, double seconds) {
  condense_seconds_ += seconds;
  ++condensed_;
  if (!predicted_seconds) return;
  predicted_ += *predicted_seconds;
  measured_ += seconds;
}

void Pace::evaluated(double seconds) {
  evaluate_seconds_ += seconds;
  ++evaluated_;
}

std::optional<double> Pace::seconds_of(const Left& left) const {
  double seconds = 0;
  if (!left.condense) {
    if (condensed_ == 0) return std::nullopt;
    seconds += condense_seconds_ / double(condensed_);
  } else if (*left.condense > 0) {
    seconds += *left.condense * (predicted_ > 0 ? measured_ / predicted_ : 1);
  }
  if (left.evaluations == 0) return seconds;
  if (evaluated_ == 0) return std::nullopt;
  return seconds + evaluate_seconds_ / double(evaluated_) * double(left.evaluations);
}

std::optional<double> Pace::seconds_left(const std::vector<Left>& left, std::int64_t lanes,
                                         double running) const {
  double all = 0;
  double longest = 0;
  for (const auto& cell : left) {
    const std::optional<double> seconds = seconds_of(cell);
    if (!seconds) return std::nullopt;
    all += *seconds;
    longest = std::max(longest, *seconds);
  }
  const double work = std::max(0.0, all - running);
  return std::max(work / double(std::max<std::int64_t>(1, lanes)),
                  std::max(0.0, longest - running));
}

Shard parse_shard(const std::string& text) {
  const auto refuse = [&]() -> Shard {
    throw ConfigError(
        str("option 'shard': expected i/n with i of 0 .. n-1, as in 0/4, found '", text, "'"));
  };
  const auto number = [&](const std::string& part) -> std::size_t {
    std::size_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc() || end != part.data() + part.size()) refuse();
    return value;
  };
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) return refuse();
  const Shard shard{number(text.substr(0, slash)), number(text.substr(slash + 1))};
  return shard.index < shard.count ? shard : refuse();
}

double parse_bytes(const std::string& option, const std::string& text) {
  double number = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, number, std::chars_format::fixed);
  double unit = 1;
  bool known = end == last;
  if (last - end == 1) {
    const std::string units = "kKmMgGtT";
    const std::size_t at = units.find(*end);
    known = at != std::string::npos;
    if (known) unit = std::pow(1024.0, double(at / 2 + 1));
  }
  if (error != std::errc() || !known || !std::isfinite(number) || number <= 0) {
    throw ConfigError(
        str("option '", option, "': expected a size such as 16G or 900M, found '", text, "'"));
  }
  return number * unit;
}

}  // namespace retort::sweep
