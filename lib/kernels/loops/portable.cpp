#include "lib/kernels/loops/loops.h"

#define RETORT_LANES 4
#define RETORT_ROWS 6  // as many accumulators as AVX2, in the 16 registers that SSE2 and NEON have
#define RETORT_GROUP 4
#define RETORT_LOOPS loops_portable
#define RETORT_LOOPS_NAME "portable"
#include "lib/kernels/loops/all.inl"
