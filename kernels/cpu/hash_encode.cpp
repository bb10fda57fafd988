// Loops of the hash encoding on the processor. DREAMKIT_VARIANT names the build (see loops.h).
//
// Every loop finishes a level before it begins the next, because the table of one level fits into the second cache, and
// because a large one needs few pages at a time. The price is that arrays of points are turned first (planes.h).
#include <algorithm>
#include <type_traits>
#include <vector>

#include "../hash_encode_loops.h"
#include "hash_block.h"

namespace dreamkit::DREAMKIT_VARIANT {
namespace {

constexpr int kOwnChunk = 8192;      // points that one thread takes through all levels
constexpr int kSharedChunk = 32768;  // points of which every thread takes all, through its own levels

// Points in a row: as many as fit into the memory that is there for their planes.
template <int F, class real>
struct Chunk {
    const Encoding<real>& e;
    Planes<1, real> points, directions;
    Planes<F, real> channels;  // of the encoding, or of its cotangent
    int64_t begin = 0;
    int count = 0;

    Chunk(const Encoding<real>& encoding, int most)
        : e(encoding), points(3, most), directions(e.direction ? 3 : 0, most), channels(e.pyramid.levels, most) {}

    void select(int64_t from, int most) {
        begin = from;
        count = static_cast<int>(std::min<int64_t>(e.count - from, most));
    }

    int blocks() const { return (count + kPoints<F> - 1) / kPoints<F>; }
    int size(int block) const { return std::min(count - block * kPoints<F>, kPoints<F>); }

    // The rows of an array [points, width] that belong to a block
    template <class value>
    value* rows(value* array, int width, int block) const {
        return array + (begin + block * kPoints<F>) * width;
    }

    void read_points(int block) const {
        const int first = block * kPoints<F>;
        points.read(rows(e.points, 3, block), first, size(block), kPoints<F>);
        if (e.direction) directions.read(rows(e.direction, 3, block), first, size(block), kPoints<F>);
    }

    void read_channels(const real* array, int block) const {
        const real* from = rows(array, e.pyramid.levels * F, block);
        channels.read(from, block * kPoints<F>, size(block), kPoints<F>);
    }

    void write_channels(real* array, int block) const {
        channels.write(rows(array, e.pyramid.levels * F, block), block * kPoints<F>, size(block));
    }

    template <bool slopes>
    void locate(int l, int block, std::bool_constant<slopes>, Block<F, real>& b) const {
        const Level& level = e.pyramid.level[l];
        const int first = block * kPoints<F>;
        for (int j = 0; j < 3; ++j) {
            if (e.pyramid.smoothstep) locate_axis<true, slopes>(level, points.at(j, first), j, b);
            else locate_axis<false, slopes>(level, points.at(j, first), j, b);
            if (e.direction) spread<F>(directions.at(j, first), b.direction[j]);
        }
        if (level.dense) locate_corners<true>(level, b);
        else locate_corners<false>(level, b);
    }
};

template <bool directed, int F, class real>
void encode_chunk(const Chunk<F, real>& chunk, real* encoded) {
    const Encoding<real>& e = chunk.e;
    Block<F, real> b;
    for (int n = 0; n < chunk.blocks(); ++n) chunk.read_points(n);
    for (int l = 0; l < e.active; ++l)
        for (int n = 0; n < chunk.blocks(); ++n) {
            chunk.locate(l, n, std::bool_constant<directed>{}, b);
            look_up(e.table + e.pyramid.level[l].offset * F, b);
            blend_rows<directed>(b, chunk.channels.at(l, n * kPoints<F>));
        }
    for (int l = e.active; l < e.pyramid.levels; ++l) std::fill_n(chunk.channels.at(l, 0), chunk.count * F, real(0));
    for (int n = 0; n < chunk.blocks(); ++n) chunk.write_channels(encoded, n);
}

// All points of the chunk in order, for the entries [low, low + span) of one level: no other task writes them, and each
// gets its terms in the order of the points, however many tasks there are.
template <bool directed, int F, class real>
void scatter_level(const Chunk<F, real>& chunk, int l, uint32_t low, uint32_t span, real* gradient) {
    const Level& level = chunk.e.pyramid.level[l];
    real* table = gradient + level.offset * F;
    Block<F, real> b;
    for (int n = 0; n < chunk.blocks(); ++n) {
        chunk.locate(l, n, std::bool_constant<directed>{}, b);
        weigh_rows<directed>(chunk.channels.at(l, n * kPoints<F>), b);
        if (span >= level.size) add_rows<true>(b, chunk.size(n), low, span, table);
        else add_rows<false>(b, chunk.size(n), low, span, table);
    }
}

template <bool directed, int F, class real>
void points_gradient_chunk(const Chunk<F, real>& chunk, const real* cotangent, real* gradient) {
    const Encoding<real>& e = chunk.e;
    Block<F, real> b;
    for (int n = 0; n < chunk.blocks(); ++n) chunk.read_points(n), chunk.read_channels(cotangent, n);
    std::fill_n(gradient + 3 * chunk.begin, 3 * chunk.count, real(0));
    for (int l = 0; l < e.active; ++l)
        for (int n = 0; n < chunk.blocks(); ++n) {
            chunk.locate(l, n, std::true_type{}, b);
            look_up(e.table + e.pyramid.level[l].offset * F, b);
            const real* g = chunk.channels.at(l, n * kPoints<F>);
            add_derivative<directed>(g, b, chunk.size(n), chunk.rows(gradient, 3, n));
        }
}

// Calls loop(F, directed): both are known when the inner loops are compiled.
template <class real, class Loop>
void specialised(const Encoding<real>& e, Loop loop) {
    const auto with = [&](auto features) {
        e.direction ? loop(features, std::true_type{}) : loop(features, std::false_type{});
    };
    switch (e.pyramid.features) {
        case 1: return with(std::integral_constant<int, 1>{});
        case 2: return with(std::integral_constant<int, 2>{});
        case 4: return with(std::integral_constant<int, 4>{});
        default: return with(std::integral_constant<int, 8>{});
    }
}

// body(chunk) for all points, each thread with chunks of its own.
template <int F, class real, class Body>
void each_chunk(const Encoding<real>& e, int threads, Body body) {
    const int most = static_cast<int>(std::min<int64_t>((e.count + threads - 1) / threads, kOwnChunk));
    std::vector<Chunk<F, real>> chunks;  // allocated here: no exception may leave a parallel region
    for (int t = 0; t < threads; ++t) chunks.emplace_back(e, most);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int t = 0; t < threads; ++t)
        for (int64_t begin = int64_t(t) * most; begin < e.count; begin += int64_t(threads) * most) {
            chunks[t].select(begin, most);
            body(chunks[t]);
        }
}

}  // namespace

template <class real>
void encode(const Encoding<real>& e, real* encoded, Launch launch) {
    specialised(e, [&](auto features, auto directed) {
        each_chunk<features>(e, launch.threads, [&](const auto& chunk) { encode_chunk<directed>(chunk, encoded); });
    });
}

// Few enough that their planes stay in the last cache, but so many that it pays to fetch a level that does not.
template <class real>
int shared_chunk(const Encoding<real>& e) {
    uint32_t largest = 0;
    for (int l = 0; l < e.active; ++l) largest = std::max(largest, e.pyramid.level[l].size);
    return static_cast<int>(std::min<int64_t>(e.count, std::max<int64_t>(kSharedChunk, largest / 4)));
}

// `gradient` arrives filled with zeros.
template <class real>
void table_gradient(const Encoding<real>& e, const real* cotangent, real* gradient, Launch launch) {
    if (e.active == 0) return;
    // Two tasks a thread at least, so that dense levels (cheap) and hashed ones balance.
    const int shards = launch.threads == 1 ? 1 : (2 * launch.threads + e.active - 1) / e.active;
    const int most = shared_chunk(e);
    specialised(e, [&](auto features, auto directed) {
        Chunk<features, real> chunk(e, most);
        for (int64_t begin = 0; begin < e.count; begin += most) {
            chunk.select(begin, most);
#pragma omp parallel for schedule(static) num_threads(launch.threads)
            for (int n = 0; n < chunk.blocks(); ++n) chunk.read_points(n), chunk.read_channels(cotangent, n);
#pragma omp parallel for schedule(dynamic, 1) num_threads(launch.threads)
            for (int task = e.active * shards - 1; task >= 0; --task) {
                const uint32_t span = (e.pyramid.level[task / shards].size + shards - 1) / shards;
                scatter_level<directed>(chunk, task / shards, task % shards * span, span, gradient);
            }
        }
    });
}

template <class real>
void points_gradient(const Encoding<real>& e, const real* cotangent, real* gradient, Launch launch) {
    specialised(e, [&](auto features, auto directed) {
        each_chunk<features>(e, launch.threads,
                             [&](const auto& chunk) { points_gradient_chunk<directed>(chunk, cotangent, gradient); });
    });
}

template void encode(const Encoding<float>&, float*, Launch);
template void encode(const Encoding<double>&, double*, Launch);
template void table_gradient(const Encoding<float>&, const float*, float*, Launch);
template void table_gradient(const Encoding<double>&, const double*, double*, Launch);
template void points_gradient(const Encoding<float>&, const float*, float*, Launch);
template void points_gradient(const Encoding<double>&, const double*, double*, Launch);

}  // namespace dreamkit::DREAMKIT_VARIANT
