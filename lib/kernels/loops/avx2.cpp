#include "lib/kernels/loops/loops.h"

#define RETORT_LANES 8
#define RETORT_ROWS 6  // 12 accumulators, 2 columns and 1 broadcast in 16 registers
#define RETORT_GROUP 4
#define RETORT_LOOPS loops_avx2
#define RETORT_LOOPS_NAME "avx2"
#include "lib/kernels/loops/all.inl"
