// One register of floats, as a compiler vector type.

using Index = std::int64_t;
constexpr Index kLanes = RETORT_LANES;

typedef float Vec __attribute__((vector_size(4 * RETORT_LANES)));
typedef std::int32_t Mask __attribute__((vector_size(4 * RETORT_LANES)));
typedef float LooseVec __attribute__((vector_size(4 * RETORT_LANES), aligned(4), may_alias));

#define RETORT_INLINE static inline __attribute__((always_inline))

RETORT_INLINE Vec load(const float* p) { return *reinterpret_cast<const LooseVec*>(p); }
RETORT_INLINE void store(float* p, Vec v) { *reinterpret_cast<LooseVec*>(p) = v; }
RETORT_INLINE Vec splat(float value) { return Vec{} + value; }
// Keeps NaN, as LibTorch's relu does.
RETORT_INLINE Vec relu(Vec v) { return Vec{} > v ? Vec{} : v; }
RETORT_INLINE Index round_up(Index n, Index step) { return (n + step - 1) / step * step; }
RETORT_INLINE Index smaller(Index a, Index b) { return a < b ? a : b; }
