// Affine + ReLU + 2x2 average pooling of one image under known statistics, and with them, if asked
// for, the attention of every pixel: the sum over channels of the activation to the power kPower
// (0: none).

template <int kPower>
RETORT_INLINE Vec to_power(Vec v) {
  if constexpr (kPower == 4) v *= v;
  return kPower == 1 ? v : v * v;
}

// The derivative of to_power.
template <int kPower>
RETORT_INLINE Vec power_slope(Vec v) {
  if constexpr (kPower == 1) return splat(1);
  if constexpr (kPower == 4) return 4 * v * v * v;
  return 2 * v;
}

RETORT_INLINE float sum_lanes(Vec v) {
#pragma GCC unroll 4
  for (int step = int(kLanes) / 2; step > 0; step /= 2) {
    Mask partner{};
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j) partner[j] = j ^ step;
    v += __builtin_shuffle(v, partner);
  }
  return v[0];
}

RETORT_INLINE Vec activation(const float* p, const Affine& affine, Index c) {
  return relu((load(p + c) - load(affine.mean + c)) * load(affine.scale + c) +
              load(affine.bias + c));
}

template <int kPower>
static void affine_pool(const float* z, const MapShape& shape, const Affine& affine, float* y,
                        float* attention) {
  const Index channels = shape.channels;
  const Index row = shape.width * channels;
  const auto pixel_attention = [&](Index i, Index j) {
    Vec sum{};
    for (Index c = 0; c < channels; c += kLanes) {
      sum += to_power<kPower>(activation(z + i * row + j * channels, affine, c));
    }
    attention[i * shape.width + j] = sum_lanes(sum);
  };
  for (Index i = 0; i < shape.height / 2; ++i) {
    for (Index j = 0; j < shape.width / 2; ++j) {
      const float* pixel = z + 2 * i * row + 2 * j * channels;
      float* out = y + (i * (shape.width / 2) + j) * channels;
      Vec sum[4] = {};
      for (Index c = 0; c < channels; c += kLanes) {
        const Vec value[4] = {activation(pixel, affine, c), activation(pixel + channels, affine, c),
                              activation(pixel + row, affine, c),
                              activation(pixel + row + channels, affine, c)};
        const Vec upper = value[0] + value[1];
        const Vec lower = value[2] + value[3];
        store(out + c, (upper + lower) * 0.25f);
        if constexpr (kPower > 0) {
#pragma GCC unroll 4
          for (int k = 0; k < 4; ++k) sum[k] += to_power<kPower>(value[k]);
        }
      }
      if constexpr (kPower > 0) {
        float* at = attention + 2 * i * shape.width + 2 * j;
        at[0] = sum_lanes(sum[0]);
        at[1] = sum_lanes(sum[1]);
        at[shape.width] = sum_lanes(sum[2]);
        at[shape.width + 1] = sum_lanes(sum[3]);
      }
    }
  }
  if constexpr (kPower > 0) {
    // Odd borders have an attention, though no pool takes them in.
    if (shape.width % 2 == 1) {
      for (Index i = 0; i < shape.height; ++i) pixel_attention(i, shape.width - 1);
    }
    if (shape.height % 2 == 1) {
      for (Index j = 0; j < shape.width; ++j) pixel_attention(shape.height - 1, j);
    }
  }
}

static void affine_relu_pool(const float* z, const MapShape& shape, const Affine& affine, int power,
                             float* y, float* attention) {
  switch (power) {
    case 1:
      return affine_pool<1>(z, shape, affine, y, attention);
    case 2:
      return affine_pool<2>(z, shape, affine, y, attention);
    case 4:
      return affine_pool<4>(z, shape, affine, y, attention);
    default:
      return affine_pool<0>(z, shape, affine, y, attention);
  }
}

struct GradientMaps {
  const float* z;
  const MapShape& shape;
  const Affine& affine;
  const float* gy;
  const float* gattention;
};

// For kVecs registers of channels from `first` on: visit(register, offset of the pixel, gradient
// after the affine map, deviation from the mean) at every pixel, end_row() after every second row.
template <int kVecs, int kPower, class Visit, class EndRow>
RETORT_INLINE void visit_gradients(const GradientMaps& maps, Index first, const Visit& visit,
                                   const EndRow& end_row) {
  const Index height = maps.shape.height;
  const Index width = maps.shape.width;
  const Index channels = maps.shape.channels;
  const Index row = width * channels;
  const Index offset[4] = {0, channels, row, row + channels};
  for (Index i = 0; i < height; i += 2) {
    for (Index j = 0; j < width; j += 2) {
      const bool whole = i + 1 < height && j + 1 < width;
      const Index corner = i * row + j * channels + first;
      const float* above = maps.gy + (i / 2 * (width / 2) + j / 2) * channels + first;
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) {
        const Index c = first + v * kLanes;
        const Vec mean = load(maps.affine.mean + c);
        const Vec scale = load(maps.affine.scale + c);
        const Vec bias = load(maps.affine.bias + c);
        const Vec pooled = whole ? load(above + v * kLanes) * 0.25f : Vec{};
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
          if (!whole && (i + k / 2 == height || j + k % 2 == width)) continue;
          const Index here = corner + offset[k] + v * kLanes;
          const Vec deviation = load(maps.z + here) - mean;
          const Vec active = deviation * scale + bias;
          Vec gradient = pooled;
          if constexpr (kPower > 0) {
            gradient += splat(maps.gattention[(i + k / 2) * width + j + k % 2]) *
                        power_slope<kPower>(active);
          }
          visit(v, here, active > Vec{} ? gradient : Vec{}, deviation);
        }
      }
    }
    end_row();
  }
}

template <int kVecs, int kPower>
static void gradient_sums_group(const GradientMaps& maps, Index first, float* sum_g,
                                float* sum_gd) {
  Vec total_g[kVecs] = {};
  Vec total_gd[kVecs] = {};
  Vec row_g[kVecs] = {};
  Vec row_gd[kVecs] = {};
  visit_gradients<kVecs, kPower>(
      maps, first,
      [&](int v, Index, Vec gradient, Vec deviation) __attribute__((always_inline)) {
        row_g[v] += gradient;
        row_gd[v] += gradient * deviation;
      },
      [&]() __attribute__((always_inline)) {
#pragma GCC unroll 8
        for (int v = 0; v < kVecs; ++v) {
          total_g[v] += row_g[v];
          total_gd[v] += row_gd[v];
          row_g[v] = row_gd[v] = Vec{};
        }
      });
  for (int v = 0; v < kVecs; ++v) {
    store(sum_g + first + v * kLanes, total_g[v]);
    store(sum_gd + first + v * kLanes, total_gd[v]);
  }
}

// With kSum sums over pixels are added to sum_gz.
template <int kVecs, int kPower, bool kSum>
static void affine_gradient_group(const GradientMaps& maps, Index first, const float* shift,
                                  const float* slope, float* gz, float* sum_gz) {
  Vec total[kVecs] = {};
  Vec row[kVecs] = {};
  visit_gradients<kVecs, kPower>(
      maps, first,
      [&](int v, Index here, Vec gradient, Vec deviation) __attribute__((always_inline)) {
        const Index c = first + v * kLanes;
        const Vec result = load(maps.affine.scale + c) * gradient - load(shift + c) -
                           deviation * load(slope + c);
        store(gz + here, result);
        if constexpr (kSum) row[v] += result;
      },
      [&]() __attribute__((always_inline)) {
#pragma GCC unroll 8
        for (int v = 0; kSum && v < kVecs; ++v) {
          total[v] += row[v];
          row[v] = Vec{};
        }
      });
  for (int v = 0; kSum && v < kVecs; ++v) {
    const Index c = first + v * kLanes;
    store(sum_gz + c, load(sum_gz + c) + total[v]);
  }
}

template <int kPower>
static void gradient_sums(const GradientMaps& maps, float* sum_g, float* sum_gd) {
  constexpr Index kGroup = RETORT_GROUP / 2;
  Index c = 0;
  for (; c + kGroup * kLanes <= maps.shape.channels; c += kGroup * kLanes) {
    gradient_sums_group<kGroup, kPower>(maps, c, sum_g, sum_gd);
  }
  for (; c < maps.shape.channels; c += kLanes) {
    gradient_sums_group<1, kPower>(maps, c, sum_g, sum_gd);
  }
}

template <int kPower, bool kSum>
static void affine_gradient(const GradientMaps& maps, const float* shift, const float* slope,
                            float* gz, float* sum_gz) {
  constexpr Index kGroup = RETORT_GROUP / 2;
  Index c = 0;
  for (; c + kGroup * kLanes <= maps.shape.channels; c += kGroup * kLanes) {
    affine_gradient_group<kGroup, kPower, kSum>(maps, c, shift, slope, gz, sum_gz);
  }
  for (; c < maps.shape.channels; c += kLanes) {
    affine_gradient_group<1, kPower, kSum>(maps, c, shift, slope, gz, sum_gz);
  }
}

template <bool kSum>
static void affine_gradient_of_power(const GradientMaps& maps, int power, const float* shift,
                            const float* slope, float* gz, float* sum_gz) {
  switch (maps.gattention ? power : 0) {
    case 1:
      return affine_gradient<1, kSum>(maps, shift, slope, gz, sum_gz);
    case 2:
      return affine_gradient<2, kSum>(maps, shift, slope, gz, sum_gz);
    case 4:
      return affine_gradient<4, kSum>(maps, shift, slope, gz, sum_gz);
    default:
      return affine_gradient<0, kSum>(maps, shift, slope, gz, sum_gz);
  }
}

static void affine_relu_pool_sums(const float* z, const MapShape& shape, const Affine& affine,
                                  int power, const float* gy, const float* gattention, float* sum_g,
                                  float* sum_gd) {
  const GradientMaps maps{z, shape, affine, gy, gattention};
  switch (gattention ? power : 0) {
    case 1:
      return gradient_sums<1>(maps, sum_g, sum_gd);
    case 2:
      return gradient_sums<2>(maps, sum_g, sum_gd);
    case 4:
      return gradient_sums<4>(maps, sum_g, sum_gd);
    default:
      return gradient_sums<0>(maps, sum_g, sum_gd);
  }
}

static void affine_relu_pool_gradient(const float* z, const MapShape& shape, const Affine& affine,
                                      int power, const float* gy, const float* gattention,
                                      const float* shift, const float* slope, float* gz,
                                      float* sum_gz) {
  const GradientMaps maps{z, shape, affine, gy, gattention};
  if (sum_gz) return affine_gradient_of_power<true>(maps, power, shift, slope, gz, sum_gz);
  affine_gradient_of_power<false>(maps, power, shift, slope, gz, nullptr);
}
