// Norm + affine + ReLU + 2x2 average pooling of one image with derivatives along a direction (a
// dot), and the same for its gradient: what a gradient's gradient is made of. With
//   d = z - mean      scale = weight rstd                         a = scale d + bias
//   mean. = M[z.]     rstd. = -rstd^3 M[d z.]   d. = z. - mean.   a. = scale d. + scale. d + bias.
//   y. = pool(a > 0 ? a. : 0)
// where M is the mean over what shares the statistics: a channel's pixels, or a group's. The
// gradient g before the ReLU, and g., come from those of y; with h = weight g
//   shift = rstd M[h]              shift. = rstd. M[h] + rstd M[h.]
//   slope = rstd^3 M[h d]          slope. = 3 rstd^2 rstd. M[h d] + rstd^3 M[(h d).]
//   gz = scale g - shift - slope d
//   gz. = scale. g + scale g. - shift. - slope. d - slope d.
// Of statistics that are fixed, mean., rstd. and all that M makes are zero.

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

// Of a channel's own pixels mean. and rstd., by rows first.
template <int kVecs>
RETORT_INLINE void tangent_statistics(const NormTangent& in, Index first, float* tmean,
                                      float* trstd) {
  Vec mean[kVecs];
  Vec sum[kVecs] = {};
  Vec product[kVecs] = {};
  for (int v = 0; v < kVecs; ++v) mean[v] = load(in.mean + first + v * kLanes);
  for (Index i = 0; !in.fixed_statistics && i < in.height; ++i) {
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
static void norm_tangent_group(const NormTangent& in, Index first, const float* tmean,
                               const float* trstd, float* y) {
  TangentChannel k[kVecs];
  for (int v = 0; v < kVecs; ++v) k[v] = tangent_channel(in, first + v * kLanes, tmean, trstd);
  const Index offset[4] = {0, 1, in.width, in.width + 1};
  for (Index i = 0; i < in.height / 2; ++i) {
    for (Index j = 0; j < in.width / 2; ++j) {
      const Index corner = 2 * i * in.width + 2 * j;
      float* out = y + (i * (in.width / 2) + j) * 2 * in.channel_stride + first;
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
        store(out + in.channel_stride + v * kLanes,
              ((tangent[0] + tangent[1]) + (tangent[2] + tangent[3])) * 0.25f);
      }
    }
  }
}

static void norm_tangent_statistics(const NormTangent& in, float* tmean, float* trstd) {
  constexpr Index kGroup = RETORT_GROUP / 2;
  Index c = 0;
  for (; c + kGroup * kLanes <= in.channels; c += kGroup * kLanes) {
    tangent_statistics<kGroup>(in, c, tmean, trstd);
  }
  for (; c < in.channels; c += kLanes) tangent_statistics<1>(in, c, tmean, trstd);
}

static void norm_relu_pool_tangent(const NormTangent& in, const float* tmean, const float* trstd,
                                   float* y) {
  constexpr Index kGroup = RETORT_GROUP / 2;
  Index c = 0;
  for (; c + kGroup * kLanes <= in.channels; c += kGroup * kLanes) {
    norm_tangent_group<kGroup>(in, c, tmean, trstd, y);
  }
  for (; c < in.channels; c += kLanes) norm_tangent_group<1>(in, c, tmean, trstd, y);
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
      const Index pooled = (i * (in.width / 2) + j) * in.channel_stride + first;
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

// M[h], M[h d] and their derivatives.
struct TangentMeans {
  Vec h, hd, th, thd;
};

// Over a channel's own pixels.
RETORT_INLINE TangentMeans channel_means(const NormTangent& in, Index c, const TangentSums& sum) {
  const float per_pixel = 1 / float(in.height * in.width);
  const Vec weight = load(in.weight + c) * per_pixel;
  const Vec tweight = load(in.tweight + c) * per_pixel;
  return {weight * sum.g, weight * sum.gd, tweight * sum.g + weight * sum.tg,
          tweight * sum.gd + weight * sum.tgd};
}

// What the statistics take off every pixel, and its derivative.
struct TangentLine {
  Vec shift, slope, tshift, tslope;
};

RETORT_INLINE TangentLine tangent_line(const NormTangent& in, Index c, const float* trstd_in,
                                       const TangentMeans& mean) {
  const Vec rstd = load(in.rstd + c);
  const Vec trstd = load(trstd_in + c);
  const Vec square = rstd * rstd;
  return {rstd * mean.h, square * rstd * mean.hd, trstd * mean.h + rstd * mean.th,
          square * (3.0f * trstd * mean.hd + rstd * mean.thd)};
}

RETORT_INLINE void add_to(float* p, Vec v) { store(p, load(p) + v); }

// The gradient of the norm's weight is the sum of g d rstd, that of its bias the sum of g.
RETORT_INLINE void add_norm_sums(const NormTangent& in, Index c, const float* trstd,
                                 const TangentSums& sum, const NormTangentSums& sums) {
  add_to(sums.tgweight + c, load(in.rstd + c) * sum.tgd + load(trstd + c) * sum.gd);
  add_to(sums.tgbias + c, sum.tg);
  add_to(sums.gbias + c, sum.g);
}

// The gradient and its derivative at every pixel; with kSum sums over pixels of the derivative are
// written.
template <int kVecs, bool kSum>
RETORT_INLINE void tangent_gradients(const NormTangent& in, Index first, const TangentChannel* k,
                                     const TangentLine* line, const float* gy, const float* tgy,
                                     float* gz, Vec* sum) {
  const Index offset[4] = {0, 1, in.width, in.width + 1};
  for (Index i = 0; i < in.height; i += 2) {
    Vec row[kVecs] = {};
    for (Index j = 0; j < in.width; j += 2) {
      const bool whole = i + 1 < in.height && j + 1 < in.width;
      const Index pooled = (i / 2 * (in.width / 2) + j / 2) * in.channel_stride + first;
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
          const Vec result = k[v].scale * g - line[v].shift - at.d * line[v].slope;
          const Vec tresult = (k[v].tscale * g - line[v].tshift) + k[v].scale * tg -
                              at.d * line[v].tslope - at.td * line[v].slope;
          float* out = gz + pixel * 2 * in.channels + first + v * kLanes;
          store(out, result);
          store(out + in.channels, tresult);
          if constexpr (kSum) row[v] += tresult;
        }
      }
    }
    if constexpr (kSum) {
      for (int v = 0; v < kVecs; ++v) sum[v] += row[v];
    }
  }
}

template <int kVecs>
static void norm_gradient_tangent_group(const NormTangent& in, Index first, const float* tmean,
                                        const float* trstd, const float* gy, const float* tgy,
                                        float* gz, const NormTangentSums* sums) {
  TangentChannel k[kVecs];
  TangentSums sum[kVecs] = {};
  TangentLine line[kVecs] = {};
  for (int v = 0; v < kVecs; ++v) k[v] = tangent_channel(in, first + v * kLanes, tmean, trstd);
  if (sums || !in.fixed_statistics) tangent_sums<kVecs>(in, first, k, gy, tgy, sum);
  for (int v = 0; v < kVecs; ++v) {
    const Index c = first + v * kLanes;
    if (!in.fixed_statistics) line[v] = tangent_line(in, c, trstd, channel_means(in, c, sum[v]));
    if (sums) add_norm_sums(in, c, trstd, sum[v], *sums);
  }
  tangent_gradients<kVecs, false>(in, first, k, line, gy, tgy, gz, nullptr);
}

static void norm_relu_pool_gradient_tangent(const NormTangent& in, const float* tmean,
                                            const float* trstd, const float* gy, const float* tgy,
                                            float* gz, const NormTangentSums* sums) {
  constexpr Index kGroup = RETORT_GROUP / 2;
  Index c = 0;
  for (; c + kGroup * kLanes <= in.channels; c += kGroup * kLanes) {
    norm_gradient_tangent_group<kGroup>(in, c, tmean, trstd, gy, tgy, gz, sums);
  }
  for (; c < in.channels; c += kLanes) {
    norm_gradient_tangent_group<1>(in, c, tmean, trstd, gy, tgy, gz, sums);
  }
}

static void norm_gradient_tangent_means(const NormTangent& in, const float* tmean,
                                        const float* trstd, const float* gy, const float* tgy,
                                        float* means, const NormTangentSums* sums) {
  for (Index c = 0; c < in.channels; c += kLanes) {
    const TangentChannel k = tangent_channel(in, c, tmean, trstd);
    TangentSums sum = {};
    tangent_sums<1>(in, c, &k, gy, tgy, &sum);
    if (sums) add_norm_sums(in, c, trstd, sum, *sums);
    const TangentMeans mean = channel_means(in, c, sum);
    const Index stride = in.channel_stride;
    store(means + c, mean.h);
    store(means + stride + c, mean.hd);
    store(means + 2 * stride + c, mean.th);
    store(means + 3 * stride + c, mean.thd);
  }
}

static void norm_relu_pool_group_gradient_tangent(const NormTangent& in, const float* tmean,
                                                  const float* trstd, const float* gy,
                                                  const float* tgy, const float* means, float* gz,
                                                  float* sum_tgz) {
  for (Index c = 0; c < in.channels; c += kLanes) {
    const TangentChannel k = tangent_channel(in, c, tmean, trstd);
    const Index stride = in.channel_stride;
    const TangentMeans mean = {load(means + c), load(means + stride + c),
                               load(means + 2 * stride + c), load(means + 3 * stride + c)};
    const TangentLine line = tangent_line(in, c, trstd, mean);
    Vec sum = {};
    tangent_gradients<1, true>(in, c, &k, &line, gy, tgy, gz, &sum);
    if (sum_tgz) add_to(sum_tgz + c, sum);
  }
}
