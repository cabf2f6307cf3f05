// Instance norm + affine + ReLU + 2x2 average pooling of one image, a group of channels at a time.
// The statistics take two passes (mean, then squared deviations): one pass over sums of squares
// loses all digits when the mean is large against the deviation.

struct NormMaps {
  Index height, width, channels;
  const float* weight;
  const float* bias;
};

// Sums by rows first, then the rows: the error grows with height + width, not with the area.
template <int kVecs, class Term>
RETORT_INLINE void sum_pixels(const float* z, const NormMaps& maps, Vec (&total)[kVecs],
                              const Term& term) {
#pragma GCC unroll 8
  for (int v = 0; v < kVecs; ++v) total[v] = Vec{};
  for (Index i = 0; i < maps.height; ++i) {
    Vec row[kVecs] = {};
    for (Index j = 0; j < maps.width; ++j) {
      const float* pixel = z + (i * maps.width + j) * maps.channels;
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) row[v] += term(load(pixel + v * kLanes), v);
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) total[v] += row[v];
  }
}

template <int kVecs>
static void norm_group(const float* z, const NormMaps& maps, Index first, float eps, float* y,
                       float* mean_out, float* rstd_out) {
  const float pixels = float(maps.height * maps.width);
  Vec mean[kVecs];
  Vec scale[kVecs];
  z += first;
  sum_pixels<kVecs>(z, maps, mean, [](Vec value, int) __attribute__((always_inline)) { return value; });
  for (int v = 0; v < kVecs; ++v) mean[v] /= pixels;
  sum_pixels<kVecs>(z, maps, scale, [&](Vec value, int v) __attribute__((always_inline)) {
    const Vec d = value - mean[v];
    return d * d;
  });
  for (int v = 0; v < kVecs; ++v) {
    const Vec variance = scale[v] / pixels + eps;
    Vec rstd;
    for (Index lane = 0; lane < kLanes; ++lane) rstd[lane] = 1 / __builtin_sqrtf(variance[lane]);
    store(mean_out + first + v * kLanes, mean[v]);
    store(rstd_out + first + v * kLanes, rstd);
    scale[v] = rstd * load(maps.weight + first + v * kLanes);
  }
  const Index row = maps.width * maps.channels;
  for (Index i = 0; i < maps.height / 2; ++i) {
    for (Index j = 0; j < maps.width / 2; ++j) {
      const float* pixel = z + 2 * i * row + 2 * j * maps.channels;
      float* out = y + (i * (maps.width / 2) + j) * maps.channels + first;
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) {
        const Vec b = load(maps.bias + first + v * kLanes);
        const float* p = pixel + v * kLanes;
        const Vec upper = relu((load(p) - mean[v]) * scale[v] + b) +
                          relu((load(p + maps.channels) - mean[v]) * scale[v] + b);
        const Vec lower = relu((load(p + row) - mean[v]) * scale[v] + b) +
                          relu((load(p + row + maps.channels) - mean[v]) * scale[v] + b);
        store(out + v * kLanes, (upper + lower) * 0.25f);
      }
    }
  }
}

// The gradient after the ReLU at one pixel, and the pixel's deviation from the mean.
struct AtPixel {
  Vec gradient, deviation;
};

RETORT_INLINE AtPixel at_pixel(const float* p, Vec mean, Vec scale, Vec bias, Vec pooled) {
  const Vec d = load(p) - mean;
  const Vec active = d * scale + bias;
  return {active > Vec{} ? pooled : Vec{}, d};
}

// With g the gradient after the affine map, d = z - mean, P pixels:
//   dz = weight rstd (g - sum(g)/P - d rstd^2 sum(g d)/P)
// which is tangent.inl's gz with the scale, one for all that a channel's own statistics see, taken
// out of the sum.
template <int kVecs>
static void norm_gradient_group(const float* z, const NormMaps& maps, Index first,
                                const float* mean_in, const float* rstd_in, const float* gy,
                                float* gz, float* gweight, float* gbias) {
  const float per_pixel = 1 / float(maps.height * maps.width);
  const Index row = maps.width * maps.channels;
  const Index offset[4] = {0, maps.channels, row, row + maps.channels};
  Vec sum_g[kVecs];
  Vec sum_gd[kVecs];
  for (int v = 0; v < kVecs; ++v) sum_g[v] = sum_gd[v] = Vec{};
  for (Index i = 0; i < maps.height / 2; ++i) {
    Vec row_g[kVecs] = {};
    Vec row_gd[kVecs] = {};
    for (Index j = 0; j < maps.width / 2; ++j) {
      const float* pixel = z + 2 * i * row + 2 * j * maps.channels + first;
      const float* above = gy + (i * (maps.width / 2) + j) * maps.channels + first;
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) {
        const Index c = first + v * kLanes;
        const Vec scale = load(rstd_in + c) * load(maps.weight + c);
        const Vec pooled = load(above + v * kLanes) * 0.25f;
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
          const AtPixel at = at_pixel(pixel + offset[k] + v * kLanes, load(mean_in + c), scale,
                                      load(maps.bias + c), pooled);
          row_g[v] += at.gradient;
          row_gd[v] += at.gradient * at.deviation;
        }
      }
    }
    for (int v = 0; v < kVecs; ++v) sum_g[v] += row_g[v];
    for (int v = 0; v < kVecs; ++v) sum_gd[v] += row_gd[v];
  }
  Vec shift[kVecs];
  Vec slope[kVecs];
  for (int v = 0; v < kVecs; ++v) {
    const Index c = first + v * kLanes;
    const Vec rstd = load(rstd_in + c);
    store(gweight + c, load(gweight + c) + sum_gd[v] * rstd);
    store(gbias + c, load(gbias + c) + sum_g[v]);
    shift[v] = sum_g[v] * per_pixel;
    slope[v] = sum_gd[v] * rstd * rstd * per_pixel;
  }
  if (!gz) return;
  for (Index i = 0; i < maps.height; i += 2) {
    for (Index j = 0; j < maps.width; j += 2) {
      const bool whole = i + 1 < maps.height && j + 1 < maps.width;
      const Index corner = i * row + j * maps.channels + first;
      const float* above =
          gy + (i / 2 * (maps.width / 2) + j / 2) * maps.channels + first;
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) {
        const Index c = first + v * kLanes;
        const Vec scale = load(rstd_in + c) * load(maps.weight + c);
        const Vec pooled = whole ? load(above + v * kLanes) * 0.25f : Vec{};
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
          if (!whole && ((k % 2 == 1 && j + 1 == maps.width) ||
                         (k / 2 == 1 && i + 1 == maps.height))) {
            continue;
          }
          const Index here = corner + offset[k] + v * kLanes;
          const AtPixel at =
              at_pixel(z + here, load(mean_in + c), scale, load(maps.bias + c), pooled);
          store(gz + here, scale * (at.gradient - shift[v] - at.deviation * slope[v]));
        }
      }
    }
  }
}

static void norm_relu_pool(const float* z, const MapShape& shape, const float* weight,
                           const float* bias, float eps, float* y, float* mean, float* rstd) {
  const NormMaps maps{shape.height, shape.width, shape.channels, weight, bias};
  Index c = 0;
  for (; c + RETORT_GROUP * kLanes <= maps.channels; c += RETORT_GROUP * kLanes) {
    norm_group<RETORT_GROUP>(z, maps, c, eps, y, mean, rstd);
  }
  for (; c < maps.channels; c += kLanes) norm_group<1>(z, maps, c, eps, y, mean, rstd);
}

static void norm_relu_pool_gradient(const float* z, const MapShape& shape, const float* weight,
                                    const float* bias, const float* mean, const float* rstd,
                                    const float* gy, float* gz, float* gweight, float* gbias) {
  const NormMaps maps{shape.height, shape.width, shape.channels, weight, bias};
  constexpr Index kGroup = RETORT_GROUP / 2;
  Index c = 0;
  for (; c + kGroup * kLanes <= maps.channels; c += kGroup * kLanes) {
    norm_gradient_group<kGroup>(z, maps, c, mean, rstd, gy, gz, gweight, gbias);
  }
  for (; c < maps.channels; c += kLanes) {
    norm_gradient_group<1>(z, maps, c, mean, rstd, gy, gz, gweight, gbias);
  }
}
