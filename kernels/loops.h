// The table of loops that each build of the kernels offers: one build for each kind of processor.
#pragma once

#include "composite.h"
#include "hash_encode.h"
#include "march.h"

namespace dreamkit {

// How to run: processor threads, or the CUDA stream.
struct Launch {
    int threads;
    uintptr_t stream;
};

template <class real>
struct Encoding {
    const real* points;     // [count, 3]
    const real* table;      // [entries, features]; null where a loop does not read it
    const real* direction;  // [count, 3] or null: use v . grad w in place of the weight w
    int64_t count;
    int active;  // levels from here on are silent
    Pyramid pyramid;
};

// Cotangents of the outputs of composite; each may be null.
template <class real>
struct Cotangents {
    const real *weights, *accumulated, *alpha, *depth;
};

template <class real>
struct Gathered {
    real *weights, *after, *accumulated, *alpha, *depth;
};

template <class real>
struct Loops {
    void (*encode)(const Encoding<real>&, real* encoded, Launch);
    void (*table_gradient)(const Encoding<real>&, const real* cotangent, real* gradient, Launch);
    void (*points_gradient)(const Encoding<real>&, const real* cotangent, real* gradient, Launch);
    void (*march_count)(const Marching<real>&, int64_t* count, Launch);
    void (*march_fill)(const Marching<real>&, const int64_t* offsets, int64_t* ray, real* distance, Launch);
    void (*composite)(const Samples<real>&, const Gathered<real>&, Launch);
    void (*composite_vjp)(const Samples<real>&, const real* weights, const real* after, const Cotangents<real>&,
                          real* density, real* values, Launch);
};

#define DREAMKIT_DECLARE_LOOPS(variant)                                                                               \
    namespace variant {                                                                                               \
    template <class real> void encode(const Encoding<real>&, real*, Launch);                                          \
    template <class real> void table_gradient(const Encoding<real>&, const real*, real*, Launch);                     \
    template <class real> void points_gradient(const Encoding<real>&, const real*, real*, Launch);                    \
    template <class real> void march_count(const Marching<real>&, int64_t*, Launch);                                  \
    template <class real> void march_fill(const Marching<real>&, const int64_t*, int64_t*, real*, Launch);            \
    template <class real> void composite(const Samples<real>&, const Gathered<real>&, Launch);                        \
    template <class real> void composite_vjp(const Samples<real>&, const real*, const real*, const Cotangents<real>&, \
                                             real*, real*, Launch);                                                   \
    template <class real> Loops<real> loops() {                                                                       \
        return {encode<real>,     table_gradient<real>, points_gradient<real>, march_count<real>,                     \
                march_fill<real>, composite<real>,      composite_vjp<real>};                                         \
    }                                                                                                                 \
    }

DREAMKIT_DECLARE_LOOPS(baseline)  // what the compiler targets by default
#if defined(DREAMKIT_WITH_AVX2)
DREAMKIT_DECLARE_LOOPS(avx2)
#endif
#if defined(DREAMKIT_WITH_CUDA)
DREAMKIT_DECLARE_LOOPS(cuda)
#endif

}  // namespace dreamkit
