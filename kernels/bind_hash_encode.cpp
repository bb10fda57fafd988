// Bindings of dreamkit/ops/hash_encode.py.
#include <nanobind/stl/vector.h>

#include <vector>

#include "bindings.h"
#include "hash_encode_loops.h"

namespace dreamkit {
namespace {

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
    dispatch<EncodeLoops>(points, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.encode(encoding<real>(points, table, direction, pyramid, active), data<real>(encoded), {threads, stream});
    });
}

void table_gradient(const Array& points, const Optional& direction, const Array& cotangent, const Array& gradient,
                    const Pyramid& pyramid, int active, int threads, uintptr_t stream) {
    dispatch<EncodeLoops>(points, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.table_gradient(encoding<real>(points, std::nullopt, direction, pyramid, active), data<real>(cotangent),
                             data<real>(gradient), {threads, stream});
    });
}

void points_gradient(const Array& points, const Array& table, const Optional& direction, const Array& cotangent,
                     const Array& gradient, const Pyramid& pyramid, int active, int threads, uintptr_t stream) {
    dispatch<EncodeLoops>(points, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.points_gradient(encoding<real>(points, table, direction, pyramid, active), data<real>(cotangent),
                              data<real>(gradient), {threads, stream});
    });
}

}  // namespace

void bind_hash_encode(nb::module_& module) {
    nb::class_<Pyramid>(module, "Pyramid")
        .def_static("make", &make_pyramid, "scales"_a, "offsets"_a, "sides"_a, "dense"_a, "features"_a, "smoothstep"_a);
    module.def("encode", &encode, "points"_a.noconvert(), "table"_a.noconvert(), "direction"_a.noconvert().none(),
               "encoded"_a.noconvert(), "pyramid"_a, "active"_a, "threads"_a, "stream"_a);
    module.def("table_gradient", &table_gradient, "points"_a.noconvert(), "direction"_a.noconvert().none(),
               "cotangent"_a.noconvert(), "gradient"_a.noconvert(), "pyramid"_a, "active"_a, "threads"_a, "stream"_a);
    module.def("points_gradient", &points_gradient, "points"_a.noconvert(), "table"_a.noconvert(),
               "direction"_a.noconvert().none(), "cotangent"_a.noconvert(), "gradient"_a.noconvert(), "pyramid"_a,
               "active"_a, "threads"_a, "stream"_a);
}

}  // namespace dreamkit
