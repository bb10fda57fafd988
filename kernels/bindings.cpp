// The Python module dreamkit._kernels. Tensors arrive as DLPack, so that no torch is needed at build time.
// Shapes and types are checked in dreamkit/ops; here only what would make a pointer mean something else.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "loops.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace dreamkit {
namespace {

using Array = nb::ndarray<nb::c_contig>;
using Optional = std::optional<Array>;

template <class value>
value* data(const Array& array) {
    if (array.dtype() != nb::dtype<value>()) throw std::invalid_argument("dreamkit._kernels: unexpected tensor type");
    return static_cast<value*>(array.data());
}

template <class value>
value* data(const Optional& array) {
    return array ? data<value>(*array) : nullptr;
}

bool has_avx2() {
#if defined(DREAMKIT_WITH_AVX2)
    static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return has;
#else
    return false;
#endif
}

template <class real>
Loops<real> loops_for(int device) {
    if (device == nb::device::cuda::value) {
#if defined(DREAMKIT_WITH_CUDA)
        return cuda::loops<real>();
#else
        throw std::invalid_argument("dreamkit._kernels: built without CUDA");
#endif
    }
    if (device != nb::device::cpu::value) throw std::invalid_argument("dreamkit._kernels: unknown device");
#if defined(DREAMKIT_WITH_AVX2)
    if (has_avx2()) return avx2::loops<real>();
#endif
    return baseline::loops<real>();
}

// Runs `body(real{}, loops)` for the type of `like` on its device, without Python's lock.
template <class Body>
void dispatch(const Array& like, Body body) {
    const nb::gil_scoped_release unlocked;
    if (like.dtype() == nb::dtype<float>()) body(float{}, loops_for<float>(like.device_type()));
    else if (like.dtype() == nb::dtype<double>()) body(double{}, loops_for<double>(like.device_type()));
    else throw std::invalid_argument("dreamkit._kernels: expected float32 or float64 tensors");
}

Pyramid make_pyramid(const std::vector<double>& scales, const std::vector<int64_t>& offsets,
                     const std::vector<uint32_t>& sides, const std::vector<bool>& dense, int features, bool smoothstep) {
    if (scales.size() > static_cast<size_t>(kMostLevels)) throw std::invalid_argument("dreamkit._kernels: too many levels");
    Pyramid pyramid{};
    pyramid.levels = static_cast<int>(scales.size());
    pyramid.features = features;
    pyramid.smoothstep = smoothstep;
    for (size_t l = 0; l < scales.size(); ++l)
        pyramid.level[l] = {scales[l], offsets[l], static_cast<uint32_t>(offsets[l + 1] - offsets[l]), sides[l], dense[l]};
    return pyramid;
}

template <class real>
Encoding<real> encoding(const Array& points, const Optional& table, const Optional& direction, const Pyramid& pyramid,
                        int active) {
    return {data<real>(points), data<real>(table), data<real>(direction), static_cast<int64_t>(points.shape(0)), active,
            pyramid};
}

void encode(const Array& points, const Array& table, const Optional& direction, const Array& encoded,
            const Pyramid& pyramid, int active, int threads, uintptr_t stream) {
    dispatch(points, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.encode(encoding<real>(points, table, direction, pyramid, active), data<real>(encoded), {threads, stream});
    });
}

void table_gradient(const Array& points, const Optional& direction, const Array& cotangent, const Array& gradient,
                    const Pyramid& pyramid, int active, int threads, uintptr_t stream) {
    dispatch(points, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.table_gradient(encoding<real>(points, std::nullopt, direction, pyramid, active), data<real>(cotangent),
                             data<real>(gradient), {threads, stream});
    });
}

void points_gradient(const Array& points, const Array& table, const Optional& direction, const Array& cotangent,
                     const Array& gradient, const Pyramid& pyramid, int active, int threads, uintptr_t stream) {
    dispatch(points, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.points_gradient(encoding<real>(points, table, direction, pyramid, active), data<real>(cotangent),
                              data<real>(gradient), {threads, stream});
    });
}

struct Box {
    double radius, near_, far_, step;
};

template <class real>
Marching<real> marching(const Array& origins, const Array& directions, const Array& occupancy, const Optional& jitter,
                        const Box& box) {
    return {data<real>(origins), data<real>(directions), data<bool>(occupancy), data<real>(jitter),
            static_cast<int64_t>(origins.shape(0)), static_cast<int64_t>(occupancy.shape(0)),
            box.radius, box.near_, box.far_, box.step};
}

void march_count(const Array& origins, const Array& directions, const Array& occupancy, const Optional& jitter,
                 const Box& box, const Array& count, int threads, uintptr_t stream) {
    dispatch(origins, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.march_count(marching<real>(origins, directions, occupancy, jitter, box), data<int64_t>(count),
                          {threads, stream});
    });
}

void march_fill(const Array& origins, const Array& directions, const Array& occupancy, const Optional& jitter,
                const Box& box, const Array& offsets, const Array& ray, const Array& distance, int threads,
                uintptr_t stream) {
    dispatch(origins, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.march_fill(marching<real>(origins, directions, occupancy, jitter, box), data<int64_t>(offsets),
                         data<int64_t>(ray), data<real>(distance), {threads, stream});
    });
}

template <class real>
Samples<real> samples(const Array& density, const Array& length, const Array& values, const Optional& distance,
                      const Array& offsets, double stop) {
    return {data<real>(density), data<real>(length), data<real>(values), data<real>(distance), data<int64_t>(offsets),
            static_cast<int64_t>(offsets.shape(0)) - 1, static_cast<int64_t>(values.shape(1)), stop};
}

void composite(const Array& density, const Array& length, const Array& values, const Optional& distance,
               const Array& offsets, double stop, const Array& weights, const Array& after, const Array& accumulated,
               const Array& alpha, const Array& depth, int threads, uintptr_t stream) {
    dispatch(density, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.composite(samples<real>(density, length, values, distance, offsets, stop),
                        {data<real>(weights), data<real>(after), data<real>(accumulated), data<real>(alpha),
                         data<real>(depth)},
                        {threads, stream});
    });
}

void composite_vjp(const Array& density, const Array& length, const Array& values, const Optional& distance,
                   const Array& offsets, double stop, const Array& weights, const Array& after, const Array& of_weights,
                   const Array& of_accumulated, const Array& of_alpha, const Array& of_depth,
                   const Array& density_gradient, const Array& values_gradient, int threads, uintptr_t stream) {
    dispatch(density, [&](auto kind, auto loops) {
        using real = decltype(kind);
        const Cotangents<real> cotangents{data<real>(of_weights), data<real>(of_accumulated), data<real>(of_alpha),
                                          data<real>(of_depth)};
        loops.composite_vjp(samples<real>(density, length, values, distance, offsets, stop), data<real>(weights),
                            data<real>(after), cotangents, data<real>(density_gradient), data<real>(values_gradient),
                            {threads, stream});
    });
}

std::string description() {
    std::string text = has_avx2() ? "AVX2" : "baseline instructions";
#if defined(_OPENMP)
    text += ", OpenMP";
#else
    text += ", one thread (built without OpenMP)";
#endif
    return text;
}

bool with_cuda() {
#if defined(DREAMKIT_WITH_CUDA)
    return true;
#else
    return false;
#endif
}

}  // namespace
}  // namespace dreamkit

NB_MODULE(_kernels, module) {
    using namespace dreamkit;
    nb::set_leak_warnings(false);  // dreamkit/ops keeps pyramids until the process ends
    nb::class_<Pyramid>(module, "Pyramid")
        .def_static("make", &make_pyramid, "scales"_a, "offsets"_a, "sides"_a, "dense"_a, "features"_a, "smoothstep"_a);
    nb::class_<Box>(module, "Box").def(nb::init<double, double, double, double>(), "radius"_a, "near"_a, "far"_a, "step"_a);
    module.def("description", &description);
    module.def("with_cuda", &with_cuda);
    module.def("encode", &encode, "points"_a.noconvert(), "table"_a.noconvert(), "direction"_a.noconvert().none(),
               "encoded"_a.noconvert(), "pyramid"_a, "active"_a, "threads"_a, "stream"_a);
    module.def("table_gradient", &table_gradient, "points"_a.noconvert(), "direction"_a.noconvert().none(),
               "cotangent"_a.noconvert(), "gradient"_a.noconvert(), "pyramid"_a, "active"_a, "threads"_a, "stream"_a);
    module.def("points_gradient", &points_gradient, "points"_a.noconvert(), "table"_a.noconvert(),
               "direction"_a.noconvert().none(), "cotangent"_a.noconvert(), "gradient"_a.noconvert(), "pyramid"_a,
               "active"_a, "threads"_a, "stream"_a);
    module.def("march_count", &march_count, "origins"_a.noconvert(), "directions"_a.noconvert(),
               "occupancy"_a.noconvert(), "jitter"_a.noconvert().none(), "box"_a, "count"_a.noconvert(), "threads"_a,
               "stream"_a);
    module.def("march_fill", &march_fill, "origins"_a.noconvert(), "directions"_a.noconvert(),
               "occupancy"_a.noconvert(), "jitter"_a.noconvert().none(), "box"_a, "offsets"_a.noconvert(),
               "ray"_a.noconvert(), "distance"_a.noconvert(), "threads"_a, "stream"_a);
    module.def("composite", &composite, "density"_a.noconvert(), "length"_a.noconvert(), "values"_a.noconvert(),
               "distance"_a.noconvert().none(), "offsets"_a.noconvert(), "stop"_a, "weights"_a.noconvert(),
               "after"_a.noconvert(), "accumulated"_a.noconvert(), "alpha"_a.noconvert(), "depth"_a.noconvert(),
               "threads"_a, "stream"_a);
    module.def("composite_vjp", &composite_vjp, "density"_a.noconvert(), "length"_a.noconvert(),
               "values"_a.noconvert(), "distance"_a.noconvert().none(), "offsets"_a.noconvert(), "stop"_a,
               "weights"_a.noconvert(), "after"_a.noconvert(), "of_weights"_a.noconvert(),
               "of_accumulated"_a.noconvert(), "of_alpha"_a.noconvert(), "of_depth"_a.noconvert(),
               "density_gradient"_a.noconvert(), "values_gradient"_a.noconvert(), "threads"_a, "stream"_a);
}
