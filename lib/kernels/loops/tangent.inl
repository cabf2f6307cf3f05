// Instance norm + affine + ReLU + 2x2 average pooling of one image with derivatives along a
// direction (a dot), and the same for its gradient: what a gradient's gradient is made of. With
//   d = z - mean      scale = weight rstd                         a = scale d + bias
//   mean. = M[z.]     rstd. = -rstd^3 M[d z.]   d. = z. - mean.   a. = scale d. + scale. d + bias.
//   y. = pool(a > 0 ? a. : 0)
// where M is the mean over pixels; the gradient g before the ReLU, and g., come from those of y.
//   gz = scale e      e = g - M[g] - rstd^2 M[g d] d              gz. = scale. e + scale e.
// Of statistics that are given, mean., rstd. and all that M makes are zero.

// What one register of channels needs at every pixel.
struct TangentChannel {
  Vec mean, tmean, scale, tscale, bias, tbias;
};

struct TangentPixel {
  Vec d, td, a;
};

RETORT_INLINE TangentChannel tangent_channel(const NormTangent& in, Index c, const float* tmean,
                                             const float* trstd) {
  const Vec weight = load(in.weight + c);
  const Vec rstd = load(in.rstd + c);
  return {load(in.mean + c),
          load(tmean + c),
          rstd * weight,
          load(in.tweight + c) * rstd + weight * load(trstd + c),
          load(in.bias + c),
          load(in.tbias + c)};
}

// The activation as norm_relu_pool computes it, so that no pixel changes sides.
RETORT_INLINE TangentPixel tangent_pixel(const NormTangent& in, Index pixel, Index c,
                                         const TangentChannel& k) {
  const Vec d = load(in.z + pixel * in.z_stride + c) - k.mean;
  return {d, load(in.tz + pixel * in.tz_stride + c) - k.tmean, d * k.scale + k.bias};
}

// mean. and rstd., by rows first.
template <int kVecs>
RETORT_INLINE void tangent_statistics(const NormTangent& in, Index first, float* tmean,
                                      float* trstd) {
  Vec mean[kVecs];
  Vec sum[kVecs] = {};
  Vec product[kVecs] = {};
  for (int v = 0; v < kVecs; ++v) mean[v] = load(in.mean + first + v * kLanes);
  for (Index i = 0; !in.fixed && i < in.height; ++i) {
    Vec row_sum[kVecs] = {};
    Vec row_product[kVecs] = {};
    for (Index pixel = i * in.width; pixel < (i + 1) * in.width; ++pixel) {
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) {
        const Index c = first + v * kLanes;
        const Vec tz = load(in.tz + pixel * in.tz_stride + c);
        row_sum[v] += tz;
        row_product[v] += tz * (load(in.z + pixel * in.z_stride + c) - mean[v]);
      }
    }
    for (int v = 0; v < kVecs; ++v) sum[v] += row_sum[v];
    for (int v = 0; v < kVecs; ++v) product[v] += row_product[v];
  }
  const float per_pixel = 1 / float(in.height * in.width);
  for (int v = 0; v < kVecs; ++v) {
    const Index c = first + v * kLanes;
    const Vec rstd = load(in.rstd + c);
    store(tmean + c, sum[v] * per_pixel);
    store(trstd + c, -(rstd * rstd * rstd) * (product[v] * per_pixel));
  }
}

template <int kVecs>
static void norm_tangent_group(const NormTangent& in, Index first, float* y, float* tmean,
                               float* trstd) {
  tangent_statistics<kVecs>(in, first, tmean, trstd);
  TangentChannel k[kVecs];
  for (int v = 0; v < kVecs; ++v) k[v] = tangent_channel(in, first + v * kLanes, tmean, trstd);
  const Index offset[4] = {0, 1, in.width, in.width + 1};
  for (Index i = 0; i < in.height / 2; ++i) {
    for (Index j = 0; j < in.width / 2; ++j) {
      const Index corner = 2 * i * in.width + 2 * j;
      float* out = y + (i * (in.width / 2) + j) * 2 * in.pooled_stride + first;
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) {
        Vec value[4];
        Vec tangent[4];
#pragma GCC unroll 4
        for (int p = 0; p < 4; ++p) {
          const TangentPixel at =
              tangent_pixel(in, corner + offset[p], first + v * kLanes, k[v]);
          const Vec ta = at.td * k[v].scale + (at.d * k[v].tscale + k[v].tbias);
          value[p] = relu(at.a);
          tangent[p] = at.a > Vec{} ? ta : Vec{};
        }
        store(out + v * kLanes, ((value[0] + value[1]) + (value[2] + value[3])) * 0.25f);
        store(out + in.pooled_stride + v * kLanes,
              ((tangent[0] + tangent[1]) + (tangent[2] + tangent[3])) * 0.25f);
      }
    }
  }
}

static void norm_relu_pool_tangent(const NormTangent& in, float* y, float* tmean, float* trstd) {
  constexpr Index kGroup = RETORT_GROUP / 2;
  Index c = 0;
  for (; c + kGroup * kLanes <= in.channels; c += kGroup * kLanes) {
    norm_tangent_group<kGroup>(in, c, y, tmean, trstd);
  }
  for (; c < in.channels; c += kLanes) norm_tangent_group<1>(in, c, y, tmean, trstd);
}

// Sums over pixels of g, gd and their derivatives.
struct TangentSums {
  Vec g, gd, tg, tgd;
};

RETORT_INLINE void add_pixel(TangentSums& sum, const TangentPixel& at, Vec above, Vec tabove) {
  const Vec g = at.a > Vec{} ? above : Vec{};
  const Vec tg = at.a > Vec{} ? tabove : Vec{};
  sum.g += g;
  sum.gd += g * at.d;
  sum.tg += tg;
  sum.tgd += tg * at.d + g * at.td;
}

RETORT_INLINE void add_sums(TangentSums& sum, const TangentSums& more) {
  sum.g += more.g;
  sum.gd += more.gd;
  sum.tg += more.tg;
  sum.tgd += more.tgd;
}

template <int kVecs>
RETORT_INLINE void tangent_sums(const NormTangent& in, Index first, const TangentChannel* k,
                                const float* gy, const float* tgy, TangentSums* sum) {
  const Index offset[4] = {0, 1, in.width, in.width + 1};
  for (Index i = 0; i < in.height / 2; ++i) {
    TangentSums row[kVecs] = {};
    for (Index j = 0; j < in.width / 2; ++j) {
      const Index corner = 2 * i * in.width + 2 * j;
      const Index pooled = (i * (in.width / 2) + j) * in.pooled_stride + first;
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) {
        const Vec above = load(gy + pooled + v * kLanes) * 0.25f;
        const Vec tabove = load(tgy + pooled + v * kLanes) * 0.25f;
#pragma GCC unroll 4
        for (int p = 0; p < 4; ++p) {
          add_pixel(row[v], tangent_pixel(in, corner + offset[p], first + v * kLanes, k[v]), above,
                    tabove);
        }
      }
    }
    for (int v = 0; v < kVecs; ++v) add_sums(sum[v], row[v]);
  }
}

// e = g - shift - slope d, and the derivatives of both.
struct TangentMeans {
  Vec shift, slope, tshift, tslope;
};

RETORT_INLINE TangentMeans tangent_means(const NormTangent& in, Index c, const float* trstd,
                                         const TangentSums& sum) {
  if (in.fixed) return {Vec{}, Vec{}, Vec{}, Vec{}};
  const float per_pixel = 1 / float(in.height * in.width);
  const Vec rstd = load(in.rstd + c);
  const Vec square = rstd * rstd;
  const Vec gd = sum.gd * per_pixel;
  return {sum.g * per_pixel, square * gd, sum.tg * per_pixel,
          square * (sum.tgd * per_pixel) + 2.0f * rstd * load(trstd + c) * gd};
}

RETORT_INLINE void add_to(float* p, Vec v) { store(p, load(p) + v); }

// Derivatives of the gradients of the norm's weight, sum of g d rstd, and bias; and of the bias
// itself.
RETORT_INLINE void add_norm_sums(const NormTangent& in, Index c, const float* trstd,
                                 const TangentSums& sum, float* sums) {
  add_to(sums + c, load(in.rstd + c) * sum.tgd + load(trstd + c) * sum.gd);
  add_to(sums + in.pooled_stride + c, sum.tg);
  add_to(sums + 2 * in.pooled_stride + c, sum.g);
}

template <int kVecs>
static void norm_gradient_tangent_group(const NormTangent& in, Index first, const float* tmean,
                                        const float* trstd, const float* gy, const float* tgy,
                                        float* gz, float* sums) {
  TangentChannel k[kVecs];
  TangentSums sum[kVecs] = {};
  TangentMeans mean[kVecs];
  for (int v = 0; v < kVecs; ++v) k[v] = tangent_channel(in, first + v * kLanes, tmean, trstd);
  if (sums || !in.fixed) tangent_sums<kVecs>(in, first, k, gy, tgy, sum);
  for (int v = 0; v < kVecs; ++v) {
    mean[v] = tangent_means(in, first + v * kLanes, trstd, sum[v]);
    if (sums) add_norm_sums(in, first + v * kLanes, trstd, sum[v], sums);
  }
  const Index offset[4] = {0, 1, in.width, in.width + 1};
  for (Index i = 0; i < in.height; i += 2) {
    for (Index j = 0; j < in.width; j += 2) {
      const bool whole = i + 1 < in.height && j + 1 < in.width;
      const Index pooled = (i / 2 * (in.width / 2) + j / 2) * in.pooled_stride + first;
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) {
        const Vec above = whole ? load(gy + pooled + v * kLanes) * 0.25f : Vec{};
        const Vec tabove = whole ? load(tgy + pooled + v * kLanes) * 0.25f : Vec{};
#pragma GCC unroll 4
        for (int p = 0; p < 4; ++p) {
          if (!whole &&
              ((p % 2 == 1 && j + 1 == in.width) || (p / 2 == 1 && i + 1 == in.height))) {
            continue;
          }
          const Index pixel = i * in.width + j + offset[p];
          const TangentPixel at = tangent_pixel(in, pixel, first + v * kLanes, k[v]);
          const Vec g = at.a > Vec{} ? above : Vec{};
          const Vec tg = at.a > Vec{} ? tabove : Vec{};
          const Vec e = g - mean[v].shift - at.d * mean[v].slope;
          const Vec te = tg - mean[v].tshift - at.d * mean[v].tslope - at.td * mean[v].slope;
          float* out = gz + pixel * 2 * in.channels + first + v * kLanes;
          store(out, k[v].scale * e);
          store(out + in.channels, k[v].tscale * e + k[v].scale * te);
        }
      }
    }
  }
}

static void norm_relu_pool_gradient_tangent(const NormTangent& in, const float* tmean,
                                            const float* trstd, const float* gy, const float* tgy,
                                            float* gz, float* sums) {
  constexpr Index kGroup = RETORT_GROUP / 2;
  Index c = 0;
  for (; c + kGroup * kLanes <= in.channels; c += kGroup * kLanes) {
    norm_gradient_tangent_group<kGroup>(in, c, tmean, trstd, gy, tgy, gz, sums);
  }
  for (; c < in.channels; c += kLanes) {
    norm_gradient_tangent_group<1>(in, c, tmean, trstd, gy, tgy, gz, sums);
  }
}
