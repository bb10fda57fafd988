// A Gaussian seen by a camera, and the vjp. The contract is in dreamkit/ops/splat_projection.py; method card rep 6.2, 6.4.
#pragma once

#include "portable.h"

namespace dreamkit {

constexpr double kLowPass = 0.3;         // square pixels
constexpr double kLeastShare = 0.005;    // of the opacity, by antialiasing
constexpr double kLeastAlpha = 1.0 / 255;
constexpr double kMostAlpha = 0.99;
constexpr double kOpaque = 1e-4;         // a pixel ends before its transmittance falls below this
constexpr double kGuard = 1.3;           // half-pictures off the axis, for the Jacobian
constexpr int kTile = 16;

// A camera with axes right, down, forward: t = rotation x + translation.
template <class real>
struct View {
    const real* rotation;     // [3, 3]
    const real* translation;  // [3]
    real focal;               // pixels
    real width, height;
};

template <class real>
struct Gaussian {
    real mean[3], scale[3], quaternion[4], opacity;
};

template <class real>
struct Footprint {
    real centre[2], conic[3], opacity, depth, reach[2], radius;
};

// Cotangents of what has one: centre, conic, opacity.
template <class real>
struct FootprintCotangent {
    real centre[2], conic[3], opacity;
};

// R(q) of a quaternion (w, x, y, z) of length one, by rows.
template <class real>
DREAMKIT_FORMULA void rotation_of(const real* q, real* r) {
    const real w = q[0], x = q[1], y = q[2], z = q[3];
    r[0] = 1 - 2 * (y * y + z * z), r[1] = 2 * (x * y - w * z), r[2] = 2 * (x * z + w * y);
    r[3] = 2 * (x * y + w * z), r[4] = 1 - 2 * (x * x + z * z), r[5] = 2 * (y * z - w * x);
    r[6] = 2 * (x * z - w * y), r[7] = 2 * (y * z + w * x), r[8] = 1 - 2 * (x * x + y * y);
}

// q += (dR/dq)^T g for the unit quaternion.
template <class real>
DREAMKIT_FORMULA void rotation_vjp(const real* q, const real* g, real* out) {
    const real w = q[0], x = q[1], y = q[2], z = q[3];
    out[0] = 2 * (x * (g[7] - g[5]) + y * (g[2] - g[6]) + z * (g[3] - g[1]));
    out[1] = 2 * (y * (g[1] + g[3]) + z * (g[2] + g[6]) + w * (g[7] - g[5]) - 2 * x * (g[4] + g[8]));
    out[2] = 2 * (x * (g[1] + g[3]) + z * (g[5] + g[7]) + w * (g[2] - g[6]) - 2 * y * (g[0] + g[8]));
    out[3] = 2 * (x * (g[2] + g[6]) + y * (g[5] + g[7]) + w * (g[3] - g[1]) - 2 * z * (g[0] + g[4]));
}

// Everything on the way from a Gaussian to its footprint that the vjp needs again.
template <class real>
struct Projection {
    real t[3], slope[2], held[2];
    bool free[2];      // the slope was not held
    real length;       // of the quaternion
    real unit[4];
    real rotation[9];  // R(q)
    real jw[6];        // J W
    real axes[6];      // J W R
    real spread[6];    // J W R S
    real a, b, e;      // covariance with the low-pass
    real bare;         // determinant without it
    real determinant;
    real share;        // antialiasing factor of the opacity
};

// False where the centre is nearer than `near_`.
template <class real>
DREAMKIT_FORMULA bool project_to(const Gaussian<real>& g, const View<real>& view, real near_, bool antialiased,
                                 Projection<real>& p) {
    const real* w = view.rotation;
    for (int i = 0; i < 3; ++i)
        p.t[i] = w[3 * i] * g.mean[0] + w[3 * i + 1] * g.mean[1] + w[3 * i + 2] * g.mean[2] + view.translation[i];
    if (!(p.t[2] > near_)) return false;
    const real scale = view.focal / p.t[2];
    const real half[2] = {view.width / 2, view.height / 2};
    for (int i = 0; i < 2; ++i) {
        const real limit = real(kGuard) * half[i] / view.focal;
        p.slope[i] = p.t[i] / p.t[2];
        p.free[i] = p.slope[i] >= -limit && p.slope[i] <= limit;
        p.held[i] = p.slope[i] < -limit ? -limit : (p.slope[i] > limit ? limit : p.slope[i]);
        for (int k = 0; k < 3; ++k) p.jw[3 * i + k] = scale * (w[3 * i + k] - p.held[i] * w[6 + k]);
    }
    const real* q = g.quaternion;
    p.length = std::sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
    p.length = p.length > real(1e-12) ? p.length : real(1e-12);
    for (int k = 0; k < 4; ++k) p.unit[k] = q[k] / p.length;
    rotation_of(p.unit, p.rotation);
    for (int i = 0; i < 2; ++i)
        for (int k = 0; k < 3; ++k) {
            p.axes[3 * i + k] = p.jw[3 * i] * p.rotation[k] + p.jw[3 * i + 1] * p.rotation[3 + k] +
                                p.jw[3 * i + 2] * p.rotation[6 + k];
            p.spread[3 * i + k] = p.axes[3 * i + k] * g.scale[k];
        }
    const real* s = p.spread;
    p.a = s[0] * s[0] + s[1] * s[1] + s[2] * s[2] + real(kLowPass);
    p.b = s[0] * s[3] + s[1] * s[4] + s[2] * s[5];
    p.e = s[3] * s[3] + s[4] * s[4] + s[5] * s[5] + real(kLowPass);
    p.determinant = p.a * p.e - p.b * p.b;
    // The sum of squared minors: a thin footprint's determinant is not lost to cancellation.
    const real m0 = s[1] * s[5] - s[2] * s[4], m1 = s[2] * s[3] - s[0] * s[5], m2 = s[0] * s[4] - s[1] * s[3];
    p.bare = m0 * m0 + m1 * m1 + m2 * m2;
    const real least = real(kLeastShare * kLeastShare), kept = p.bare / p.determinant;
    p.share = antialiased ? std::sqrt(kept > least ? kept : least) : real(1);
    return true;
}

template <class real>
DREAMKIT_FORMULA Footprint<real> footprint(const Gaussian<real>& g, const View<real>& view, real near_,
                                           bool antialiased) {
    Projection<real> p;
    Footprint<real> f{};
    if (!project_to(g, view, near_, antialiased, p)) {
        f.depth = p.t[2];
        return f;
    }
    f.centre[0] = view.width / 2 + view.focal * p.slope[0];
    f.centre[1] = view.height / 2 + view.focal * p.slope[1];
    f.conic[0] = p.e / p.determinant, f.conic[1] = -p.b / p.determinant, f.conic[2] = p.a / p.determinant;
    f.opacity = g.opacity * p.share;
    f.depth = p.t[2];
    if (!(f.opacity >= real(kLeastAlpha))) return f;
    // alpha = 1/255 on an ellipse; this is half its box.
    const real deviations = std::sqrt(2 * std::log(f.opacity / real(kLeastAlpha)));
    const real reach[2] = {deviations * std::sqrt(p.a), deviations * std::sqrt(p.e)};
    if (!(f.centre[0] + reach[0] > 0 && f.centre[0] - reach[0] < view.width)) return f;
    if (!(f.centre[1] + reach[1] > 0 && f.centre[1] - reach[1] < view.height)) return f;
    const real middle = (p.a + p.e) / 2, spread = middle * middle - p.determinant;
    f.reach[0] = reach[0], f.reach[1] = reach[1];
    f.radius = 3 * std::sqrt(middle + std::sqrt(spread > 0 ? spread : real(0)));
    return f;
}

// Adds the vjp of footprint() to `out`.
template <class real>
DREAMKIT_FORMULA void footprint_vjp(const Gaussian<real>& g, const View<real>& view, real near_, bool antialiased,
                                    const FootprintCotangent<real>& f, Gaussian<real>& out) {
    Projection<real> p;
    if (!project_to(g, view, near_, antialiased, p)) return;
    out.opacity += p.share * f.opacity;
    // X = S^-1 gives dS = -X dX X; half of the off-diagonal's cotangent belongs to either side.
    const real x = p.e / p.determinant, y = -p.b / p.determinant, z = p.a / p.determinant;
    const real u = f.conic[0], v = f.conic[1] / 2, w = f.conic[2];
    const real xu = x * u + y * v, xv = x * v + y * w, yu = y * u + z * v, yv = y * v + z * w;
    real da = -(xu * x + xv * y), db = -(xu * y + xv * z), de = -(yu * y + yv * z);
    if (antialiased && p.share > real(kLeastShare)) {
        // share^2 = bare / determinant, both functions of the covariance (the low-pass is constant).
        const real change = f.opacity * g.opacity / (2 * p.share * p.determinant);
        const real full = change * p.bare / p.determinant, low = real(kLowPass);
        da += change * (p.e - low) - full * p.e;
        de += change * (p.a - low) - full * p.a;
        db += -change * p.b + full * p.b;
    }
    real of_jw[6] = {}, of_rotation[9];
    for (int k = 0; k < 3; ++k) {
        const real s0 = 2 * (da * p.spread[k] + db * p.spread[3 + k]);
        const real s1 = 2 * (db * p.spread[k] + de * p.spread[3 + k]);
        out.scale[k] += s0 * p.axes[k] + s1 * p.axes[3 + k];
        const real a0 = s0 * g.scale[k], a1 = s1 * g.scale[k];
        for (int j = 0; j < 3; ++j) {
            of_rotation[3 * j + k] = p.jw[j] * a0 + p.jw[3 + j] * a1;
            of_jw[j] += a0 * p.rotation[3 * j + k];
            of_jw[3 + j] += a1 * p.rotation[3 * j + k];
        }
    }
    real of_unit[4], along = 0;
    rotation_vjp(p.unit, of_rotation, of_unit);
    for (int k = 0; k < 4; ++k) along += of_unit[k] * p.unit[k];
    for (int k = 0; k < 4; ++k) out.quaternion[k] += (of_unit[k] - along * p.unit[k]) / p.length;
    // jw_ik = (focal / t_z) (W_ik - held_i W_2k)
    const real* m = view.rotation;
    const real scale = view.focal / p.t[2];
    real of_t[3] = {0, 0, 0}, of_scale = 0;
    for (int i = 0; i < 2; ++i) {
        real of_held = 0;
        for (int k = 0; k < 3; ++k) {
            of_held -= of_jw[3 * i + k] * m[6 + k];
            of_scale += of_jw[3 * i + k] * (m[3 * i + k] - p.held[i] * m[6 + k]);
        }
        const real of_slope = view.focal * f.centre[i] + (p.free[i] ? scale * of_held : real(0));
        of_t[i] = of_slope / p.t[2];
        of_t[2] -= of_slope * p.slope[i] / p.t[2];
    }
    of_t[2] -= of_scale * scale / p.t[2];
    for (int k = 0; k < 3; ++k) out.mean[k] += m[k] * of_t[0] + m[3 + k] * of_t[1] + m[6 + k] * of_t[2];
}

}  // namespace dreamkit
