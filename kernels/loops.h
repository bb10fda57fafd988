// What the tables of loops have in common. Each op offers one table, filled once for each kind of processor, in its own
// header OP_loops.h: a struct of function pointers, and a `fill` in each namespace below, found by the type of Variant.
#pragma once

#include "portable.h"

namespace dreamkit {

// How to run: processor threads, or the CUDA stream.
struct Launch {
    int threads;
    uintptr_t stream;
};

namespace baseline {  // what the compiler targets by default
struct Variant {};
}  // namespace baseline
namespace avx2 {
struct Variant {};
}  // namespace avx2
namespace cuda {
struct Variant {};
}  // namespace cuda

// Applies DECLARE to the name of every namespace that this build has.
#define DREAMKIT_EACH_VARIANT(DECLARE) DREAMKIT_BASELINE(DECLARE) DREAMKIT_AVX2(DECLARE) DREAMKIT_CUDA(DECLARE)
#define DREAMKIT_BASELINE(DECLARE) DECLARE(baseline)
#if defined(DREAMKIT_WITH_AVX2)
#define DREAMKIT_AVX2(DECLARE) DECLARE(avx2)
#else
#define DREAMKIT_AVX2(DECLARE)
#endif
#if defined(DREAMKIT_WITH_CUDA)
#define DREAMKIT_CUDA(DECLARE) DECLARE(cuda)
#else
#define DREAMKIT_CUDA(DECLARE)
#endif

}  // namespace dreamkit
