#include "lib/kernels/loops/loops.h"

#define RETORT_LANES 16
#define RETORT_ROWS 12  // 24 accumulators, 2 columns and broadcasts in 32 registers
#define RETORT_GROUP 8
#define RETORT_LOOPS loops_avx512
#define RETORT_LOOPS_NAME "avx512"
#include "lib/kernels/loops/all.inl"
