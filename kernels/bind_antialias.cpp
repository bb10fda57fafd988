// Bindings of dreamkit/ops/antialias.py.
#include "bindings.h"
#include "antialias_loops.h"

namespace dreamkit {
namespace {

template <class real>
Outlined<real> outlined(const Array& vertices, const Array& faces, const Array& opposite, const Array& triangle,
                        const Array& depth, const Array& image, double near) {
    const auto size = [&](int axis) { return static_cast<int64_t>(image.shape(axis)); };
    return {data<real>(vertices), data<int64_t>(faces), data<int64_t>(opposite), data<int64_t>(triangle),
            data<real>(depth),    data<real>(image),    size(0),                 static_cast<int64_t>(vertices.shape(1)),
            size(1),              size(2),              size(3),                 near};
}

void antialias(const Array& vertices, const Array& faces, const Array& opposite, const Array& triangle,
               const Array& depth, const Array& image, double near, const Array& weight, const Array& edge,
               const Array& out, int threads, uintptr_t stream) {
    dispatch<AntialiasLoops>(vertices, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.antialias(outlined<real>(vertices, faces, opposite, triangle, depth, image, near),
                        {data<real>(weight), data<int64_t>(edge)}, data<real>(out), {threads, stream});
    });
}

void antialias_vjp(const Array& vertices, const Array& faces, const Array& opposite, const Array& triangle,
                   const Array& depth, const Array& image, double near, const Array& weight, const Array& edge,
                   const Array& cotangent, const Array& of_image, const Array& of_vertices, int threads,
                   uintptr_t stream) {
    dispatch<AntialiasLoops>(vertices, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.antialias_vjp(outlined<real>(vertices, faces, opposite, triangle, depth, image, near),
                            {data<real>(weight), data<int64_t>(edge)}, data<real>(cotangent), data<real>(of_image),
                            data<real>(of_vertices), {threads, stream});
    });
}

}  // namespace

void bind_antialias(nb::module_& module) {
    module.def("antialias", &antialias, "vertices"_a.noconvert(), "faces"_a.noconvert(), "opposite"_a.noconvert(),
               "triangle"_a.noconvert(), "depth"_a.noconvert(), "image"_a.noconvert(), "near"_a, "weight"_a.noconvert(),
               "edge"_a.noconvert(), "out"_a.noconvert(), "threads"_a, "stream"_a);
    module.def("antialias_vjp", &antialias_vjp, "vertices"_a.noconvert(), "faces"_a.noconvert(),
               "opposite"_a.noconvert(), "triangle"_a.noconvert(), "depth"_a.noconvert(), "image"_a.noconvert(),
               "near"_a, "weight"_a.noconvert(), "edge"_a.noconvert(), "cotangent"_a.noconvert(),
               "of_image"_a.noconvert(), "of_vertices"_a.noconvert(), "threads"_a, "stream"_a);
}

}  // namespace dreamkit
