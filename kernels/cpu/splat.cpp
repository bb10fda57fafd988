// Loops of splatting on the processor. A tile is one thread's; its pixels are taken 16 at a time, in arrays that the
// compiler turns into vectors. Partial gradients go to a slot for each (splat, tile), so threads never meet.
#include <algorithm>
#include <vector>

#include "../splat_loops.h"

namespace dreamkit::DREAMKIT_VARIANT {
namespace {

constexpr int kPixels = kTile * kTile;

// Where tile `index` lies in the picture.
struct Place {
    int64_t view, x, y, width, height;  // the size is smaller at the right and lower borders
};

Place place_of(const TileLists& t, int64_t index) {
    const int64_t tiles = t.rows * t.columns, within = index % tiles;
    const int64_t y = within / t.columns * kTile, x = within % t.columns * kTile;
    return {index / tiles, x, y, std::min<int64_t>(kTile, t.width - x), std::min<int64_t>(kTile, t.height - y)};
}

// Rows [first, end) of the tile that a footprint can touch.
template <class real>
void rows_of(const real* centre, const real* reach, const Place& place, int& first, int& end) {
    const real margin = real(0.01) + real(1e-3) * reach[1];
    const real low = centre[1] - reach[1] - margin - static_cast<real>(place.y) - real(0.5);
    const real high = centre[1] + reach[1] + margin - static_cast<real>(place.y) - real(0.5);
    first = low <= 0 ? 0 : static_cast<int>(std::min<real>(low, kTile));
    end = high < 0 ? 0 : std::min<int>(static_cast<int>(std::min<real>(high, kTile)) + 1, static_cast<int>(place.height));
}

// The pixels of a tile, by channel: what is gathered, or its cotangent.
template <class real>
struct Block {
    std::vector<real> channel;  // [channels, kPixels]
    alignas(64) real through[kPixels], other[kPixels];
    alignas(64) int32_t last[kPixels];
    explicit Block(int64_t channels) : channel(channels * kPixels) {}
};

// Marks the rows that have a pixel left to fill; false where there is none.
template <class real>
bool any_open(const real* alive, bool* open) {
    bool any = false;
    for (int row = 0; row < kTile; ++row) {
        const real* pixels = alive + row * kTile;
        real sum = 0;
        for (int lane = 0; lane < kTile; ++lane) sum += pixels[lane];
        open[row] = sum > real(0);
        any |= open[row];
    }
    return any;
}

template <class Shape, class real>
void blend_tile(const Painting<real>& p, const TileLists& t, const Picture<real>& out, int64_t index, Block<real>& b) {
    const Place place = place_of(t, index);
    real* alive = b.other;
    std::fill(b.channel.begin(), b.channel.end(), real(0));
    for (int i = 0; i < kPixels; ++i) {
        b.through[i] = 1, b.last[i] = 0;
        alive[i] = i / kTile < place.height && i % kTile < place.width;
    }
    bool open[kTile];
    std::fill_n(open, kTile, true);
    for (int64_t k = t.starts[index]; k < t.starts[index + 1]; ++k) {
        const int64_t i = t.splat[k];
        const int32_t after = static_cast<int32_t>(k - t.starts[index] + 1);
        // Now and then, see which rows are full.
        if (after % 8 == 0 && !any_open(alive, open)) break;
        const real* values = p.values + i * p.channels;
        real centre[2] = {p.centre[2 * i], p.centre[2 * i + 1]}, shape[Shape::kEntries];
        std::copy_n(p.shape + i * Shape::kEntries, Shape::kEntries, shape);
        const real opacity = p.opacity[i];
        int row, end;
        rows_of(centre, p.reach + 2 * i, place, row, end);
        for (; row < end; ++row) {
            if (!open[row]) continue;
            const real x = static_cast<real>(place.x) + real(0.5), y = static_cast<real>(place.y + row) + real(0.5);
            real *through = b.through + row * kTile, *lives = alive + row * kTile;
            int32_t* last = b.last + row * kTile;
            alignas(64) real weight[kTile];
            for (int lane = 0; lane < kTile; ++lane) {
                const real power = Shape::power(shape, centre, x + static_cast<real>(lane), y);
                const real alpha = visible(opacity * decay(power), power);
                weight[lane] = blend_step(alpha, through[lane], lives[lane]);
                last[lane] = weight[lane] > real(0) ? after : last[lane];
            }
            for (int64_t c = 0; c < p.channels; ++c) {
                real* sum = b.channel.data() + c * kPixels + row * kTile;
                for (int lane = 0; lane < kTile; ++lane) sum[lane] += weight[lane] * values[c];
            }
        }
    }
    for (int64_t y = 0; y < place.height; ++y)
        for (int64_t x = 0; x < place.width; ++x) {
            const int64_t from = y * kTile + x, to = (place.view * t.height + place.y + y) * t.width + place.x + x;
            out.through[to] = b.through[from];
            out.last[to] = b.last[from];
            for (int64_t c = 0; c < p.channels; ++c)
                out.accumulated[to * p.channels + c] = b.channel[c * kPixels + from];
        }
}

// Cotangents and kept values of a tile; pixels beyond the border count as empty. Returns the last pair that counts.
template <class real>
int32_t load(const Painting<real>& p, const TileLists& t, const PictureCotangent<real>& g, const Place& place,
             Block<real>& b, real* of_alpha, int32_t* row_last) {
    std::fill(b.channel.begin(), b.channel.end(), real(0));
    int32_t most = 0;
    for (int i = 0; i < kPixels; ++i) {
        const int64_t y = i / kTile, x = i % kTile;
        b.through[i] = 1, b.other[i] = 0, b.last[i] = 0, of_alpha[i] = 0;
        if (x == 0) row_last[y] = 0;
        if (y >= place.height || x >= place.width) continue;
        const int64_t from = (place.view * t.height + place.y + y) * t.width + place.x + x;
        b.through[i] = g.through[from], b.last[i] = g.last[from], of_alpha[i] = g.alpha[from];
        for (int64_t c = 0; c < p.channels; ++c) b.channel[c * kPixels + i] = g.accumulated[from * p.channels + c];
        row_last[y] = std::max(row_last[y], b.last[i]);
        most = std::max(most, b.last[i]);
    }
    return most;
}

template <class Shape, class real>
void blend_tile_vjp(const Painting<real>& p, const TileLists& t, const PictureCotangent<real>& g, real* partial,
                    int64_t index, Block<real>& b, std::vector<real>& of_values) {
    constexpr int kSums = Shape::kMoments + 1;
    const Place place = place_of(t, index);
    const int64_t width = kSums + p.channels, begin = t.starts[index];
    alignas(64) real of_alpha[kPixels];
    int32_t row_last[kTile];
    real* behind = b.other;
    const int32_t most = load(p, t, g, place, b, of_alpha, row_last);
    for (int64_t k = begin + most; k < t.starts[index + 1]; ++k)
        std::fill_n(partial + t.slot[k] * width, width, real(0));
    for (int32_t k = most; k-- > 0;) {
        const int64_t i = t.splat[begin + k];
        const real* values = p.values + i * p.channels;
        real centre[2] = {p.centre[2 * i], p.centre[2 * i + 1]}, shape[Shape::kEntries];
        std::copy_n(p.shape + i * Shape::kEntries, Shape::kEntries, shape);
        const real opacity = p.opacity[i];
        alignas(64) real sums[kSums][kTile] = {};
        std::fill(of_values.begin(), of_values.end(), real(0));
        int row, end;
        rows_of(centre, p.reach + 2 * i, place, row, end);
        for (; row < end; ++row) {
            if (k >= row_last[row]) continue;
            const real x = static_cast<real>(place.x) + real(0.5), y = static_cast<real>(place.y + row) + real(0.5);
            const int at = row * kTile;
            alignas(64) real dot[kTile], weight[kTile];
            for (int lane = 0; lane < kTile; ++lane) dot[lane] = of_alpha[at + lane];
            for (int64_t c = 0; c < p.channels; ++c) {
                const real* cotangent = b.channel.data() + c * kPixels + at;
                for (int lane = 0; lane < kTile; ++lane) dot[lane] += values[c] * cotangent[lane];
            }
            real *through = b.through + at, *later = behind + at;
            const int32_t* last = b.last + at;
            for (int lane = 0; lane < kTile; ++lane) {
                const real px = x + static_cast<real>(lane), power = Shape::power(shape, centre, px, y);
                const real raw = opacity * decay(power);
                const real alpha = k < last[lane] ? visible(raw, power) : real(0);
                real slope, moment[Shape::kMoments];
                weight[lane] = blend_step_vjp(alpha, dot[lane], through[lane], later[lane], slope);
                // Where alpha is held at its largest value, the footprint is not to blame.
                const real h = raw <= real(kMostAlpha) ? alpha * slope : real(0);
                Shape::moments(shape, centre, px, y, h, moment);
                for (int m = 0; m < Shape::kMoments; ++m) sums[m][lane] += moment[m];
                sums[Shape::kMoments][lane] += h;
            }
            for (int64_t c = 0; c < p.channels; ++c) {
                const real* cotangent = b.channel.data() + c * kPixels + at;
                real* sum = of_values.data() + c * kTile;
                for (int lane = 0; lane < kTile; ++lane) sum[lane] += weight[lane] * cotangent[lane];
            }
        }
        real* out = partial + t.slot[begin + k] * width;
        for (int m = 0; m < kSums; ++m) {
            out[m] = 0;
            for (int lane = 0; lane < kTile; ++lane) out[m] += sums[m][lane];
        }
        for (int64_t c = 0; c < p.channels; ++c) {
            out[kSums + c] = 0;
            for (int lane = 0; lane < kTile; ++lane) out[kSums + c] += of_values[c * kTile + lane];
        }
    }
}

}  // namespace

template <class real>
void project(const Cloud<real>& cloud, const Seen<real>& out, Launch launch) {
#pragma omp parallel for schedule(static) num_threads(launch.threads)
    for (int64_t i = 0; i < cloud.gaussians; ++i) project_one(cloud, out, i);
}

template <class real>
void project_vjp(const Cloud<real>& cloud, const Seen<real>& cotangent, const CloudGradient<real>& out, Launch launch) {
#pragma omp parallel for schedule(static) num_threads(launch.threads)
    for (int64_t i = 0; i < cloud.gaussians; ++i) project_one_vjp(cloud, cotangent, out, i);
}

template <class real>
void blend(const Painting<real>& p, const TileLists& tiles, const Picture<real>& out, Launch launch) {
    const int64_t count = tiles.views * tiles.rows * tiles.columns;
#pragma omp parallel num_threads(launch.threads)
    {
        Block<real> block(p.channels);
#pragma omp for schedule(dynamic, 1)
        for (int64_t index = 0; index < count; ++index) {
            if (p.entries == Disk<real>::kEntries) blend_tile<Disk<real>>(p, tiles, out, index, block);
            else blend_tile<Ellipse<real>>(p, tiles, out, index, block);
        }
    }
}

template <class real>
void blend_vjp(const Painting<real>& p, const TileLists& tiles, const PictureCotangent<real>& g, real* partial,
               Launch launch) {
    const int64_t count = tiles.views * tiles.rows * tiles.columns;
#pragma omp parallel num_threads(launch.threads)
    {
        Block<real> block(p.channels);
        std::vector<real> of_values(p.channels * kTile);
#pragma omp for schedule(dynamic, 1)
        for (int64_t index = 0; index < count; ++index) {
            if (p.entries == Disk<real>::kEntries)
                blend_tile_vjp<Disk<real>>(p, tiles, g, partial, index, block, of_values);
            else blend_tile_vjp<Ellipse<real>>(p, tiles, g, partial, index, block, of_values);
        }
    }
}

template <class real>
void gather(const Painting<real>& p, const int64_t* offsets, int64_t splats, const real* partial,
            const Seen<real>& gradient, real* values, Launch launch) {
#pragma omp parallel for schedule(static) num_threads(launch.threads)
    for (int64_t i = 0; i < splats; ++i) {
        if (p.entries == Disk<real>::kEntries) gather_one<Disk<real>>(p, offsets, partial, gradient, values, i);
        else gather_one<Ellipse<real>>(p, offsets, partial, gradient, values, i);
    }
}

#define DREAMKIT_INSTANTIATE(real)                                                                                    \
    template void project(const Cloud<real>&, const Seen<real>&, Launch);                                             \
    template void project_vjp(const Cloud<real>&, const Seen<real>&, const CloudGradient<real>&, Launch);             \
    template void blend(const Painting<real>&, const TileLists&, const Picture<real>&, Launch);                       \
    template void blend_vjp(const Painting<real>&, const TileLists&, const PictureCotangent<real>&, real*, Launch);   \
    template void gather(const Painting<real>&, const int64_t*, int64_t, const real*, const Seen<real>&, real*, Launch);
DREAMKIT_INSTANTIATE(float)
DREAMKIT_INSTANTIATE(double)

}  // namespace dreamkit::DREAMKIT_VARIANT
