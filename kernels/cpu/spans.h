// The part of a row that a triangle can cover.
#pragma once

#include <algorithm>
#include <cmath>

#include "../rasterize.h"

namespace dreamkit::DREAMKIT_VARIANT {
namespace {

struct Span {
    int32_t first, after;
};

// Below this width the search costs more than the pixels it saves.
constexpr int32_t kWide = 24;
// Two pixels beyond the edges; products of larger coordinates round by more than that.
constexpr double kMargin = 2, kFarthest = 1e5;

// Where the row of pixel middles meets the triangle, two pixels wider than exact: what is inside is decided per pixel.
template <class real>
Span span_of(const Triangle<real>& t, const PixelBox& box, int64_t row) {
    const Span whole{box.left, box.right};
    if (box.right - box.left < kWide) return whole;
    const double fy = static_cast<double>(row) + 0.5;
    double low = kFarthest, high = -kFarthest;
    for (int i = 0; i < 3; ++i) {
        const int j = (i + 1) % 3;
        const double ax = t.x[i], bx = t.x[j], ay = t.y[i] - fy, by = t.y[j] - fy;
        if (std::max({std::abs(ax), std::abs(bx), std::abs(ay), std::abs(by)}) > kFarthest) return whole;
        if ((ay > 0 && by > 0) || (ay < 0 && by < 0)) continue;
        // An edge along the row is met at both ends.
        const double x0 = ay == by ? ax : ax - ay * (bx - ax) / (by - ay), x1 = ay == by ? bx : x0;
        low = std::min({low, x0, x1}), high = std::max({high, x0, x1});
    }
    const double first = std::max<double>(box.left, std::floor(low - kMargin));
    const double after = std::min<double>(box.right, std::ceil(high + kMargin));
    return first < after ? Span{static_cast<int32_t>(first), static_cast<int32_t>(after)} : Span{0, 0};
}

}  // namespace
}  // namespace dreamkit::DREAMKIT_VARIANT
