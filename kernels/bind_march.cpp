// Bindings of dreamkit/ops/march.py.
#include "bindings.h"
#include "march_loops.h"

namespace dreamkit {
namespace {

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
    dispatch<MarchLoops>(origins, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.march_count(marching<real>(origins, directions, occupancy, jitter, box), data<int64_t>(count),
                          {threads, stream});
    });
}

void march_fill(const Array& origins, const Array& directions, const Array& occupancy, const Optional& jitter,
                const Box& box, const Array& offsets, const Array& ray, const Array& distance, int threads,
                uintptr_t stream) {
    dispatch<MarchLoops>(origins, [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.march_fill(marching<real>(origins, directions, occupancy, jitter, box), data<int64_t>(offsets),
                         data<int64_t>(ray), data<real>(distance), {threads, stream});
    });
}

}  // namespace

void bind_march(nb::module_& module) {
    nb::class_<Box>(module, "Box").def(nb::init<double, double, double, double>(), "radius"_a, "near"_a, "far"_a, "step"_a);
    module.def("march_count", &march_count, "origins"_a.noconvert(), "directions"_a.noconvert(),
               "occupancy"_a.noconvert(), "jitter"_a.noconvert().none(), "box"_a, "count"_a.noconvert(), "threads"_a,
               "stream"_a);
    module.def("march_fill", &march_fill, "origins"_a.noconvert(), "directions"_a.noconvert(),
               "occupancy"_a.noconvert(), "jitter"_a.noconvert().none(), "box"_a, "offsets"_a.noconvert(),
               "ray"_a.noconvert(), "distance"_a.noconvert(), "threads"_a, "stream"_a);
}

}  // namespace dreamkit
