// An attribute of the surface at one pixel, and the vjp. The contract is in dreamkit/ops/rasterize.py.
#pragma once

#include "portable.h"

namespace dreamkit {

template <class real>
struct Interpolation {
    const real* attribute;      // [values, channels]
    const int64_t* faces;       // [faces, 3], rows of `attribute`
    const int64_t* triangle;    // [pixels], -1 where nothing is seen
    const real* barycentric;    // [pixels, 3]
    int64_t values, channels, pixels;
};

template <class real>
DREAMKIT_FORMULA void interpolate_at(const Interpolation<real>& s, int64_t pixel, real* out) {
    const int64_t face = s.triangle[pixel];
    const real* b = s.barycentric + 3 * pixel;
    for (int64_t c = 0; c < s.channels; ++c) out[c] = 0;
    if (face < 0) return;
    for (int i = 0; i < 3; ++i) {
        const real* row = s.attribute + s.channels * s.faces[3 * face + i];
        for (int64_t c = 0; c < s.channels; ++c) out[c] += b[i] * row[c];
    }
}

// dL/db_i = sum_c g_c A_i,c.
template <class real>
DREAMKIT_FORMULA void barycentric_vjp(const Interpolation<real>& s, int64_t pixel, const real* g, real* gradient) {
    const int64_t face = s.triangle[pixel];
    for (int i = 0; i < 3; ++i) {
        real sum = 0;
        if (face >= 0) {
            const real* row = s.attribute + s.channels * s.faces[3 * face + i];
            for (int64_t c = 0; c < s.channels; ++c) sum += g[c] * row[c];
        }
        gradient[i] = sum;
    }
}

}  // namespace dreamkit
