// Matrix products whose right side is at most a few dozen columns wide at a time: a block of
// kRows x kColumns registers is summed over the whole depth before it is written.

constexpr int kRows = RETORT_ROWS;
constexpr Index kPanel = 2 * kLanes;  // channels of one packed panel

// Row i of the left side at depth d is a[i * stride + d], or a[d * stride + i] if transposed.
template <int kTileRows, int kColumns, bool kTransposed>
RETORT_INLINE void product_tile(Index depth, const float* a, Index stride, const float* b,
                                Index ldb, const float* init, Index init_stride, float* c,
                                Index ldc) {
  Vec sum[kTileRows][kColumns];
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kColumns; ++j) {
      sum[i][j] = init ? load(init + i * init_stride + j * kLanes) : Vec{};
    }
  }
  for (Index d = 0; d < depth; ++d) {
    Vec right[kColumns];
#pragma GCC unroll 2
    for (int j = 0; j < kColumns; ++j) right[j] = load(b + d * ldb + j * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kTileRows; ++i) {
      const Vec left = splat(kTransposed ? a[d * stride + i] : a[i * stride + d]);
#pragma GCC unroll 2
      for (int j = 0; j < kColumns; ++j) sum[i][j] += left * right[j];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kColumns; ++j) store(c + i * ldc + j * kLanes, sum[i][j]);
  }
}

// The same for 1 .. kMost rows, known at run time.
template <int kMost, int kColumns, bool kTransposed>
static void product_rows(Index rows, Index depth, const float* a, Index stride, const float* b,
                         Index ldb, const float* init, Index init_stride, float* c, Index ldc) {
  if constexpr (kMost > 1) {
    if (rows < kMost) {
      product_rows<kMost - 1, kColumns, kTransposed>(rows, depth, a, stride, b, ldb, init,
                                                     init_stride, c, ldc);
      return;
    }
  }
  product_tile<kMost, kColumns, kTransposed>(depth, a, stride, b, ldb, init, init_stride, c, ldc);
}

// All rows of one panel of `width` (kPanel or kLanes) columns.
template <bool kTransposed>
static void product_panel(Index rows, Index width, Index depth, const float* a, Index stride,
                          const float* b, Index ldb, const float* init, Index init_stride, float* c,
                          Index ldc) {
  for (Index i = 0; i < rows; i += kRows) {
    const Index left = smaller(kRows, rows - i);
    const float* ai = a + (kTransposed ? i : i * stride);
    const float* start = init ? init + i * init_stride : nullptr;
    if (width == kPanel) {
      product_rows<kRows, 2, kTransposed>(left, depth, ai, stride, b, ldb, start, init_stride,
                                          c + i * ldc, ldc);
    } else {
      product_rows<kRows, 1, kTransposed>(left, depth, ai, stride, b, ldb, start, init_stride,
                                          c + i * ldc, ldc);
    }
  }
}

template <bool kTransposed>
static void product(Index m, Index n, Index k, const float* a, Index lda, const float* b, Index ldb,
                    const float* init, Index init_stride, float* c, Index ldc) {
  for (Index j = 0; j < n; j += kPanel) {
    product_panel<kTransposed>(m, smaller(kPanel, n - j), k, a, lda, b + j, ldb,
                               init ? init + j : nullptr, init_stride, c + j, ldc);
  }
}
