#include "lib/core/memory.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace retort {

void tune_allocator() {
#if defined(__GLIBC__)
  // 32 MiB is the largest threshold glibc accepts; bigger blocks are rare because work is cut into
  // chunks of a few dozen images.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace retort
