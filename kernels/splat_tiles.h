// Sorting footprints into tiles on the processor; the same as bin_tiles in dreamkit/ops/splat_tiles.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace dreamkit {

struct Boxes {
    const int64_t* box;      // [splats, 4]: first column, first row, columns, rows of tiles
    const int64_t* offsets;  // [splats + 1]
    int64_t views, gaussians, rows, columns;
};

// Writes starts [tiles + 1] and, for each pair, splat and slot, nearest first within a tile.
template <class real>
void sort_tiles(const Boxes& b, const real* depth, int64_t* starts, int64_t* splat, int64_t* slot) {
    const int64_t tiles = b.rows * b.columns, splats = b.views * b.gaussians;
    const auto each_tile = [&b, tiles](int64_t i, auto visit) {
        const int64_t *box = b.box + 4 * i, first = i / b.gaussians * tiles;
        int64_t at = b.offsets[i];
        for (int64_t y = box[1]; y < box[1] + box[3]; ++y)
            for (int64_t x = box[0]; x < box[0] + box[2]; ++x) visit(first + y * b.columns + x, at++);
    };
    std::fill_n(starts, b.views * tiles + 1, int64_t{0});
    std::vector<int64_t> order;
    order.reserve(splats);
    for (int64_t i = 0; i < splats; ++i) {
        if (b.offsets[i] == b.offsets[i + 1]) continue;
        order.push_back(i);
        each_tile(i, [starts](int64_t tile, int64_t) { ++starts[tile + 1]; });
    }
    std::partial_sum(starts, starts + b.views * tiles + 1, starts);
    std::stable_sort(order.begin(), order.end(), [depth](int64_t i, int64_t j) { return depth[i] < depth[j]; });
    std::vector<int64_t> next(starts, starts + b.views * tiles);
    for (const int64_t i : order)
        each_tile(i, [&](int64_t tile, int64_t at) {
            splat[next[tile]] = i;
            slot[next[tile]++] = at;
        });
}

}  // namespace dreamkit
