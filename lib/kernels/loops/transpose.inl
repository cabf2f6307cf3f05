// Between channels-first and channels-last, in squares of kLanes x kLanes held in registers.

// Exchanges, in every pair of rows kStep apart, the off-diagonal squares of kStep lanes.
template <int kStep>
RETORT_INLINE void exchange(Vec (&r)[kLanes]) {
  Mask low{};
  Mask high{};
#pragma GCC unroll 16
  for (int j = 0; j < kLanes; ++j) {
    low[j] = (j & kStep) ? int(kLanes) + j - kStep : j;
    high[j] = (j & kStep) ? int(kLanes) + j : j + kStep;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i & kStep) continue;
    const Vec a = r[i];
    const Vec b = r[i + kStep];
    r[i] = __builtin_shuffle(a, b, low);
    r[i + kStep] = __builtin_shuffle(a, b, high);
  }
}

RETORT_INLINE void transpose_square(const float* in, Index in_stride, float* out,
                                    Index out_stride) {
  Vec r[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) r[i] = load(in + i * in_stride);
  exchange<1>(r);
  exchange<2>(r);
#if RETORT_LANES >= 8
  exchange<4>(r);
#endif
#if RETORT_LANES >= 16
  exchange<8>(r);
#endif
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) store(out + i * out_stride, r[i]);
}

// out[j][i] = in[i][j]
static void transpose(const float* in, Index rows, Index columns, Index in_stride, float* out,
                      Index out_stride) {
  const Index full_rows = rows / kLanes * kLanes;
  const Index full_columns = columns / kLanes * kLanes;
  for (Index j = 0; j < full_columns; j += kLanes) {
    for (Index i = 0; i < full_rows; i += kLanes) {
      transpose_square(in + i * in_stride + j, in_stride, out + j * out_stride + i, out_stride);
    }
  }
  for (Index i = 0; i < rows; ++i) {
    const Index from = i < full_rows ? full_columns : 0;
    for (Index j = from; j < columns; ++j) out[j * out_stride + i] = in[i * in_stride + j];
  }
}

static void to_channels_last(const float* in, Index channels, Index pixels, Index padded,
                             float* out) {
  transpose(in, channels, pixels, pixels, out, padded);
  for (Index p = 0; channels < padded && p < pixels; ++p) {
    for (Index c = channels; c < padded; ++c) out[p * padded + c] = 0;
  }
}

static void to_channels_first(const float* in, Index padded, Index channels, Index pixels,
                              float* out) {
  transpose(in, pixels, channels, padded, out, pixels);
}
