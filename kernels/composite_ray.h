// One ray of volume rendering, front to back, and its vjp, back to front: the loop that every processor gives to one
// thread.
#pragma once

#include "composite_loops.h"

namespace dreamkit {

template <class real>
DREAMKIT_FORMULA void composite_ray(const Samples<real>& s, const Gathered<real>& out, int64_t ray) {
    real before = 1, alpha = 0, depth = 0;
    real* sum = out.accumulated + ray * s.channels;
    for (int64_t c = 0; c < s.channels; ++c) sum[c] = 0;
    for (int64_t i = s.offsets[ray]; i < s.offsets[ray + 1]; ++i) {
        Attenuation<real> a{0, before};
        if (!(before < static_cast<real>(s.stop))) a = attenuate(before, s.density[i] * s.length[i]);
        before = a.after;
        out.weights[i] = a.weight;
        out.after[i] = a.after;
        alpha += a.weight;
        if (s.distance) depth += a.weight * s.distance[i];
        for (int64_t c = 0; c < s.channels; ++c) sum[c] += a.weight * s.values[i * s.channels + c];
    }
    out.alpha[ray] = alpha;
    if (s.distance) out.depth[ray] = depth;
}

template <class real>
DREAMKIT_FORMULA void composite_ray_vjp(const Samples<real>& s, const real* weights, const real* after,
                                        const Cotangents<real>& g, real* density, real* values, int64_t ray) {
    const real* of_sum = g.accumulated + ray * s.channels;
    real later = 0;
    for (int64_t i = s.offsets[ray + 1]; i-- > s.offsets[ray];) {
        real cotangent = g.weights[i] + g.alpha[ray];
        if (s.distance) cotangent += g.depth[ray] * s.distance[i];
        for (int64_t c = 0; c < s.channels; ++c) {
            cotangent += of_sum[c] * s.values[i * s.channels + c];
            values[i * s.channels + c] = weights[i] * of_sum[c];
        }
        const real before = i == s.offsets[ray] ? real(1) : after[i - 1];
        const real optical = attenuate_vjp(weights[i], after[i], cotangent, later);
        density[i] = before < static_cast<real>(s.stop) ? real(0) : optical * s.length[i];
    }
}

}  // namespace dreamkit
