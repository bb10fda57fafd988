// The table of splatting's loops.
#pragma once

#include "loops.h"
#include "splat_pixel.h"

namespace dreamkit {

template <class real>
struct Cloud {
    const real *means, *scales, *rotations, *opacities;  // [gaussians, 3], [., 3], [., 4], [.]
    int64_t gaussians;
    const real *rotation, *translation, *focal;  // of the views: [views, 3, 3], [views, 3], [views]
    int64_t views;
    double width, height, near_;
    bool antialiased;
};

// Arrays over view * gaussians + Gaussian; for the vjp the cotangents of the first three.
template <class real>
struct Seen {
    real *centre, *shape, *opacity, *depth, *reach, *radius;
};

template <class real>
struct CloudGradient {
    real *means, *scales, *rotations, *opacities;
};

// What dreamkit/ops/splat_tiles.py calls Tiles.
struct TileLists {
    const int64_t *starts, *splat, *slot;
    int64_t views, rows, columns, height, width;
};

template <class real>
struct Painting {
    const real *centre, *shape, *opacity, *reach, *values;
    int64_t entries, channels;  // of the shape, of the values
};

template <class real>
struct Picture {
    real *accumulated, *through;  // [views, height, width, channels], [views, height, width]
    int32_t* last;                // [views, height, width]: pairs of the tile up to the last that counted
};

// Cotangents of the picture, and what the forward pass kept.
template <class real>
struct PictureCotangent {
    const real *accumulated, *alpha, *through;
    const int32_t* last;
};

template <class real>
struct SplatLoops {
    void (*project)(const Cloud<real>&, const Seen<real>&, Launch);
    void (*project_vjp)(const Cloud<real>&, const Seen<real>& cotangent, const CloudGradient<real>&, Launch);
    void (*blend)(const Painting<real>&, const TileLists&, const Picture<real>&, Launch);
    // partial: [pairs, moments + 1 + channels], one row for each slot
    void (*blend_vjp)(const Painting<real>&, const TileLists&, const PictureCotangent<real>&, real* partial, Launch);
    // centre, shape, opacity and values: the gradients, added up over the slots of each splat
    void (*gather)(const Painting<real>&, const int64_t* offsets, int64_t splats, const real* partial,
                   const Seen<real>& gradient, real* values, Launch);
};

#define DREAMKIT_SPLAT(variant)                                                                                     \
    namespace variant {                                                                                             \
    template <class real> void project(const Cloud<real>&, const Seen<real>&, Launch);                              \
    template <class real> void project_vjp(const Cloud<real>&, const Seen<real>&, const CloudGradient<real>&,       \
                                           Launch);                                                                 \
    template <class real> void blend(const Painting<real>&, const TileLists&, const Picture<real>&, Launch);        \
    template <class real> void blend_vjp(const Painting<real>&, const TileLists&, const PictureCotangent<real>&,    \
                                         real*, Launch);                                                            \
    template <class real> void gather(const Painting<real>&, const int64_t*, int64_t, const real*,                  \
                                      const Seen<real>&, real*, Launch);                                            \
    template <class real> void fill(SplatLoops<real>& loops, Variant) {                                             \
        loops = {project<real>, project_vjp<real>, blend<real>, blend_vjp<real>, gather<real>};                     \
    }                                                                                                               \
    }

DREAMKIT_EACH_VARIANT(DREAMKIT_SPLAT)

// The Gaussian `index` of a cloud, and the view `v`.
template <class real>
DREAMKIT_FORMULA Gaussian<real> gaussian_of(const Cloud<real>& c, int64_t index) {
    Gaussian<real> g;
    for (int k = 0; k < 3; ++k) g.mean[k] = c.means[3 * index + k], g.scale[k] = c.scales[3 * index + k];
    for (int k = 0; k < 4; ++k) g.quaternion[k] = c.rotations[4 * index + k];
    g.opacity = c.opacities[index];
    return g;
}
template <class real>
DREAMKIT_FORMULA View<real> view_of(const Cloud<real>& c, int64_t v) {
    return {c.rotation + 9 * v, c.translation + 3 * v, c.focal[v], static_cast<real>(c.width),
            static_cast<real>(c.height)};
}

// What one thread does in project: Gaussian `index` in all views.
template <class real>
DREAMKIT_FORMULA void project_one(const Cloud<real>& c, const Seen<real>& out, int64_t index) {
    const Gaussian<real> g = gaussian_of(c, index);
    for (int64_t v = 0; v < c.views; ++v) {
        const Footprint<real> f = footprint(g, view_of(c, v), static_cast<real>(c.near_), c.antialiased);
        const int64_t i = v * c.gaussians + index;
        for (int k = 0; k < 2; ++k) out.centre[2 * i + k] = f.centre[k], out.reach[2 * i + k] = f.reach[k];
        for (int k = 0; k < 3; ++k) out.shape[3 * i + k] = f.conic[k];
        out.opacity[i] = f.opacity, out.depth[i] = f.depth, out.radius[i] = f.radius;
    }
}

template <class real>
DREAMKIT_FORMULA void project_one_vjp(const Cloud<real>& c, const Seen<real>& cotangent, const CloudGradient<real>& out,
                                      int64_t index) {
    const Gaussian<real> g = gaussian_of(c, index);
    Gaussian<real> sum{};
    for (int64_t v = 0; v < c.views; ++v) {
        const int64_t i = v * c.gaussians + index;
        FootprintCotangent<real> f;
        for (int k = 0; k < 2; ++k) f.centre[k] = cotangent.centre[2 * i + k];
        for (int k = 0; k < 3; ++k) f.conic[k] = cotangent.shape[3 * i + k];
        f.opacity = cotangent.opacity[i];
        footprint_vjp(g, view_of(c, v), static_cast<real>(c.near_), c.antialiased, f, sum);
    }
    for (int k = 0; k < 3; ++k) out.means[3 * index + k] = sum.mean[k], out.scales[3 * index + k] = sum.scale[k];
    for (int k = 0; k < 4; ++k) out.rotations[4 * index + k] = sum.quaternion[k];
    out.opacities[index] = sum.opacity;
}

// What one thread does in gather: the slots of one splat, in their order.
template <class Shape, class real>
DREAMKIT_FORMULA void gather_one(const Painting<real>& p, const int64_t* offsets, const real* partial,
                                 const Seen<real>& out, real* values, int64_t i) {
    const int64_t width = Shape::kMoments + 1 + p.channels;
    real sum[Shape::kMoments + 1] = {};
    for (int64_t c = 0; c < p.channels; ++c) values[i * p.channels + c] = 0;
    for (int64_t slot = offsets[i]; slot < offsets[i + 1]; ++slot) {
        const real* row = partial + slot * width;
        for (int k = 0; k <= Shape::kMoments; ++k) sum[k] += row[k];
        for (int64_t c = 0; c < p.channels; ++c) values[i * p.channels + c] += row[Shape::kMoments + 1 + c];
    }
    Shape::gather(p.shape + i * Shape::kEntries, sum, out.centre + 2 * i, out.shape + i * Shape::kEntries);
    // The last sum is that of alpha dL/dalpha = o dL/do; a splat that was drawn has o >= 1/255.
    out.opacity[i] = offsets[i] == offsets[i + 1] ? real(0) : sum[Shape::kMoments] / p.opacity[i];
}

}  // namespace dreamkit
