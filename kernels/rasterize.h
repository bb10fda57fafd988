// A triangle on the image, at one pixel, and the vjp. The contract is in dreamkit/ops/rasterize.py.
#pragma once

#include "portable.h"

namespace dreamkit {

// Triangles as the cameras see them.
template <class real>
struct Projected {
    const real* vertices;   // [views, vertices, 3]: pixels right, pixels down, depth
    const int64_t* faces;   // [faces, 3]
    int64_t views, count, triangles;  // `count` vertices
    int64_t height, width;
    double near_;
    bool cull;

    DREAMKIT_FORMULA int64_t pixels() const { return height * width; }
};

template <class real>
struct Triangle {
    real x[3], y[3], z[3];
};

// First pixel and the one after the last.
struct PixelBox {
    int32_t left, right, top, bottom;
};

template <class real>
DREAMKIT_FORMULA Triangle<real> triangle_at(const Projected<real>& p, int64_t view, int64_t face) {
    Triangle<real> t;
    for (int i = 0; i < 3; ++i) {
        const real* v = p.vertices + 3 * (view * p.count + p.faces[3 * face + i]);
        t.x[i] = v[0], t.y[i] = v[1], t.z[i] = v[2];
    }
    return t;
}

template <class real>
DREAMKIT_FORMULA bool is_drawn(const Projected<real>& p, const Triangle<real>& t) {
    // x - x is zero but for infinities and NaN.
    for (int i = 0; i < 3; ++i)
        if (!(t.z[i] > static_cast<real>(p.near_)) || (t.x[i] - t.x[i]) + (t.y[i] - t.y[i]) + (t.z[i] - t.z[i]) != 0)
            return false;
    // y grows downwards on the image: counter-clockwise triangles have a negative area there.
    return !p.cull || (t.x[1] - t.x[0]) * (t.y[2] - t.y[0]) - (t.y[1] - t.y[0]) * (t.x[2] - t.x[0]) < 0;
}

// Pixels whose middles are between the least and the greatest of three numbers, cut to [0, size).
template <class real>
DREAMKIT_FORMULA void pixels_between(const real* v, int64_t size, int32_t& first, int32_t& after) {
    const real least = v[0] < v[1] ? (v[0] < v[2] ? v[0] : v[2]) : (v[1] < v[2] ? v[1] : v[2]);
    const real most = v[0] > v[1] ? (v[0] > v[2] ? v[0] : v[2]) : (v[1] > v[2] ? v[1] : v[2]);
    const real limit = static_cast<real>(size);
    const real low = std::ceil(least - real(0.5)), high = std::floor(most - real(0.5)) + 1;
    first = static_cast<int32_t>(low < 0 ? real(0) : low > limit ? limit : low);
    after = static_cast<int32_t>(high < 0 ? real(0) : high > limit ? limit : high);
}

// Empty where the triangle is not drawn.
template <class real>
DREAMKIT_FORMULA PixelBox box_of(const Projected<real>& p, const Triangle<real>& t) {
    PixelBox box{0, 0, 0, 0};
    if (!is_drawn(p, t)) return box;
    pixels_between(t.x, p.width, box.left, box.right);
    pixels_between(t.y, p.height, box.top, box.bottom);
    if (box.left >= box.right || box.top >= box.bottom) box = PixelBox{0, 0, 0, 0};
    return box;
}

// What a triangle is at one pixel; a_i = (p_j - f) x (p_k - f), weight_i = a_i / z_i.
template <class real>
struct Cover {
    real a0, a1, a2, w0, w1, w2, area, total;

    DREAMKIT_FORMULA bool inside() const {
        const bool front = (a0 >= 0) & (a1 >= 0) & (a2 >= 0), back = (a0 <= 0) & (a1 <= 0) & (a2 <= 0);
        return (front | back) & (area != 0);
    }
    DREAMKIT_FORMULA real depth() const { return area / total; }
};

// x, y: corners minus the pixel's middle; r: reciprocal depths. Nine numbers, because a compiler that sees arrays does
// not turn a loop of these into vectors.
template <class real>
DREAMKIT_FORMULA Cover<real> cover(real x0, real x1, real x2, real y0, real y1, real y2, real r0, real r1, real r2) {
    Cover<real> c;
    c.a0 = x1 * y2 - y1 * x2;
    c.a1 = x2 * y0 - y2 * x0;
    c.a2 = x0 * y1 - y0 * x1;
    c.w0 = c.a0 * r0, c.w1 = c.a1 * r1, c.w2 = c.a2 * r2;
    c.area = c.a0 + c.a1 + c.a2;
    c.total = c.w0 + c.w1 + c.w2;
    return c;
}

// The same from a triangle and a pixel, which also leaves the corners as seen from the pixel's middle in x, y and r.
template <class real>
DREAMKIT_FORMULA Cover<real> cover_at(const Triangle<real>& t, int64_t column, int64_t row, real* x, real* y, real* r) {
    const real fx = static_cast<real>(column) + real(0.5), fy = static_cast<real>(row) + real(0.5);
    for (int i = 0; i < 3; ++i) x[i] = t.x[i] - fx, y[i] = t.y[i] - fy, r[i] = real(1) / t.z[i];
    return cover(x[0], x[1], x[2], y[0], y[1], y[2], r[0], r[1], r[2]);
}

// Writes one pixel's outputs; `face` is -1 where nothing is seen.
template <class real>
DREAMKIT_FORMULA void write_fragment(const Triangle<real>& t, bool seen, int64_t column, int64_t row, real* barycentric,
                                     real* depth) {
    if (!seen) {
        barycentric[0] = barycentric[1] = barycentric[2] = *depth = 0;
        return;
    }
    real x[3], y[3], r[3];
    const Cover<real> c = cover_at(t, column, row, x, y, r);
    barycentric[0] = c.w0 / c.total, barycentric[1] = c.w1 / c.total, barycentric[2] = c.w2 / c.total;
    *depth = c.depth();
}

// Adds dL/d(x, y, z) of the three corners to gradient[9]. With g_i of b_i and h of the depth:
// dL/dw_i = (g_i - sum_j g_j b_j - h depth) / total, dL/da_i = r_i dL/dw_i + h / total, dL/dz_i = -r_i w_i dL/dw_i.
template <class real>
DREAMKIT_FORMULA void fragment_vjp(const Triangle<real>& t, int64_t column, int64_t row, const real* g, real h,
                                   real* gradient) {
    real x[3], y[3], r[3];
    const Cover<real> c = cover_at(t, column, row, x, y, r);
    const real inverse = real(1) / c.total;
    const real w[3] = {c.w0, c.w1, c.w2};
    const real shared = (g[0] * w[0] + g[1] * w[1] + g[2] * w[2]) * inverse + h * c.depth();
    real of_area[3];
    for (int i = 0; i < 3; ++i) {
        const real of_weight = (g[i] - shared) * inverse;
        of_area[i] = of_weight * r[i] + h * inverse;
        gradient[3 * i + 2] -= of_weight * w[i] * r[i];
    }
    for (int i = 0; i < 3; ++i) {
        const int j = (i + 1) % 3, k = (i + 2) % 3;
        gradient[3 * i] += y[j] * of_area[k] - y[k] * of_area[j];
        gradient[3 * i + 1] += x[k] * of_area[j] - x[j] * of_area[k];
    }
}

}  // namespace dreamkit
