// One channel of maps as LibTorch lays them out, [images][channels][pixels].

// Sums in single precision stay short: of so many vectors, then in double.
constexpr Index kShortSum = 64;

RETORT_INLINE double total(Vec v) {
  double sum = 0;
  for (Index i = 0; i < kLanes; ++i) sum += double(v[i]);
  return sum;
}

// Adds up term(offset, vector or float of x) over all pixels of a channel.
template <class OfVec, class OfFloat>
RETORT_INLINE double sum_planes(const ChannelPlanes& planes, OfVec of_vec, OfFloat of_float) {
  double sum = 0;
  for (Index n = 0; n < planes.count; ++n) {
    const Index first = n * planes.stride;
    const Index whole = planes.pixels / kLanes * kLanes;
    for (Index begin = 0; begin < whole; begin += kShortSum * kLanes) {
      const Index end = smaller(whole, begin + kShortSum * kLanes);
      Vec part{};
      for (Index i = begin; i < end; i += kLanes) part += of_vec(first + i);
      sum += total(part);
    }
    for (Index i = whole; i < planes.pixels; ++i) sum += double(of_float(first + i));
  }
  return sum;
}

static double channel_sum(const float* x, const ChannelPlanes& planes) {
  return sum_planes(
      planes, [=](Index i) __attribute__((always_inline)) { return load(x + i); },
      [=](Index i) __attribute__((always_inline)) { return x[i]; });
}

static double channel_affine(const float* x, const ChannelPlanes& planes, float center,
                             float scale, float shift, float* y) {
  return sum_planes(
      planes,
      [=](Index i) __attribute__((always_inline)) {
        const Vec value = load(x + i);
        const Vec d = value - center;
        store(y + i, value * scale + shift);
        return d * d;
      },
      [=](Index i) __attribute__((always_inline)) {
        const float d = x[i] - center;
        y[i] = x[i] * scale + shift;
        return d * d;
      });
}

template <bool kWithGradient>
static void combine(const float* x, const float* gy, const ChannelPlanes& planes, float scale,
                    float slope, float shift, float* gx) {
  for (Index n = 0; n < planes.count; ++n) {
    const Index first = n * planes.stride;
    const Index whole = planes.pixels / kLanes * kLanes;
    for (Index i = first; i < first + whole; i += kLanes) {
      Vec result = load(x + i) * slope + shift;
      if (kWithGradient) result += load(gy + i) * scale;
      store(gx + i, result);
    }
    for (Index i = first + whole; i < first + planes.pixels; ++i) {
      gx[i] = x[i] * slope + shift + (kWithGradient ? gy[i] * scale : 0.0F);
    }
  }
}

static void channel_affine_gradient(const float* x, const float* gy, const ChannelPlanes& planes,
                                    float scale, float slope, float shift, float* gx) {
  if (gy != nullptr) {
    combine<true>(x, gy, planes, scale, slope, shift, gx);
  } else {
    combine<false>(x, gy, planes, scale, slope, shift, gx);
  }
}
