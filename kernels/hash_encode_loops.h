// The table of the hash encoding's loops.
#pragma once

#include "hash_encode.h"
#include "loops.h"

namespace dreamkit {

template <class real>
struct Encoding {
    const real* points;     // [count, 3]
    const real* table;      // [entries, features]; null where a loop does not read it
    const real* direction;  // [count, 3] or null: use v . grad w in place of the weight w
    int64_t count;
    int active;  // levels from here on are silent
    Pyramid pyramid;
};

template <class real>
struct EncodeLoops {
    void (*encode)(const Encoding<real>&, real* encoded, Launch);
    void (*table_gradient)(const Encoding<real>&, const real* cotangent, real* gradient, Launch);
    void (*points_gradient)(const Encoding<real>&, const real* cotangent, real* gradient, Launch);
};

#define DREAMKIT_ENCODE(variant)                                                                   \
    namespace variant {                                                                            \
    template <class real> void encode(const Encoding<real>&, real*, Launch);                       \
    template <class real> void table_gradient(const Encoding<real>&, const real*, real*, Launch);  \
    template <class real> void points_gradient(const Encoding<real>&, const real*, real*, Launch); \
    template <class real> void fill(EncodeLoops<real>& loops, Variant) {                           \
        loops = {encode<real>, table_gradient<real>, points_gradient<real>};                       \
    }                                                                                              \
    }

DREAMKIT_EACH_VARIANT(DREAMKIT_ENCODE)

}  // namespace dreamkit
