// The table of the ray marcher's loops.
#pragma once

#include "loops.h"
#include "march.h"

namespace dreamkit {

template <class real>
struct MarchLoops {
    void (*march_count)(const Marching<real>&, int64_t* count, Launch);
    void (*march_fill)(const Marching<real>&, const int64_t* offsets, int64_t* ray, real* distance, Launch);
};

#define DREAMKIT_MARCH(variant)                                                                       \
    namespace variant {                                                                               \
    template <class real> void march_count(const Marching<real>&, int64_t*, Launch);                  \
    template <class real> void march_fill(const Marching<real>&, const int64_t*, int64_t*, real*, Launch); \
    template <class real> void fill(MarchLoops<real>& loops, Variant) {                               \
        loops = {march_count<real>, march_fill<real>};                                                \
    }                                                                                                 \
    }

DREAMKIT_EACH_VARIANT(DREAMKIT_MARCH)

}  // namespace dreamkit
