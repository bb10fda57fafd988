// The table of the rasteriser's loops.
#pragma once

#include "loops.h"
#include "rasterize.h"

namespace dreamkit {

// What each pixel sees: [views, height, width] and so on. Cotangents have the same shapes.
template <class real>
struct Visible {
    int64_t* triangle;
    real *barycentric, *depth;
};

template <class real>
struct Seen {
    const int64_t* triangle;
    const real *barycentric, *depth;
};

template <class real>
struct RasterizeLoops {
    void (*rasterize)(const Projected<real>&, const Visible<real>&, Launch);
    void (*rasterize_vjp)(const Projected<real>&, const Seen<real>& cotangent, real* gradient, Launch);
};

#define DREAMKIT_RASTERIZE(variant)                                                                       \
    namespace variant {                                                                                   \
    template <class real> void rasterize(const Projected<real>&, const Visible<real>&, Launch);           \
    template <class real> void rasterize_vjp(const Projected<real>&, const Seen<real>&, real*, Launch);   \
    template <class real> void fill(RasterizeLoops<real>& loops, Variant) {                               \
        loops = {rasterize<real>, rasterize_vjp<real>};                                                   \
    }                                                                                                     \
    }

DREAMKIT_EACH_VARIANT(DREAMKIT_RASTERIZE)

}  // namespace dreamkit
