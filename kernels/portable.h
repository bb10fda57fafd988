// One spelling for functions that the host and the device share.
#pragma once

#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define DREAMKIT_FORMULA __host__ __device__ __forceinline__
#elif defined(_MSC_VER)
#define DREAMKIT_FORMULA __forceinline
#else
// Always inlined, so that no copy compiled for a newer processor can stand in for one compiled for an older.
#define DREAMKIT_FORMULA inline __attribute__((always_inline))
#endif

// Every build of these formulas switches the contraction of a * b + c off (CMakeLists.txt): the cell that a point
// falls into must be the same as in the torch reference, and a fused product rounds differently.
