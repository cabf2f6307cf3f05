#pragma once

namespace retort {

/// Keeps the memory of freed tensors in the process instead of handing it back to the kernel after
/// every operation: with glibc's defaults each large temporary is mapped, zeroed page by page and
/// unmapped again. Call once, first thing in main. Peak memory may grow by what was in use before.
/// Does nothing where the C library is not glibc.
void tune_allocator();

}  // namespace retort
