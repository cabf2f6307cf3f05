// Instance norm + affine + ReLU + 2x2 average pooling of one image with derivatives along a
// direction (a dot), and the same for its gradient: what a gradient's gradient is made of. With
//   d = z - mean      n = d rstd               a = weight n + bias
//   mean. = M[z.]     rstd. = -rstd^3 M[d z.]   n. = (z. - mean.) rstd + d rstd.
//   a. = weight. n + weight n. + bias.          y. = pool(a > 0 ? a. : 0)
// where M is the mean over pixels; the gradient g before the ReLU, and g., come from those of y.
//   h = weight g      gz = rstd (h - M[h] - n M[hn])      and gz. by the product rule
// Where they are given, mean., rstd. and all that M makes are the caller's: zero of statistics that
// do not answer to the map, and where a group's channels share theirs, the means of the channels'.

// What one register of channels needs at every pixel.
struct TangentChannel {
  Vec mean, rstd, tmean, trstd, weight, bias, tweight, tbias;
};

struct TangentPixel {
  Vec n, tn;
  Mask active;
};

RETORT_INLINE TangentChannel tangent_channel(const NormTangent& in, Index c, const float* tmean,
                                             const float* trstd) {
  return {load(in.mean + c),   load(in.rstd + c), load(tmean + c),     load(trstd + c),
          load(in.weight + c), load(in.bias + c), load(in.tweight + c), load(in.tbias + c)};
}

RETORT_INLINE TangentPixel tangent_pixel(const NormTangent& in, Index pixel, Index c,
                                         const TangentChannel& k) {
  const Vec d = load(in.z + pixel * in.z_stride + c) - k.mean;
  const Vec n = d * k.rstd;
  const Vec tn = (load(in.tz + pixel * in.tz_stride + c) - k.tmean) * k.rstd + d * k.trstd;
  // The activation as norm_relu_pool computes it, so that no pixel changes sides.
  const Vec a = d * (k.rstd * k.weight) + k.bias;
  return {n, tn, a > Vec{}};
}

// mean. and rstd., by rows first.
static void tangent_statistics(const NormTangent& in, Index c, float* tmean, float* trstd) {
  const float per_pixel = 1 / float(in.height * in.width);
  const Vec mean = load(in.mean + c);
  const Vec rstd = load(in.rstd + c);
  Vec sum = {};
  Vec product = {};
  for (Index i = 0; i < in.height; ++i) {
    Vec row_sum = {};
    Vec row_product = {};
    for (Index j = 0; j < in.width; ++j) {
      const Index pixel = i * in.width + j;
      const Vec tz = load(in.tz + pixel * in.tz_stride + c);
      row_sum += tz;
      row_product += tz * (load(in.z + pixel * in.z_stride + c) - mean);
    }
    sum += row_sum;
    product += row_product;
  }
  store(tmean + c, sum * per_pixel);
  store(trstd + c, -(rstd * rstd * rstd) * (product * per_pixel));
}

static void norm_relu_pool_tangent(const NormTangent& in, float* y, float* tmean, float* trstd) {
  const Index offset[4] = {0, 1, in.width, in.width + 1};
  for (Index c = 0; c < in.channels; c += kLanes) {
    if (!in.given) tangent_statistics(in, c, tmean, trstd);
    const TangentChannel k = tangent_channel(in, c, tmean, trstd);
    for (Index i = 0; i < in.height / 2; ++i) {
      for (Index j = 0; j < in.width / 2; ++j) {
        const Index corner = 2 * i * in.width + 2 * j;
        Vec value = {};
        Vec tangent = {};
#pragma GCC unroll 4
        for (int p = 0; p < 4; ++p) {
          const TangentPixel at = tangent_pixel(in, corner + offset[p], c, k);
          value += at.active ? k.weight * at.n + k.bias : Vec{};
          tangent += at.active ? k.tweight * at.n + k.weight * at.tn + k.tbias : Vec{};
        }
        float* out = y + (i * (in.width / 2) + j) * 2 * in.channels + c;
        store(out, value * 0.25f);
        store(out + in.channels, tangent * 0.25f);
      }
    }
  }
}

// M[h], M[hn] and their derivatives.
struct TangentMeans {
  Vec m, mn, tm, tmn;
};

RETORT_INLINE TangentMeans tangent_means(const NormTangent& in, Index c, const TangentChannel& k,
                                         const float* gy, const float* tgy) {
  const float per_pixel = 1 / float(in.height * in.width);
  const Index offset[4] = {0, 1, in.width, in.width + 1};
  Vec sum_g = {}, sum_gn = {}, sum_tg = {}, sum_tgn = {};  // the last is of g. n + g n.
  for (Index i = 0; i < in.height / 2; ++i) {
    Vec row_g = {}, row_gn = {}, row_tg = {}, row_tgn = {};
    for (Index j = 0; j < in.width / 2; ++j) {
      const Index pooled = (i * (in.width / 2) + j) * in.channels + c;
      const Vec above = load(gy + pooled) * 0.25f;
      const Vec tabove = load(tgy + pooled) * 0.25f;
#pragma GCC unroll 4
      for (int p = 0; p < 4; ++p) {
        const TangentPixel at = tangent_pixel(in, 2 * i * in.width + 2 * j + offset[p], c, k);
        const Vec g = at.active ? above : Vec{};
        const Vec tg = at.active ? tabove : Vec{};
        row_g += g;
        row_gn += g * at.n;
        row_tg += tg;
        row_tgn += tg * at.n + g * at.tn;
      }
    }
    sum_g += row_g;
    sum_gn += row_gn;
    sum_tg += row_tg;
    sum_tgn += row_tgn;
  }
  return {k.weight * sum_g * per_pixel, k.weight * sum_gn * per_pixel,
          (k.tweight * sum_g + k.weight * sum_tg) * per_pixel,
          (k.tweight * sum_gn + k.weight * sum_tgn) * per_pixel};
}

RETORT_INLINE TangentMeans given_means(const float* means, Index channels) {
  return {load(means), load(means + channels), load(means + 2 * channels),
          load(means + 3 * channels)};
}

static void norm_relu_pool_gradient_tangent(const NormTangent& in, const float* tmean,
                                            const float* trstd, const float* gy, const float* tgy,
                                            const float* means, float* gz) {
  for (Index c = 0; c < in.channels; c += kLanes) {
    const TangentChannel k = tangent_channel(in, c, tmean, trstd);
    const TangentMeans mean =
        in.given ? given_means(means + c, in.channels) : tangent_means(in, c, k, gy, tgy);
    for (Index i = 0; i < in.height; ++i) {
      for (Index j = 0; j < in.width; ++j) {
        const bool whole = i / 2 < in.height / 2 && j / 2 < in.width / 2;
        const Index pooled = (i / 2 * (in.width / 2) + j / 2) * in.channels + c;
        const Vec above = whole ? load(gy + pooled) * 0.25f : Vec{};
        const Vec tabove = whole ? load(tgy + pooled) * 0.25f : Vec{};
        const Index pixel = i * in.width + j;
        const TangentPixel at = tangent_pixel(in, pixel, c, k);
        const Vec h = at.active ? k.weight * above : Vec{};
        const Vec th = at.active ? k.tweight * above + k.weight * tabove : Vec{};
        const Vec centred = h - mean.m - at.n * mean.mn;
        float* out = gz + pixel * 2 * in.channels + c;
        store(out, k.rstd * centred);
        store(out + in.channels,
              k.trstd * centred +
                  k.rstd * (th - mean.tm - at.tn * mean.mn - at.n * mean.tmn));
      }
    }
  }
}

static void norm_tangent_statistics(const NormTangent& in, float* tmean, float* trstd) {
  for (Index c = 0; c < in.channels; c += kLanes) tangent_statistics(in, c, tmean, trstd);
}

static void norm_gradient_tangent_means(const NormTangent& in, const float* tmean,
                                        const float* trstd, const float* gy, const float* tgy,
                                        float* means) {
  for (Index c = 0; c < in.channels; c += kLanes) {
    const TangentChannel k = tangent_channel(in, c, tmean, trstd);
    const TangentMeans mean = tangent_means(in, c, k, gy, tgy);
    store(means + c, mean.m);
    store(means + in.channels + c, mean.mn);
    store(means + 2 * in.channels + c, mean.tm);
    store(means + 3 * in.channels + c, mean.tmn);
  }
}
