// Bindings of dreamkit/ops/splat.py. Groups of tensors come as lists, in the order of the structs in splat_loops.h.
#include <nanobind/stl/vector.h>

#include <vector>

#include "bindings.h"
#include "splat_loops.h"
#include "splat_tiles.h"

namespace dreamkit {
namespace {

using Arrays = std::vector<Array>;

// width, height, near, antialiased
using Lens = std::vector<double>;

template <class real>
Cloud<real> cloud_of(const Arrays& a, const Lens& lens) {
    return {data<real>(a[0]), data<real>(a[1]), data<real>(a[2]), data<real>(a[3]),
            static_cast<int64_t>(a[0].shape(0)), data<real>(a[4]), data<real>(a[5]), data<real>(a[6]),
            static_cast<int64_t>(a[6].shape(0)), lens[0], lens[1], lens[2], lens[3] != 0};
}

template <class real>
Painting<real> painting_of(const Arrays& a) {
    return {data<real>(a[0]), data<real>(a[1]), data<real>(a[2]), data<real>(a[3]), data<real>(a[4]),
            static_cast<int64_t>(a[1].shape(a[1].ndim() - 1)), static_cast<int64_t>(a[4].shape(a[4].ndim() - 1))};
}

// sizes: views, rows, columns, height, width
TileLists tiles_of(const Arrays& a, const std::vector<int64_t>& sizes) {
    return {data<int64_t>(a[0]), data<int64_t>(a[1]), data<int64_t>(a[2]), sizes[0], sizes[1], sizes[2], sizes[3],
            sizes[4]};
}

void project(const Arrays& cloud, const Lens& lens, const Arrays& seen, int threads, uintptr_t stream) {
    dispatch<SplatLoops>(cloud[0], [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.project(cloud_of<real>(cloud, lens),
                      {data<real>(seen[0]), data<real>(seen[1]), data<real>(seen[2]), data<real>(seen[3]),
                       data<real>(seen[4]), data<real>(seen[5])},
                      {threads, stream});
    });
}

void project_vjp(const Arrays& cloud, const Lens& lens, const Arrays& cotangents, const Arrays& gradients, int threads,
                 uintptr_t stream) {
    dispatch<SplatLoops>(cloud[0], [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.project_vjp(cloud_of<real>(cloud, lens),
                          {data<real>(cotangents[0]), data<real>(cotangents[1]), data<real>(cotangents[2]), nullptr,
                           nullptr, nullptr},
                          {data<real>(gradients[0]), data<real>(gradients[1]), data<real>(gradients[2]),
                           data<real>(gradients[3])},
                          {threads, stream});
    });
}

// sizes: views, gaussians, rows, columns
void sort(const Array& depth, const Array& box, const Array& offsets, const std::vector<int64_t>& sizes,
          const Arrays& lists) {
    const nb::gil_scoped_release unlocked;
    const Boxes boxes{data<int64_t>(box), data<int64_t>(offsets), sizes[0], sizes[1], sizes[2], sizes[3]};
    int64_t *starts = data<int64_t>(lists[0]), *splat = data<int64_t>(lists[1]), *slot = data<int64_t>(lists[2]);
    if (depth.dtype() == nb::dtype<float>()) sort_tiles(boxes, data<float>(depth), starts, splat, slot);
    else sort_tiles(boxes, data<double>(depth), starts, splat, slot);
}

void blend(const Arrays& painting, const Arrays& tiles, const std::vector<int64_t>& sizes, const Arrays& picture,
           int threads, uintptr_t stream) {
    dispatch<SplatLoops>(painting[0], [&](auto kind, auto loops) {
        using real = decltype(kind);
        loops.blend(painting_of<real>(painting), tiles_of(tiles, sizes),
                    {data<real>(picture[0]), data<real>(picture[1]), data<int32_t>(picture[2])}, {threads, stream});
    });
}

// cotangents: of accumulated and of alpha, then through and last as the forward pass left them; gradients: centre, shape,
// opacity, values
void blend_vjp(const Arrays& painting, const Arrays& tiles, const std::vector<int64_t>& sizes, const Arrays& cotangents,
               const Array& offsets, const Array& partial, const Arrays& gradients, int threads, uintptr_t stream) {
    dispatch<SplatLoops>(painting[0], [&](auto kind, auto loops) {
        using real = decltype(kind);
        const Painting<real> p = painting_of<real>(painting);
        loops.blend_vjp(p, tiles_of(tiles, sizes),
                        {data<real>(cotangents[0]), data<real>(cotangents[1]), data<real>(cotangents[2]),
                         data<int32_t>(cotangents[3])},
                        data<real>(partial), {threads, stream});
        loops.gather(p, data<int64_t>(offsets), static_cast<int64_t>(offsets.shape(0)) - 1, data<real>(partial),
                     {data<real>(gradients[0]), data<real>(gradients[1]), data<real>(gradients[2]), nullptr, nullptr,
                      nullptr},
                     data<real>(gradients[3]), {threads, stream});
    });
}

}  // namespace

void bind_splat(nb::module_& module) {
    module.def("splat_project", &project, "cloud"_a, "lens"_a, "seen"_a, "threads"_a, "stream"_a);
    module.def("splat_project_vjp", &project_vjp, "cloud"_a, "lens"_a, "cotangents"_a, "gradients"_a, "threads"_a,
               "stream"_a);
    module.def("splat_sort", &sort, "depth"_a, "box"_a, "offsets"_a, "sizes"_a, "lists"_a);
    module.def("splat_blend", &blend, "painting"_a, "tiles"_a, "sizes"_a, "picture"_a, "threads"_a, "stream"_a);
    module.def("splat_blend_vjp", &blend_vjp, "painting"_a, "tiles"_a, "sizes"_a, "cotangents"_a, "offsets"_a,
               "partial"_a, "gradients"_a, "threads"_a, "stream"_a);
}

}  // namespace dreamkit
