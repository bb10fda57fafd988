// Bindings of dreamkit/ops/rasterize.py.
#include "bindings.h"
#include "rasterize_loops.h"

namespace dreamkit {
namespace {

template <class real>
Projected<real> projected(const Array& vertices, const Array& faces, const Array& image, double near, bool cull) {
    const auto size = [](const Array& array, int axis) { return static_cast<int64_t>(array.shape(axis)); };
    return {data<real>(vertices), data<int64_t>(faces), size(vertices, 0), size(vertices, 1), size(faces, 0),
            size(image, 1),       size(image, 2),       near,              cull};
}

void rasterize(const Array& vertices, const Array& faces, double near, bool cull, const Array& triangle,
               const Array& barycentric, const Array& depth, int threads, uintptr_t stream) {
    dispatch<RasterizeLoops>(vertices, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.rasterize(projected<real>(vertices, faces, triangle, near, cull),
                        {data<int64_t>(triangle), data<real>(barycentric), data<real>(depth)}, {threads, stream});
    });
}

void rasterize_vjp(const Array& vertices, const Array& faces, const Array& triangle, const Array& of_barycentric,
                   const Array& of_depth, const Array& gradient, int threads, uintptr_t stream) {
    dispatch<RasterizeLoops>(vertices, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.rasterize_vjp(projected<real>(vertices, faces, triangle, 0, false),
                            {data<int64_t>(triangle), data<real>(of_barycentric), data<real>(of_depth)},
                            data<real>(gradient), {threads, stream});
    });
}

}  // namespace

void bind_rasterize(nb::module_& module) {
    module.def("rasterize", &rasterize, "vertices"_a.noconvert(), "faces"_a.noconvert(), "near"_a, "cull"_a,
               "triangle"_a.noconvert(), "barycentric"_a.noconvert(), "depth"_a.noconvert(), "threads"_a, "stream"_a);
    module.def("rasterize_vjp", &rasterize_vjp, "vertices"_a.noconvert(), "faces"_a.noconvert(),
               "triangle"_a.noconvert(), "of_barycentric"_a.noconvert(), "of_depth"_a.noconvert(),
               "gradient"_a.noconvert(), "threads"_a, "stream"_a);
}

}  // namespace dreamkit
