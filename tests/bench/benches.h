#pragma once
// Which comparisons there are. Each takes workloads that outlive the run and a flag that it clears
// when two implementations disagree.

#include "tests/bench/workload.h"

namespace retort::bench {

void register_matching(const std::vector<Workload>& workloads, const Sizes& sizes, bool& agreed);
void register_training(const std::vector<Workload>& workloads, const Sizes& sizes, bool& agreed);

}  // namespace retort::bench
