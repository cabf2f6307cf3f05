#pragma once

#include <string>

namespace retort {

/// The processor's own name, from /proc/cpuinfo; "unknown" elsewhere.
std::string processor_name();

/// Wall seconds since an arbitrary fixed point; monotonic.
double wall_seconds();

/// Processor seconds of this process, all threads.
double cpu_seconds();

/// Largest resident set of this process so far, in bytes.
double peak_memory_bytes();

}  // namespace retort
