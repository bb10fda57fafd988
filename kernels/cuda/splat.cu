// Loops of splatting on the GPU: a block for each tile, a thread for each of its pixels. Gradients of a (splat, tile)
// pair are summed within the block and written to the pair's slot, so that no addition is atomic and results repeat.
#include "../splat_loops.h"
#include "launch.h"

namespace dreamkit::cuda {
namespace {

constexpr int kPixels = kTile * kTile;
constexpr int kWarps = kPixels / 32;
static_assert(kPixels == kThreads, "a block of the tile kernels has one thread for each pixel");

// Where this thread's pixel lies.
struct Place {
    int64_t pixel, begin, end;  // index in the picture; the tile's pairs
    int x, y;
    bool inside;
};

__device__ Place place_of(const TileLists& t) {
    const int64_t tile = blockIdx.x, tiles = t.rows * t.columns, within = tile % tiles;
    const int x = static_cast<int>(within % t.columns) * kTile + threadIdx.x % kTile;
    const int y = static_cast<int>(within / t.columns) * kTile + threadIdx.x / kTile;
    return {(tile / tiles * t.height + y) * t.width + x, t.starts[tile], t.starts[tile + 1], x, y,
            x < t.width && y < t.height};
}

template <class Shape, class real>
__global__ void blend_tiles(Painting<real> p, TileLists t, Picture<real> out) {
    const Place place = place_of(t);
    real through = 1, alive = place.inside ? real(1) : real(0);
    int32_t last = 0;
    if (place.inside)
        for (int64_t c = 0; c < p.channels; ++c) out.accumulated[place.pixel * p.channels + c] = 0;
    for (int64_t k = place.begin; k < place.end; ++k) {
        if (__syncthreads_and(alive == real(0))) break;
        const int64_t i = t.splat[k];
        const real power = Shape::power(p.shape + i * Shape::kEntries, p.centre + 2 * i,
                                        static_cast<real>(place.x) + real(0.5), static_cast<real>(place.y) + real(0.5));
        const real weight = blend_step(visible(p.opacity[i] * decay(power), power), through, alive);
        if (!(weight > real(0))) continue;
        last = static_cast<int32_t>(k - place.begin) + 1;
        for (int64_t c = 0; c < p.channels; ++c)
            out.accumulated[place.pixel * p.channels + c] += weight * p.values[i * p.channels + c];
    }
    if (!place.inside) return;
    out.through[place.pixel] = through;
    out.last[place.pixel] = last;
}

// Sum over the block in a fixed order; every thread must call it. The result is thread 0's.
template <class real>
__device__ real block_sum(real value, real* shared) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
    __syncthreads();
    real sum = 0;
    if (threadIdx.x == 0)
        for (int warp = 0; warp < kWarps; ++warp) sum += shared[warp];
    return sum;
}

template <class Shape, class real>
__global__ void blend_tiles_vjp(Painting<real> p, TileLists t, PictureCotangent<real> g, real* partial) {
    constexpr int kSums = Shape::kMoments + 1;
    __shared__ real shared[kWarps];
    const Place place = place_of(t);
    const int64_t width = kSums + p.channels;
    const int32_t last = place.inside ? g.last[place.pixel] : 0;
    real through = place.inside ? g.through[place.pixel] : real(1), behind = 0;
    const real of_alpha = place.inside ? g.alpha[place.pixel] : real(0);
    const real* of_sum = g.accumulated + place.pixel * p.channels;
    for (int64_t k = place.end; k-- > place.begin;) {
        const int64_t i = t.splat[k];
        real* out = partial + t.slot[k] * width;
        const real x = static_cast<real>(place.x) + real(0.5), y = static_cast<real>(place.y) + real(0.5);
        const real *shape = p.shape + i * Shape::kEntries, *centre = p.centre + 2 * i;
        real alpha = 0, raw = 0;
        if (k - place.begin < last) {
            const real power = Shape::power(shape, centre, x, y);
            raw = p.opacity[i] * decay(power);
            alpha = visible(raw, power);
        }
        if (!__syncthreads_or(alpha > real(0))) {
            for (int64_t c = threadIdx.x; c < width; c += kPixels) out[c] = 0;
            continue;
        }
        real weight = 0, h = 0, moment[kSums] = {};
        if (alpha > real(0)) {
            real dot = of_alpha, slope;
            for (int64_t c = 0; c < p.channels; ++c) dot += p.values[i * p.channels + c] * of_sum[c];
            weight = blend_step_vjp(alpha, dot, through, behind, slope);
            h = raw <= real(kMostAlpha) ? alpha * slope : real(0);
            Shape::moments(shape, centre, x, y, h, moment);
            moment[Shape::kMoments] = h;
        }
        for (int m = 0; m < kSums; ++m) {
            const real sum = block_sum(moment[m], shared);
            if (threadIdx.x == 0) out[m] = sum;
        }
        for (int64_t c = 0; c < p.channels; ++c) {
            const real sum = block_sum(weight > real(0) ? weight * of_sum[c] : real(0), shared);
            if (threadIdx.x == 0) out[kSums + c] = sum;
        }
    }
}

unsigned blocks_of(const TileLists& t) {
    const int64_t tiles = t.views * t.rows * t.columns;
    if (tiles > 2147483647) throw std::invalid_argument("dreamkit._kernels: too many tiles for one CUDA launch");
    return static_cast<unsigned>(tiles);
}

void check_launch() {
    const cudaError_t status = cudaGetLastError();
    if (status != cudaSuccess)
        throw std::runtime_error(std::string("dreamkit._kernels: CUDA launch failed: ") + cudaGetErrorString(status));
}

}  // namespace

template <class real>
void project(const Cloud<real>& cloud, const Seen<real>& seen, Launch launch) {
    const Cloud<real> c = cloud;
    const Seen<real> out = seen;
    for_each(c.gaussians, launch, [=] __device__(int64_t i) { project_one(c, out, i); });
}

template <class real>
void project_vjp(const Cloud<real>& cloud, const Seen<real>& cotangent, const CloudGradient<real>& gradient,
                 Launch launch) {
    const Cloud<real> c = cloud;
    const Seen<real> g = cotangent;
    const CloudGradient<real> out = gradient;
    for_each(c.gaussians, launch, [=] __device__(int64_t i) { project_one_vjp(c, g, out, i); });
}

template <class real>
void blend(const Painting<real>& p, const TileLists& tiles, const Picture<real>& out, Launch launch) {
    const unsigned blocks = blocks_of(tiles);
    if (blocks == 0) return;
    const auto stream = reinterpret_cast<cudaStream_t>(launch.stream);
    if (p.entries == Disk<real>::kEntries) blend_tiles<Disk<real>><<<blocks, kPixels, 0, stream>>>(p, tiles, out);
    else blend_tiles<Ellipse<real>><<<blocks, kPixels, 0, stream>>>(p, tiles, out);
    check_launch();
}

template <class real>
void blend_vjp(const Painting<real>& p, const TileLists& tiles, const PictureCotangent<real>& g, real* partial,
               Launch launch) {
    const unsigned blocks = blocks_of(tiles);
    if (blocks == 0) return;
    const auto stream = reinterpret_cast<cudaStream_t>(launch.stream);
    if (p.entries == Disk<real>::kEntries)
        blend_tiles_vjp<Disk<real>><<<blocks, kPixels, 0, stream>>>(p, tiles, g, partial);
    else blend_tiles_vjp<Ellipse<real>><<<blocks, kPixels, 0, stream>>>(p, tiles, g, partial);
    check_launch();
}

template <class real>
void gather(const Painting<real>& painting, const int64_t* offsets, int64_t splats, const real* partial,
            const Seen<real>& gradient, real* values, Launch launch) {
    const Painting<real> p = painting;
    const Seen<real> out = gradient;
    if (p.entries == Disk<real>::kEntries)
        for_each(splats, launch, [=] __device__(int64_t i) { gather_one<Disk<real>>(p, offsets, partial, out, values, i); });
    else
        for_each(splats, launch,
                 [=] __device__(int64_t i) { gather_one<Ellipse<real>>(p, offsets, partial, out, values, i); });
}

#define DREAMKIT_INSTANTIATE(real)                                                                                    \
    template void project(const Cloud<real>&, const Seen<real>&, Launch);                                             \
    template void project_vjp(const Cloud<real>&, const Seen<real>&, const CloudGradient<real>&, Launch);             \
    template void blend(const Painting<real>&, const TileLists&, const Picture<real>&, Launch);                       \
    template void blend_vjp(const Painting<real>&, const TileLists&, const PictureCotangent<real>&, real*, Launch);   \
    template void gather(const Painting<real>&, const int64_t*, int64_t, const real*, const Seen<real>&, real*, Launch);
DREAMKIT_INSTANTIATE(float)
DREAMKIT_INSTANTIATE(double)

}  // namespace dreamkit::cuda
