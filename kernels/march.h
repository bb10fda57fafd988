// Where a ray meets the marching cube, and which occupancy cell a point lies in.
// The contract is in dreamkit/ops/march.py. Every operation is there in the same order, so that both agree to the bit.
#pragma once

#include "portable.h"

namespace dreamkit {

template <class real>
struct Marching {
    const real* origins;       // [rays, 3]
    const real* directions;    // [rays, 3]
    const bool* occupancy;     // [grid, grid, grid], index order x, y, z
    const real* jitter;        // [rays] or null: 0.5
    int64_t rays, grid;
    double radius, near_, far_, step;  // windows.h defines near and far
};

template <class real>
struct Span {
    real start, end;
};

template <class real>
DREAMKIT_FORMULA Span<real> clip(const Marching<real>& m, int64_t ray) {
    const real radius = static_cast<real>(m.radius);
    Span<real> span{static_cast<real>(m.near_), static_cast<real>(m.far_)};
    for (int i = 0; i < 3; ++i) {
        const real o = m.origins[3 * ray + i], d = m.directions[3 * ray + i];
        if (d == real(0)) {
            // Parallel to a pair of faces: between them or not, whatever the distance.
            if (!((o < real(0) ? -o : o) <= radius)) span.end = span.start;
            continue;
        }
        const real a = (-radius - o) / d, b = (radius - o) / d;
        const real enter = a < b ? a : b, leave = a < b ? b : a;
        // Once NaN is in, it stays: nothing is greater, and the span is empty.
        if (enter > span.start || enter != enter) span.start = enter;
        if (leave < span.end || leave != leave) span.end = leave;
    }
    return span;
}

template <class real>
DREAMKIT_FORMULA real distance_at(const Marching<real>& m, const Span<real>& span, int64_t ray, int64_t k) {
    const real share = m.jitter ? m.jitter[ray] : real(0.5);
    return span.start + (static_cast<real>(k) + share) * static_cast<real>(m.step);
}

template <class real>
DREAMKIT_FORMULA bool occupied(const Marching<real>& m, int64_t ray, real distance) {
    const real radius = static_cast<real>(m.radius), cells = static_cast<real>(m.grid / (2 * m.radius));
    int64_t index = 0;
    for (int i = 0; i < 3; ++i) {
        const real point = m.origins[3 * ray + i] + distance * m.directions[3 * ray + i];
        const int32_t cell = static_cast<int32_t>((point + radius) * cells);  // negative by rounding only
        const int32_t last = static_cast<int32_t>(m.grid) - 1;
        index = index * m.grid + (cell < 0 ? 0 : cell > last ? last : cell);
    }
    return m.occupancy[index];
}

// Calls keep(distance) for each sample of the ray, nearest first.
template <class real, class Keep>
DREAMKIT_FORMULA void each_sample(const Marching<real>& m, int64_t ray, Keep keep) {
    const Span<real> span = clip(m, ray);
    for (int64_t k = 0;; ++k) {
        const real distance = distance_at(m, span, ray, k);
        if (!(distance < span.end)) return;
        if (occupied(m, ray, distance)) keep(distance);
    }
}

}  // namespace dreamkit
