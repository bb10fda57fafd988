// The table of volume rendering's loops.
#pragma once

#include "composite.h"
#include "loops.h"

namespace dreamkit {

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
struct CompositeLoops {
    void (*composite)(const Samples<real>&, const Gathered<real>&, Launch);
    void (*composite_vjp)(const Samples<real>&, const real* weights, const real* after, const Cotangents<real>&,
                          real* density, real* values, Launch);
};

#define DREAMKIT_COMPOSITE(variant)                                                                                   \
    namespace variant {                                                                                               \
    template <class real> void composite(const Samples<real>&, const Gathered<real>&, Launch);                        \
    template <class real> void composite_vjp(const Samples<real>&, const real*, const real*, const Cotangents<real>&, \
                                             real*, real*, Launch);                                                   \
    template <class real> void fill(CompositeLoops<real>& loops, Variant) {                                           \
        loops = {composite<real>, composite_vjp<real>};                                                               \
    }                                                                                                                 \
    }

DREAMKIT_EACH_VARIANT(DREAMKIT_COMPOSITE)

}  // namespace dreamkit
