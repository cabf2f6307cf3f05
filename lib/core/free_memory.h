#pragma once

#include <filesystem>

namespace retort {

/// Where the kernel tells of memory.
struct MemoryPlaces {
  std::filesystem::path meminfo = "/proc/meminfo";
  std::filesystem::path own_groups = "/proc/self/cgroup";
  std::filesystem::path groups = "/sys/fs/cgroup";
};

/// Bytes that this program may still take: what the machine has available, and no more than the
/// control groups around the program (a container, the job of a cluster) leave it; 0: not known.
double free_memory_bytes(const MemoryPlaces& places = {});

}  // namespace retort
