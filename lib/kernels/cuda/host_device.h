#pragma once
// Arithmetic that runs on both sides is written once: nvcc compiles it for host and device, the
// C++ compiler for the host. The headers of this folder that use it include neither LibTorch nor
// CUDA and stay C++17, the most that CMake 3.25 knows for nvcc.

#ifdef __CUDACC__
#define RETORT_HD __host__ __device__ inline
#else
#define RETORT_HD inline
#endif
