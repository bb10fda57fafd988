// Volume rendering at one sample, and its vjp. The contract is in dreamkit/ops/composite.py.
#pragma once

#include "portable.h"

namespace dreamkit {

template <class real>
struct Samples {
    const real* density;    // [samples]
    const real* length;     // [samples]
    const real* values;     // [samples, channels]
    const real* distance;   // [samples] or null
    const int64_t* offsets; // [rays + 1]
    int64_t rays, channels;
    double stop;            // samples behind a smaller transmittance are left out
};

template <class real>
struct Attenuation {
    real weight;  // T alpha
    real after;   // T (1 - alpha), the transmittance behind the sample
};

// alpha = 1 - exp(-x). One of the two transcendentals is enough: below ln 2, expm1 keeps alpha's digits and 1 - alpha
// keeps those of exp(-x); above it the other way round.
template <class real>
DREAMKIT_FORMULA Attenuation<real> attenuate(real before, real x) {
    if (x < real(0.6931)) {
        const real alpha = -std::expm1(-x);
        return {before * alpha, before * (real(1) - alpha)};
    }
    const real rest = std::exp(-x);
    return {before * (real(1) - rest), before * rest};
}

// With G_i the cotangent of w_i: dL/dx_i = T_i (1 - alpha_i) G_i - sum_{j > i} w_j G_j. `later` carries the sum.
template <class real>
DREAMKIT_FORMULA real attenuate_vjp(real weight, real after, real cotangent, real& later) {
    const real gradient = after * cotangent - later;
    later += weight * cotangent;
    return gradient;
}

}  // namespace dreamkit
