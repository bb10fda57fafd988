// A silhouette between two neighbouring pixels, and the vjp. The contract is in dreamkit/ops/antialias.py.
#pragma once

#include "portable.h"

namespace dreamkit {

template <class real>
struct Outlined {
    const real* vertices;     // [views, vertices, 3]: pixels right, pixels down, depth
    const int64_t* faces;     // [faces, 3]
    const int64_t* opposite;  // [faces, 3]: the vertex beyond the edge opposite corner i, -1 where there is none
    const int64_t* triangle;  // [views, height, width]
    const real* depth;        // the same
    const real* image;        // [views, height, width, channels]
    int64_t views, count, height, width, channels;
    double near_;

    DREAMKIT_FORMULA int64_t pixels() const { return height * width; }
    DREAMKIT_FORMULA int64_t all() const { return views * pixels(); }
    // Steps from a pixel to its neighbour: to the right (axis 0) or down (axis 1).
    DREAMKIT_FORMULA int64_t step(int axis) const { return axis ? width : 1; }
    DREAMKIT_FORMULA bool has_next(int64_t at, int axis) const {
        return axis ? (at / width) % height + 1 < height : at % width + 1 < width;
    }
};

// How much of the difference of two neighbours goes to the first (weight > 0) or second of them, and over which edge:
// three times the face plus the opposite corner, -1 for none.
template <class real>
struct Blend {
    real weight;
    int64_t edge;
};

// A corner seen from the owner pixel's middle: u along the pair, v across it.
template <class real>
struct Offset {
    real u, v;
};

template <class real>
DREAMKIT_FORMULA Offset<real> offset_of(const Outlined<real>& s, int64_t owner, int axis, int64_t vertex) {
    const real* p = s.vertices + 3 * (owner / s.pixels() * s.count + vertex);
    const real x = p[0] - (static_cast<real>(owner % s.width) + real(0.5));
    const real y = p[1] - (static_cast<real>(owner / s.width % s.height) + real(0.5));
    return axis ? Offset<real>{y, x} : Offset<real>{x, y};
}

template <class real>
DREAMKIT_FORMULA bool turns_left(const Offset<real>& a, const Offset<real>& b, const Offset<real>& c) {
    return (b.u - a.u) * (c.v - a.v) - (b.v - a.v) * (c.u - a.u) < 0;
}

// No face beyond the edge, or one that is not drawn or folds back: on the same side as the owner's own third corner.
template <class real>
DREAMKIT_FORMULA bool is_silhouette(const Outlined<real>& s, int64_t owner, int axis, int64_t edge,
                                    const Offset<real>& a, const Offset<real>& b, const Offset<real>& c) {
    const int64_t beyond = s.opposite[edge];
    if (beyond < 0) return true;
    const real* p = s.vertices + 3 * (owner / s.pixels() * s.count + beyond);
    if (!(p[2] > static_cast<real>(s.near_)) || (p[0] - p[0]) + (p[1] - p[1]) + (p[2] - p[2]) != 0) return true;
    return turns_left(a, b, c) == turns_left(a, b, offset_of(s, owner, axis, beyond));
}

template <class real>
DREAMKIT_FORMULA Blend<real> blend_at(const Outlined<real>& s, int64_t at, int axis) {
    const Blend<real> none{0, -1};
    if (!s.has_next(at, axis)) return none;
    const int64_t next = at + s.step(axis), here = s.triangle[at], there = s.triangle[next];
    if (here == there) return none;
    const bool first = there < 0 || (here >= 0 && s.depth[at] < s.depth[next]);
    const int64_t owner = first ? at : next, face = first ? here : there;
    const real sign = first ? real(1) : real(-1);
    Offset<real> o[3];
    for (int i = 0; i < 3; ++i) o[i] = offset_of(s, owner, axis, s.faces[3 * face + i]);
    int corner = -1;
    real farthest = 0;
    for (int i = 0; i < 3; ++i) {
        const Offset<real>&a = o[(i + 1) % 3], &b = o[(i + 2) % 3];
        if ((a.v < 0) == (b.v < 0)) continue;
        const real distance = sign * (a.u - a.v * ((b.u - a.u) / (b.v - a.v)));
        if (corner < 0 || distance > farthest) corner = i, farthest = distance;
    }
    if (corner < 0 || !(farthest > real(-0.0625)) || !(farthest < real(1.0625))) return none;
    const Offset<real>&a = o[(corner + 1) % 3], &b = o[(corner + 2) % 3];
    if (std::abs(b.v - a.v) < std::abs(b.u - a.u)) return none;
    const int64_t edge = 3 * face + corner;
    if (!is_silhouette(s, owner, axis, edge, a, b, o[corner])) return none;
    const real inside = farthest < 0 ? real(0) : farthest > 1 ? real(1) : farthest;
    return {sign * (real(0.5) - inside), edge};
}

// The pixel that a pair changes.
template <class real>
DREAMKIT_FORMULA int64_t target_of(const Outlined<real>& s, int64_t at, int axis, real weight) {
    return weight > 0 ? at : at + s.step(axis);
}

// Calls pair(at, axis) for the up to four pairs that a pixel belongs to, the earlier ones first.
template <class real, class Pair>
DREAMKIT_FORMULA void each_pair(const Outlined<real>& s, int64_t pixel, Pair pair) {
    for (int axis = 0; axis < 2; ++axis) {
        const int64_t before = pixel - s.step(axis);
        if (before >= 0 && s.has_next(before, axis)) pair(before, axis);
    }
    for (int axis = 0; axis < 2; ++axis)
        if (s.has_next(pixel, axis)) pair(pixel, axis);
}

template <class real>
DREAMKIT_FORMULA void blend_pixel(const Outlined<real>& s, const real* weight, const int64_t* edge, int64_t pixel,
                                  real* out) {
    for (int64_t c = 0; c < s.channels; ++c) out[c] = s.image[pixel * s.channels + c];
    each_pair(s, pixel, [&](int64_t at, int axis) {
        const int64_t k = axis * s.all() + at;
        if (edge[k] < 0 || target_of(s, at, axis, weight[k]) != pixel) return;
        const real *here = s.image + at * s.channels, *there = here + s.step(axis) * s.channels;
        for (int64_t c = 0; c < s.channels; ++c) out[c] += weight[k] * (there[c] - here[c]);
    });
}

// dL/dc: the cotangent itself, and minus or plus the weight times the cotangent of what the pair changed.
template <class real>
DREAMKIT_FORMULA void blend_pixel_vjp(const Outlined<real>& s, const real* weight, const int64_t* edge, const real* g,
                                      int64_t pixel, real* gradient) {
    for (int64_t c = 0; c < s.channels; ++c) gradient[c] = g[pixel * s.channels + c];
    each_pair(s, pixel, [&](int64_t at, int axis) {
        const int64_t k = axis * s.all() + at;
        if (edge[k] < 0) return;
        const real share = at == pixel ? -weight[k] : weight[k];
        const real* of_target = g + target_of(s, at, axis, weight[k]) * s.channels;
        for (int64_t c = 0; c < s.channels; ++c) gradient[c] += share * of_target[c];
    });
}

// Gradients of the x and y of an edge's two vertices.
template <class real>
struct EdgeGradient {
    int64_t a, b;  // vertices
    real ax, ay, bx, by;
};

// With xi = u_a - v_a du / dv, weight = sign / 2 - xi and t = v_b / dv: dxi/du = (t, 1 - t), dxi/dv = -(t, 1 - t) du / dv.
// All are at most 1, because the edge straddles the row and |du| <= |dv|.
template <class real>
DREAMKIT_FORMULA EdgeGradient<real> edge_vjp(const Outlined<real>& s, real weight, int64_t edge, const real* g,
                                             int64_t at, int axis) {
    const int64_t face = edge / 3, corner = edge % 3;
    const int64_t owner = s.triangle[at] == face ? at : at + s.step(axis);
    EdgeGradient<real> out{s.faces[3 * face + (corner + 1) % 3], s.faces[3 * face + (corner + 2) % 3], 0, 0, 0, 0};
    if (!(std::abs(weight) < real(0.5))) return out;
    const real *here = s.image + at * s.channels, *there = here + s.step(axis) * s.channels;
    const real* of_target = g + target_of(s, at, axis, weight) * s.channels;
    real of_xi = 0;
    for (int64_t c = 0; c < s.channels; ++c) of_xi -= of_target[c] * (there[c] - here[c]);
    const Offset<real> a = offset_of(s, owner, axis, out.a), b = offset_of(s, owner, axis, out.b);
    const real slope = (b.u - a.u) / (b.v - a.v), t = b.v / (b.v - a.v);
    const real along_a = of_xi * t, along_b = of_xi * (real(1) - t);
    const real across_a = -along_a * slope, across_b = -along_b * slope;
    if (axis) out.ax = across_a, out.ay = along_a, out.bx = across_b, out.by = along_b;
    else out.ax = along_a, out.ay = across_a, out.bx = along_b, out.by = across_b;
    return out;
}

}  // namespace dreamkit
