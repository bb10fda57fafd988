// Loops of the rasteriser on the processor. Triangles are sorted into bands of rows, in the order of their indices; each
// band is one thread's and stays in its cache.
#include "../rasterize_loops.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "owned.h"
#include "spans.h"

namespace dreamkit::DREAMKIT_VARIANT {
namespace {

constexpr int64_t kBandRows = 16;
// Rows are drawn in whole vectors: what lies right of a triangle's box is not inside it, so it does no harm.
constexpr int32_t kLanes = 8;

// Faces of a view, band by band: faces[start[band]] to faces[start[band + 1]].
struct Bands {
    std::vector<PixelBox> boxes;
    std::vector<int64_t> start;
    std::vector<int32_t> faces;
};

template <class real>
void find_boxes(const Projected<real>& p, int64_t view, std::vector<PixelBox>& boxes, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t face = 0; face < p.triangles; ++face) boxes[face] = box_of(p, triangle_at(p, view, face));
}

void sort_into_bands(Bands& bands, int64_t count) {
    bands.start.assign(count + 1, 0);
    for (const PixelBox& box : bands.boxes)
        for (int64_t b = box.top / kBandRows; b * kBandRows < box.bottom; ++b) ++bands.start[b + 1];
    for (int64_t b = 0; b < count; ++b) bands.start[b + 1] += bands.start[b];
    bands.faces.resize(bands.start[count]);
    std::vector<int64_t> next(bands.start.begin(), bands.start.end() - 1);
    for (size_t face = 0; face < bands.boxes.size(); ++face) {
        const PixelBox& box = bands.boxes[face];
        for (int64_t b = box.top / kBandRows; b * kBandRows < box.bottom; ++b)
            bands.faces[next[b]++] = static_cast<int32_t>(face);
    }
}

// One row of one triangle; strictly nearer wins, so that among equals the first triangle stays.
template <class real>
void draw_row(const Triangle<real>& t, const real* r, int64_t row, Span span, int32_t face, real* nearest,
              int32_t* winner) {
    const real fy = static_cast<real>(row) + real(0.5);
    const real x0 = t.x[0], x1 = t.x[1], x2 = t.x[2], r0 = r[0], r1 = r[1], r2 = r[2];
    const real y0 = t.y[0] - fy, y1 = t.y[1] - fy, y2 = t.y[2] - fy;
    constexpr real infinite = std::numeric_limits<real>::infinity();
    for (int32_t start = span.first; start < span.after; start += kLanes) {
        real depth[kLanes];
#pragma omp simd
        for (int32_t lane = 0; lane < kLanes; ++lane) {
            const real fx = static_cast<real>(start + lane) + real(0.5);
            const Cover<real> c = cover(x0 - fx, x1 - fx, x2 - fx, y0, y1, y2, r0, r1, r2);
            const real least = std::min(c.a0, std::min(c.a1, c.a2)), most = std::max(c.a0, std::max(c.a1, c.a2));
            // Cover::inside() as selections, which become vectors.
            const real one_sign = least >= 0 ? c.area : most <= 0 ? c.area : real(0);
            depth[lane] = one_sign != 0 ? c.depth() : infinite;
        }
        for (int32_t lane = 0; lane < kLanes; ++lane) {
            const bool closer = depth[lane] < nearest[start + lane];
            winner[start + lane] = closer ? face : winner[start + lane];
            nearest[start + lane] = closer ? depth[lane] : nearest[start + lane];
        }
    }
}

template <class real>
void write_row(const Projected<real>& p, int64_t view, int64_t row, const int32_t* winner, const Visible<real>& out) {
    Triangle<real> t{};
    for (int64_t column = 0; column < p.width; ++column) {
        const int64_t at = (view * p.height + row) * p.width + column, face = winner[column];
        if (face >= 0 && (column == 0 || face != winner[column - 1])) t = triangle_at(p, view, face);
        out.triangle[at] = face;
        write_fragment(t, face >= 0, column, row, out.barycentric + 3 * at, out.depth + at);
    }
}

template <class real>
void draw_band(const Projected<real>& p, int64_t view, const Bands& bands, int64_t band, const Visible<real>& out) {
    const int64_t top = band * kBandRows, bottom = std::min(top + kBandRows, p.height);
    const int64_t stride = p.width + kLanes;
    std::vector<real> nearest((bottom - top) * stride, std::numeric_limits<real>::infinity());
    std::vector<int32_t> winner(nearest.size(), -1);
    for (int64_t k = bands.start[band]; k < bands.start[band + 1]; ++k) {
        const int32_t face = bands.faces[k];
        const PixelBox& box = bands.boxes[face];
        const Triangle<real> t = triangle_at(p, view, face);
        const real r[3] = {real(1) / t.z[0], real(1) / t.z[1], real(1) / t.z[2]};
        for (int64_t row = std::max<int64_t>(top, box.top); row < std::min<int64_t>(bottom, box.bottom); ++row) {
            const int64_t at = (row - top) * stride;
            draw_row(t, r, row, span_of(t, box, row), face, nearest.data() + at, winner.data() + at);
        }
    }
    for (int64_t row = top; row < bottom; ++row) write_row(p, view, row, winner.data() + (row - top) * stride, out);
}

template <class real>
void add_run(const Projected<real>& p, int64_t view, const int64_t* corners, const real* sum, Range range,
             real* gradient) {
    for (int i = 0; i < 3; ++i)
        if (range.owns(corners[i]))
            for (int j = 0; j < 3; ++j) gradient[3 * (view * p.count + corners[i]) + j] += sum[3 * i + j];
}

// Neighbouring pixels of one triangle are summed before they go to its corners.
template <class real>
void view_vjp(const Projected<real>& p, const Seen<real>& g, int64_t view, Range range, real* gradient) {
    for (int64_t pixel = 0; pixel < p.pixels();) {
        const int64_t first = view * p.pixels() + pixel, face = g.triangle[first];
        int64_t after = pixel + 1;
        while (after < p.pixels() && g.triangle[view * p.pixels() + after] == face) ++after;
        const int64_t* corners = p.faces + 3 * face;
        if (face >= 0 && (range.owns(corners[0]) || range.owns(corners[1]) || range.owns(corners[2]))) {
            const Triangle<real> t = triangle_at(p, view, face);
            real sum[9] = {};
            for (int64_t at = first; pixel < after; ++pixel, ++at)
                fragment_vjp(t, pixel % p.width, pixel / p.width, g.barycentric + 3 * at, g.depth[at], sum);
            add_run(p, view, corners, sum, range, gradient);
        }
        pixel = after;
    }
}

}  // namespace

template <class real>
void rasterize(const Projected<real>& p, const Visible<real>& out, Launch launch) {
    const int64_t count = (p.height + kBandRows - 1) / kBandRows;
    Bands bands;
    bands.boxes.resize(p.triangles);
    for (int64_t view = 0; view < p.views; ++view) {
        find_boxes(p, view, bands.boxes, launch.threads);
        sort_into_bands(bands, count);
#pragma omp parallel for schedule(dynamic, 1) num_threads(launch.threads)
        for (int64_t band = 0; band < count; ++band) draw_band(p, view, bands, band, out);
    }
}

// `gradient` arrives filled with zeros.
template <class real>
void rasterize_vjp(const Projected<real>& p, const Seen<real>& g, real* gradient, Launch launch) {
    each_owned(p.views, p.count, launch.threads,
               [&](int64_t view, Range range) { view_vjp(p, g, view, range, gradient); });
}

template void rasterize(const Projected<float>&, const Visible<float>&, Launch);
template void rasterize(const Projected<double>&, const Visible<double>&, Launch);
template void rasterize_vjp(const Projected<float>&, const Seen<float>&, float*, Launch);
template void rasterize_vjp(const Projected<double>&, const Seen<double>&, double*, Launch);

}  // namespace dreamkit::DREAMKIT_VARIANT
