// What one Gaussian adds to one pixel, and the vjp. The contract is in dreamkit/ops/splat.py; method card rep 6.3, 6.4.
#pragma once

#include <cstring>

#include "splat.h"

namespace dreamkit {

// exp(x) for x <= 0. For float on the processor in plain arithmetic, so that a loop over pixels vectorises: 2^n e^r with
// |r| <= ln(2) / 2 (Cephes' polynomial, relative error below 2e-7); below -80 it is e^-80, which nothing here can see.
DREAMKIT_FORMULA float decay(float x) {
#if defined(__CUDA_ARCH__)
    return expf(x);
#else
    x = x < -80.0f ? -80.0f : x;
    const float shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the low bits of the sum are n
    const float n = shifted - 12582912.0f;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    uint32_t bits;
    std::memcpy(&bits, &shifted, 4);
    bits = (bits - 0x4B400000u + 127u) << 23;
    float power_of_two;
    std::memcpy(&power_of_two, &bits, 4);
    return p * power_of_two;
#endif
}
DREAMKIT_FORMULA double decay(double x) { return std::exp(x); }

// The EWA footprint: exp(-(A dx^2 + 2 B dx dy + C dy^2) / 2), d = centre - pixel.
template <class real>
struct Ellipse {
    static constexpr int kEntries = 3;  // of the shape
    static constexpr int kMoments = 5;  // sums over pixels from which the gradient follows
    static DREAMKIT_FORMULA real power(const real* shape, const real* centre, real x, real y) {
        const real dx = centre[0] - x, dy = centre[1] - y;
        return real(-0.5) * (shape[0] * dx * dx + shape[2] * dy * dy) - shape[1] * dx * dy;
    }
    // h is the cotangent of the power.
    static DREAMKIT_FORMULA void moments(const real*, const real* centre, real x, real y, real h, real* m) {
        const real dx = centre[0] - x, dy = centre[1] - y, hx = h * dx, hy = h * dy;
        m[0] = hx, m[1] = hy, m[2] = hx * dx, m[3] = hx * dy, m[4] = hy * dy;
    }
    static DREAMKIT_FORMULA void gather(const real* shape, const real* m, real* of_centre, real* of_shape) {
        of_centre[0] = -(shape[0] * m[0] + shape[1] * m[1]);
        of_centre[1] = -(shape[1] * m[0] + shape[2] * m[1]);
        of_shape[0] = real(-0.5) * m[2], of_shape[1] = -m[3], of_shape[2] = real(-0.5) * m[4];
    }
};

// A disk: exp(-min(u^2 + v^2, 2 d^2) / 2), d = pixel - centre; (u, v) = (m0 . d, m1 . d) / (k + k' . d) is where the
// pixel's ray meets it. The contract is in dreamkit/ops/disk_projection.py; method card rep 6.8.
template <class real>
struct Disk {
    static constexpr int kEntries = 7;   // m00, m01, m10, m11, k, k'_x, k'_y
    static constexpr int kMoments = 11;  // of m0, m1, k; by u' and v'; of the low-pass
    static DREAMKIT_FORMULA real power(const real* s, const real* centre, real x, real y) {
        const real dx = x - centre[0], dy = y - centre[1];
        const real p = s[0] * dx + s[1] * dy, q = s[2] * dx + s[3] * dy, w = s[4] + s[5] * dx + s[6] * dy;
        const real near_ = 2 * (dx * dx + dy * dy), top = p * p + q * q, square = w * w;
        const bool hit = top < near_ * square;
        return real(-0.5) * (hit ? top / (hit ? square : real(1)) : near_);
    }
    static DREAMKIT_FORMULA void moments(const real* s, const real* centre, real x, real y, real h, real* m) {
        const real dx = x - centre[0], dy = y - centre[1];
        const real p = s[0] * dx + s[1] * dy, q = s[2] * dx + s[3] * dy, w = s[4] + s[5] * dx + s[6] * dy;
        const real near_ = 2 * (dx * dx + dy * dy), top = p * p + q * q, square = w * w;
        const bool hit = top < near_ * square;
        const real rest = (hit ? h : real(0)) / (hit ? square : real(1)), low = hit ? real(0) : h;
        const real of_p = -p * rest, of_q = -q * rest, of_w = top * rest / (hit ? w : real(1));
        m[0] = of_p * dx, m[1] = of_p * dy, m[2] = of_q * dx, m[3] = of_q * dy;
        m[4] = of_w, m[5] = of_w * dx, m[6] = of_w * dy;
        m[7] = of_p, m[8] = of_q, m[9] = low * dx, m[10] = low * dy;
    }
    static DREAMKIT_FORMULA void gather(const real* s, const real* m, real* of_centre, real* of_shape) {
        for (int i = 0; i < kEntries; ++i) of_shape[i] = m[i];
        of_centre[0] = 2 * m[9] - (s[0] * m[7] + s[2] * m[8] + s[5] * m[4]);
        of_centre[1] = 2 * m[10] - (s[1] * m[7] + s[3] * m[8] + s[6] * m[4]);
    }
};

// Alpha of a footprint at a pixel: 0 where it is too faint to count.
template <class real>
DREAMKIT_FORMULA real visible(real raw, real power) {
    const real most = real(kMostAlpha);
    return raw >= real(kLeastAlpha) && power <= real(0) ? (raw < most ? raw : most) : real(0);
}

// One step front to back. `alive` turns to 0 where the pixel is full; the weight is what is added.
template <class real>
DREAMKIT_FORMULA real blend_step(real alpha, real& through, real& alive) {
    alpha *= alive;
    const real next = through * (real(1) - alpha);
    const bool over = next < real(kOpaque);
    const real weight = over ? real(0) : through * alpha;
    through = over ? through : next;
    alive = over ? real(0) : alive;
    return weight;
}

// One step back to front: `through` comes as the transmittance behind the footprint and leaves as that before it;
// `behind` carries sum_{j > i} w_j (c_j . g). `dot` is c_i . g. Returns the weight; `of_alpha` is dL/dalpha.
template <class real>
DREAMKIT_FORMULA real blend_step_vjp(real alpha, real dot, real& through, real& behind, real& of_alpha) {
    const real rest = real(1) / (real(1) - alpha);
    through *= rest;
    const real weight = alpha * through;
    of_alpha = through * dot - behind * rest;
    behind += weight * dot;
    return weight;
}

}  // namespace dreamkit
