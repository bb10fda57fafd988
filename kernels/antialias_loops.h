// The table of the loops that antialias silhouettes.
#pragma once

#include "antialias.h"
#include "loops.h"

namespace dreamkit {

// What a forward pass remembers of its pairs: [2 axes, views, height, width].
template <class real>
struct Pairs {
    real* weight;
    int64_t* edge;
};

template <class real>
struct AntialiasLoops {
    void (*antialias)(const Outlined<real>&, const Pairs<real>&, real* out, Launch);
    void (*antialias_vjp)(const Outlined<real>&, const Pairs<real>&, const real* cotangent, real* image, real* vertices,
                          Launch);
};

#define DREAMKIT_ANTIALIAS(variant)                                                                                   \
    namespace variant {                                                                                               \
    template <class real> void antialias(const Outlined<real>&, const Pairs<real>&, real*, Launch);                   \
    template <class real> void antialias_vjp(const Outlined<real>&, const Pairs<real>&, const real*, real*, real*,    \
                                             Launch);                                                                 \
    template <class real> void fill(AntialiasLoops<real>& loops, Variant) {                                           \
        loops = {antialias<real>, antialias_vjp<real>};                                                               \
    }                                                                                                                 \
    }

DREAMKIT_EACH_VARIANT(DREAMKIT_ANTIALIAS)

}  // namespace dreamkit
