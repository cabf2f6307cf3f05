// Statistics of one image's channels, of which those of a batch are put together.

template <int kVecs>
static void statistics_group(const float* z, const NormMaps& maps, Index first, float* mean_out,
                             float* squares_out) {
  const float pixels = float(maps.height * maps.width);
  Vec mean[kVecs];
  Vec squares[kVecs];
  z += first;
  sum_pixels<kVecs>(z, maps, mean, [](Vec value, int) __attribute__((always_inline)) { return value; });
  for (int v = 0; v < kVecs; ++v) mean[v] /= pixels;
  sum_pixels<kVecs>(z, maps, squares, [&](Vec value, int v) __attribute__((always_inline)) {
    const Vec d = value - mean[v];
    return d * d;
  });
  for (int v = 0; v < kVecs; ++v) {
    store(mean_out + first + v * kLanes, mean[v]);
    store(squares_out + first + v * kLanes, squares[v]);
  }
}

static void image_statistics(const float* z, const MapShape& shape, float* mean, float* squares) {
  const NormMaps maps{shape.height, shape.width, shape.channels, nullptr, nullptr};
  Index c = 0;
  for (; c + RETORT_GROUP * kLanes <= maps.channels; c += RETORT_GROUP * kLanes) {
    statistics_group<RETORT_GROUP>(z, maps, c, mean, squares);
  }
  for (; c < maps.channels; c += kLanes) statistics_group<1>(z, maps, c, mean, squares);
}
