// Sums into cells that many items hit, without a second thread on any cell: each part owns a range of cells, walks over
// all items in order and keeps what falls into its range. So each cell adds up in the order of the items, and the result
// does not depend on the number of parts.
#pragma once

#include <cstdint>

namespace dreamkit::DREAMKIT_VARIANT {
namespace {

struct Range {
    int64_t first, after;
    bool owns(int64_t cell) const { return cell >= first && cell < after; }
};

// Calls sum(group, range) so that the ranges of a group cover its cells.
template <class Sum>
void each_owned(int64_t groups, int64_t cells, int threads, Sum sum) {
    const int64_t parts = groups >= threads ? 1 : (threads + groups - 1) / groups;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t item = 0; item < groups * parts; ++item) {
        const int64_t part = item % parts;
        sum(item / parts, Range{cells * part / parts, cells * (part + 1) / parts});
    }
}

}  // namespace
}  // namespace dreamkit::DREAMKIT_VARIANT
