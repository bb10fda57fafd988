// A texel look-up between texels and between mip levels, and the vjp. The contract is in dreamkit/ops/texture.py.
#pragma once

#include "portable.h"

namespace dreamkit {

template <class real>
struct Texture {
    const real* texels;     // [texels, channels], level by level
    const int64_t* levels;  // [levels, 3]: first texel, rows, columns
    const real* uv;         // [samples, 2]
    const real* level;      // [samples] or null: level 0
    int64_t texel_count, level_count, channels, samples;
};

// Four neighbouring texels of one level. `x` is the share of the right ones, `y` of the lower ones.
template <class real>
struct Quad {
    int64_t index[4];  // upper left, upper right, lower left, lower right
    real x, y;
    real columns, rows;

    DREAMKIT_FORMULA real weight(int i) const { return (i % 2 ? x : real(1) - x) * (i / 2 ? y : real(1) - y); }
    // d weight / d(u, v).
    DREAMKIT_FORMULA real weight_u(int i) const { return (i % 2 ? columns : -columns) * (i / 2 ? y : real(1) - y); }
    DREAMKIT_FORMULA real weight_v(int i) const { return (i / 2 ? rows : -rows) * (i % 2 ? x : real(1) - x); }
};

// The index of a texel at the border stands for all beyond it; NaN goes to 0, and stays in the weights.
template <class real>
DREAMKIT_FORMULA int64_t at_border(real x, int64_t size) {
    return x > 0 ? x < static_cast<real>(size - 1) ? static_cast<int64_t>(x) : size - 1 : 0;
}

template <class real>
DREAMKIT_FORMULA Quad<real> quad_at(const Texture<real>& s, int64_t sample, int64_t level) {
    const int64_t first = s.levels[3 * level], rows = s.levels[3 * level + 1], columns = s.levels[3 * level + 2];
    Quad<real> q;
    q.columns = static_cast<real>(columns), q.rows = static_cast<real>(rows);
    const real x = s.uv[2 * sample] * q.columns - real(0.5), y = s.uv[2 * sample + 1] * q.rows - real(0.5);
    const real left = std::floor(x), upper = std::floor(y);
    q.x = x - left, q.y = y - upper;
    const int64_t c0 = at_border(left, columns), c1 = at_border(left + 1, columns);
    const int64_t r0 = at_border(upper, rows), r1 = at_border(upper + 1, rows);
    q.index[0] = first + r0 * columns + c0, q.index[1] = first + r0 * columns + c1;
    q.index[2] = first + r1 * columns + c0, q.index[3] = first + r1 * columns + c1;
    return q;
}

// Calls visit(quad, share) for the one or two levels that a sample reads.
template <class real, class Visit>
DREAMKIT_FORMULA void each_level(const Texture<real>& s, int64_t sample, Visit visit) {
    const real top = static_cast<real>(s.level_count - 1), wanted = s.level ? s.level[sample] : real(0);
    const real level = wanted > 0 ? (wanted < top ? wanted : top) : real(0);
    const int64_t fine = static_cast<int64_t>(level);
    const real share = level - static_cast<real>(fine);
    visit(quad_at(s, sample, fine), real(1) - share);
    if (share > 0) visit(quad_at(s, sample, fine + 1), share);
}

template <class real>
DREAMKIT_FORMULA void sample_at(const Texture<real>& s, int64_t sample, real* out) {
    for (int64_t c = 0; c < s.channels; ++c) out[c] = 0;
    each_level(s, sample, [&](const Quad<real>& q, real share) {
        for (int i = 0; i < 4; ++i) {
            const real w = share * q.weight(i);
            for (int64_t c = 0; c < s.channels; ++c) out[c] += w * s.texels[q.index[i] * s.channels + c];
        }
    });
}

template <class real>
DREAMKIT_FORMULA void uv_vjp(const Texture<real>& s, int64_t sample, const real* g, real* gradient) {
    gradient[0] = gradient[1] = 0;
    each_level(s, sample, [&](const Quad<real>& q, real share) {
        for (int i = 0; i < 4; ++i) {
            real product = 0;
            for (int64_t c = 0; c < s.channels; ++c) product += g[c] * s.texels[q.index[i] * s.channels + c];
            gradient[0] += share * q.weight_u(i) * product;
            gradient[1] += share * q.weight_v(i) * product;
        }
    });
}

}  // namespace dreamkit
