// Bindings of dreamkit/ops/composite.py.
#include "bindings.h"
#include "composite_loops.h"

namespace dreamkit {
namespace {

template <class real>
Samples<real> samples(const Array& density, const Array& length, const Array& values, const Optional& distance,
                      const Array& offsets, double stop) {
    return {data<real>(density), data<real>(length), data<real>(values), data<real>(distance), data<int64_t>(offsets),
            static_cast<int64_t>(offsets.shape(0)) - 1, static_cast<int64_t>(values.shape(1)), stop};
}

void composite(const Array& density, const Array& length, const Array& values, const Optional& distance,
               const Array& offsets, double stop, const Array& weights, const Array& after, const Array& accumulated,
               const Array& alpha, const Array& depth, int threads, uintptr_t stream) {
    dispatch<CompositeLoops>(density, [&](auto kind, auto loops) {
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
    dispatch<CompositeLoops>(density, [&](auto kind, auto loops) {
        using real = decltype(kind);
        const Cotangents<real> cotangents{data<real>(of_weights), data<real>(of_accumulated), data<real>(of_alpha),
                                          data<real>(of_depth)};
        loops.composite_vjp(samples<real>(density, length, values, distance, offsets, stop), data<real>(weights),
                            data<real>(after), cotangents, data<real>(density_gradient), data<real>(values_gradient),
                            {threads, stream});
    });
}

}  // namespace

void bind_composite(nb::module_& module) {
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

}  // namespace dreamkit
