// Multi-resolution hash encoding at one point of one level, and its first and second derivatives.
// The contract is in dreamkit/ops/hash_encode.py; the source is arXiv 2201.05989, section 3.
#pragma once

#include "portable.h"

namespace dreamkit {

constexpr int kMostLevels = 32;

struct Level {
    double scale;    // cells along a side of the unit cube
    int64_t offset;  // first entry in the table
    uint32_t size;   // entries
    uint32_t side;   // vertices along a side
    bool dense;      // every vertex has its own entry
};

struct Pyramid {
    Level level[kMostLevels];
    int levels;
    int features;
    bool smoothstep;
};

// The upper vertex's share of the value along one axis, and the derivatives of that share in the coordinate.
// The lower vertex has one minus it.
template <class real>
struct Share {
    real upper, slope, bend;
    uint32_t cell;
};

template <class real>
DREAMKIT_FORMULA Share<real> share_along(real x, real scale, bool smoothstep) {
    const real inside = x < real(0) ? real(0) : (x > real(1) ? real(1) : x);  // NaN stays NaN
    const real position = inside * scale + real(0.5);
    Share<real> share;
    // Truncation is the floor, because the position is positive; NaN fails the test and takes cell 0.
    const int32_t cell = position >= real(0) ? static_cast<int32_t>(position) : 0;
    share.cell = static_cast<uint32_t>(cell);
    const real t = position - static_cast<real>(cell);
    const real slope = inside == x ? scale : real(0);  // a clamped coordinate does not move its point
    share.upper = smoothstep ? t * t * (real(3) - real(2) * t) : t;
    share.slope = smoothstep ? real(6) * t * (real(1) - t) * slope : slope;
    share.bend = smoothstep ? (real(6) - real(12) * t) * slope * slope : real(0);
    return share;
}

// Corner c is the vertex (c & 1, c >> 1 & 1, c >> 2) of the cell.
template <bool dense>
DREAMKIT_FORMULA uint32_t entry_at(const Level& level, int corner, uint32_t x, uint32_t y, uint32_t z) {
    x += corner & 1, y += corner >> 1 & 1, z += corner >> 2;
    if (!dense) return (x ^ y * 2654435761u ^ z * 805459861u) & (level.size - 1);
    const uint32_t index = x + level.side * (y + level.side * z);
    return index >= level.size ? index - level.size : index;  // the far faces wrap around
}

// Along one axis: the share of the corner's vertex, and the derivative of that share.
template <class real>
DREAMKIT_FORMULA real share_of(bool upper, const Share<real>& axis) {
    return upper ? axis.upper : real(1) - axis.upper;
}

template <class real>
DREAMKIT_FORMULA real slope_of(bool upper, const Share<real>& axis) {
    return upper ? axis.slope : -axis.slope;
}

// w = f_x f_y f_z
template <class real>
DREAMKIT_FORMULA real weight_at(int corner, const Share<real>& x, const Share<real>& y, const Share<real>& z) {
    return share_of<real>(corner & 1, x) * share_of<real>(corner >> 1 & 1, y) * share_of<real>(corner >> 2, z);
}

// v . grad w
template <class real>
DREAMKIT_FORMULA real weight_along(int corner, const Share<real>& x, const Share<real>& y, const Share<real>& z, real vx,
                                   real vy, real vz) {
    const real fx = share_of<real>(corner & 1, x), dx = slope_of<real>(corner & 1, x);
    const real fy = share_of<real>(corner >> 1 & 1, y), dy = slope_of<real>(corner >> 1 & 1, y);
    const real fz = share_of<real>(corner >> 2, z), dz = slope_of<real>(corner >> 2, z);
    return vx * dx * fy * fz + vy * fx * dy * fz + vz * fx * fy * dz;
}

template <class real>
DREAMKIT_FORMULA real blend(real lower, real upper, real share) {
    return lower + share * (upper - lower);
}

template <class real>
struct Vector {
    real x, y, z;
};

// grad sum_c w_c q_c, from the differences of the corner values q along each axis.
template <class real>
DREAMKIT_FORMULA Vector<real> blend_gradient(const real (&q)[8], const Share<real>& x, const Share<real>& y,
                                             const Share<real>& z) {
    const real along_x = blend(blend(q[1] - q[0], q[3] - q[2], y.upper), blend(q[5] - q[4], q[7] - q[6], y.upper), z.upper);
    const real along_y = blend(blend(q[2] - q[0], q[3] - q[1], x.upper), blend(q[6] - q[4], q[7] - q[5], x.upper), z.upper);
    const real along_z = blend(blend(q[4] - q[0], q[5] - q[1], x.upper), blend(q[6] - q[2], q[7] - q[3], x.upper), y.upper);
    return {x.slope * along_x, y.slope * along_y, z.slope * along_z};
}

// grad (v . grad sum_c w_c q_c)
template <class real>
DREAMKIT_FORMULA Vector<real> blend_curvature(const real (&q)[8], const Share<real>& x, const Share<real>& y,
                                              const Share<real>& z, real vx, real vy, real vz) {
    const Share<real> ux{x.upper, 1, 0, 0}, uy{y.upper, 1, 0, 0}, uz{z.upper, 1, 0, 0};
    const Vector<real> plain = blend_gradient(q, ux, uy, uz);
    const real xy = x.slope * y.slope * blend(q[3] - q[2] - q[1] + q[0], q[7] - q[6] - q[5] + q[4], z.upper);
    const real yz = y.slope * z.slope * blend(q[6] - q[4] - q[2] + q[0], q[7] - q[5] - q[3] + q[1], x.upper);
    const real zx = z.slope * x.slope * blend(q[5] - q[4] - q[1] + q[0], q[7] - q[6] - q[3] + q[2], y.upper);
    return {vx * x.bend * plain.x + vy * xy + vz * zx, vx * xy + vy * y.bend * plain.y + vz * yz,
            vx * zx + vy * yz + vz * z.bend * plain.z};
}

}  // namespace dreamkit
