// The table of the loops that interpolate attributes.
#pragma once

#include "interpolate.h"
#include "loops.h"

namespace dreamkit {

template <class real>
struct InterpolateLoops {
    void (*interpolate)(const Interpolation<real>&, real* out, Launch);
    void (*interpolate_vjp)(const Interpolation<real>&, const real* cotangent, real* attribute, real* barycentric,
                            Launch);
};

#define DREAMKIT_INTERPOLATE(variant)                                                                                \
    namespace variant {                                                                                              \
    template <class real> void interpolate(const Interpolation<real>&, real*, Launch);                               \
    template <class real> void interpolate_vjp(const Interpolation<real>&, const real*, real*, real*, Launch);       \
    template <class real> void fill(InterpolateLoops<real>& loops, Variant) {                                        \
        loops = {interpolate<real>, interpolate_vjp<real>};                                                          \
    }                                                                                                                \
    }

DREAMKIT_EACH_VARIANT(DREAMKIT_INTERPOLATE)

}  // namespace dreamkit
