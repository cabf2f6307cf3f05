// 3x3 convolution by Winograd F(4x4,3x3) (Lavin and Gray 2015): 6x6 input tiles that overlap by
// two, 36 products instead of 144 per 4x4 outputs.
//   y = A^T [ (G g G^T) . (B^T d B) ] A          dg = G^T [ (A dy A^T) . (B^T d B) ] G
// The points are 0, +-a, +-b and infinity with a = 5/8 and b = 3/2, exact in binary: the largest
// error is a quarter of what the customary 1 and 2 give.

constexpr Index kPositions = kWinogradPositions;
constexpr Index kTileBlock = kWinogradTiles;  // their transforms stay in the second cache

// Successive positions would otherwise start at multiples of 4096 bytes and share cache sets.
RETORT_INLINE Index position_stride(Index channels, Index tiles = kTileBlock) {
  return tiles * channels + 16;
}
RETORT_INLINE Index panel_size(Index tiles = kTileBlock) {
  return kPositions * position_stride(kPanel, tiles);
}

constexpr float kA = 0.625f;
constexpr float kB = 1.5f;
constexpr float kA2 = kA * kA;
constexpr float kB2 = kB * kB;
constexpr float kAtZero = 1 / (kA2 * kB2);                  // 1 / product of differences of points
constexpr float kAtA = 1 / (2 * kA2 * (kA2 - kB2));
constexpr float kAtB = 1 / (2 * kB2 * (kB2 - kA2));

// B^T d
RETORT_INLINE void input_transform(const Vec (&d)[6], Vec (&t)[6]) {
  const Vec even_a = d[4] - kB2 * d[2];
  const Vec odd_a = d[3] - kB2 * d[1];
  const Vec even_b = d[4] - kA2 * d[2];
  const Vec odd_b = d[3] - kA2 * d[1];
  t[0] = kA2 * kB2 * d[0] + (d[4] - (kA2 + kB2) * d[2]);
  t[1] = even_a + kA * odd_a;
  t[2] = even_a - kA * odd_a;
  t[3] = even_b + kB * odd_b;
  t[4] = even_b - kB * odd_b;
  t[5] = kA2 * kB2 * d[1] + (d[5] - (kA2 + kB2) * d[3]);
}

// A^T m
RETORT_INLINE void output_transform(const Vec (&m)[6], Vec (&y)[4]) {
  const Vec even_a = m[1] + m[2];
  const Vec odd_a = m[1] - m[2];
  const Vec even_b = m[3] + m[4];
  const Vec odd_b = m[3] - m[4];
  y[0] = m[0] + (even_a + even_b);
  y[1] = kA * odd_a + kB * odd_b;
  y[2] = kA2 * even_a + kB2 * even_b;
  y[3] = m[5] + (kA2 * kA * odd_a + kB2 * kB * odd_b);
}

// A dy
RETORT_INLINE void gradient_transform(const Vec (&g)[4], Vec (&t)[6]) {
  const Vec even_a = g[0] + kA2 * g[2];
  const Vec odd_a = g[1] + kA2 * g[3];
  const Vec even_b = g[0] + kB2 * g[2];
  const Vec odd_b = g[1] + kB2 * g[3];
  t[0] = g[0];
  t[1] = even_a + kA * odd_a;
  t[2] = even_a - kA * odd_a;
  t[3] = even_b + kB * odd_b;
  t[4] = even_b - kB * odd_b;
  t[5] = g[3];
}

// G g
RETORT_INLINE void weight_transform(const Vec (&g)[3], Vec (&t)[6]) {
  const Vec even_a = (g[0] + kA2 * g[2]) * kAtA;
  const Vec even_b = (g[0] + kB2 * g[2]) * kAtB;
  t[0] = g[0] * kAtZero;
  t[1] = even_a + kA * kAtA * g[1];
  t[2] = even_a - kA * kAtA * g[1];
  t[3] = even_b + kB * kAtB * g[1];
  t[4] = even_b - kB * kAtB * g[1];
  t[5] = g[2];
}

// G^T u
RETORT_INLINE void weight_gradient_transform(const Vec (&u)[6], Vec (&g)[3]) {
  const Vec even_a = (u[1] + u[2]) * kAtA;
  const Vec even_b = (u[3] + u[4]) * kAtB;
  g[0] = u[0] * kAtZero + (even_a + even_b);
  g[1] = kA * kAtA * (u[1] - u[2]) + kB * kAtB * (u[3] - u[4]);
  g[2] = u[5] + (kA2 * even_a + kB2 * even_b);
}

// Where the tiles of a stack of maps lie; tiles are numbered image by image, row by row.
struct Tiling {
  Index height, width, channels, stride, rows, columns, count;

  Tiling(const MapShape& shape, Index map_channels, Index pixel_stride)
      : height(shape.height),
        width(shape.width),
        channels(map_channels),
        stride(pixel_stride),
        rows((shape.height + 3) / 4),
        columns((shape.width + 3) / 4),
        count(shape.count * rows * columns) {}
  Tiling(const MapShape& shape, Index map_channels) : Tiling(shape, map_channels, map_channels) {}

  // Pointers to the kSide x kSide pixels from (4 row + offset, 4 column + offset) of tile t on;
  // `outside` stands for pixels beyond the map.
  template <int kSide>
  void gather(const float* maps, Index t, Index offset, const float* outside,
              const float* (&pixels)[kSide * kSide]) const {
    const Index image = t / (rows * columns);
    const Index top = t / columns % rows * 4 + offset;
    const Index left = t % columns * 4 + offset;
    const float* map = maps + image * height * width * stride;
    for (Index i = 0; i < kSide; ++i) {
      for (Index j = 0; j < kSide; ++j) {
        const bool inside = top + i >= 0 && top + i < height && left + j >= 0 && left + j < width;
        pixels[i * kSide + j] =
            inside ? map + ((top + i) * width + left + j) * stride : outside;
      }
    }
  }
};

// One channel register of one tile: kIn x kIn pixels to 6 x 6 positions.
template <int kIn, class Transform>
RETORT_INLINE void transform_tile(const float* const (&pixels)[kIn * kIn], Index c, float* out,
                                  Index stride, const Transform& transform) {
  Vec half[6][kIn];
#pragma GCC unroll 6
  for (int j = 0; j < kIn; ++j) {
    Vec column[kIn];
    Vec result[6];
#pragma GCC unroll 6
    for (int i = 0; i < kIn; ++i) column[i] = load(pixels[i * kIn + j] + c);
    transform(column, result);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) half[i][j] = result[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i) {
    Vec result[6];
    transform(half[i], result);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) {
      store(out, result[j]);
      out += stride;
    }
  }
}

// B^T d B of tiles first .. last-1 into v[position][tile][channel], positions `stride` apart.
static void transform_inputs(const float* x, const Tiling& tiling, Index first, Index last,
                             const float* zeros, float* v, Index stride) {
  const float* pixels[36];
  for (Index t = first; t < last; ++t) {
    tiling.gather<6>(x, t, -1, zeros, pixels);
    float* out = v + (t - first) * tiling.channels;
    for (Index c = 0; c < tiling.channels; c += kLanes) {
      transform_tile<6>(pixels, c, out + c, stride,
                        [](const Vec(&in)[6], Vec(&to)[6])
                            __attribute__((always_inline)) { input_transform(in, to); });
    }
  }
}

// A dy A^T into q[panel][position][tile][channel of the panel], which has room for `tiles`,
// `behind` that many of them.
static void transform_gradients(const float* gy, const Tiling& tiling, Index first, Index last,
                                const float* zeros, float* q, Index behind,
                                Index tiles) {
  const float* pixels[16];
  for (Index t = first; t < last; ++t) {
    tiling.gather<4>(gy, t, 0, zeros, pixels);
    for (Index panel = 0; panel < tiling.channels; panel += kPanel) {
      const Index width = smaller(kPanel, tiling.channels - panel);
      float* out = q + panel / kPanel * panel_size(tiles) + (behind + t - first) * width;
      const Index stride = position_stride(width, tiles);
      for (Index c = 0; c < width; c += kLanes) {
        transform_tile<4>(pixels, panel + c, out + c, stride,
                          [](const Vec(&in)[4], Vec(&to)[6])
                              __attribute__((always_inline)) { gradient_transform(in, to); });
      }
    }
  }
}

// A^T m A + bias of tiles first .. last-1, for the panel's channels.
static void transform_outputs(const float* m, const Tiling& tiling, Index first, Index last,
                              Index width, const float* bias, float* y) {
  const Index stride = position_stride(width);
  for (Index t = first; t < last; ++t) {
    const Index image = t / (tiling.rows * tiling.columns);
    const Index top = t / tiling.columns % tiling.rows * 4;
    const Index left = t % tiling.columns * 4;
    const Index rows = smaller(4, tiling.height - top);
    const Index columns = smaller(4, tiling.width - left);
    float* map = y + ((image * tiling.height + top) * tiling.width + left) * tiling.channels;
    for (Index c = 0; c < width; c += kLanes) {
      const float* in = m + (t - first) * width + c;
      const Vec start = bias ? load(bias + c) : Vec{};
      Vec half[4][6];
#pragma GCC unroll 6
      for (int j = 0; j < 6; ++j) {
        Vec column[6];
        Vec result[4];
#pragma GCC unroll 6
        for (int i = 0; i < 6; ++i) column[i] = load(in + (i * 6 + j) * stride);
        output_transform(column, result);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) half[i][j] = result[i];
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        if (i >= rows) break;
        Vec result[4];
        output_transform(half[i], result);
        float* out = map + i * tiling.width * tiling.channels + c;
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          if (j < columns) store(out + j * tiling.channels, result[j] + start);
        }
      }
    }
  }
}

// Nine taps of kLanes output channels from `first` on, for one input channel.
RETORT_INLINE void gather_taps(const float* weight, Index outputs, Index inputs, bool adjoint,
                               Index from, Index first, Vec (&taps)[9]) {
  alignas(64) float buffer[9][kLanes];
  const Index real_inputs = adjoint ? outputs : inputs;
  const Index real_outputs = adjoint ? inputs : outputs;
  for (Index lane = 0; lane < kLanes; ++lane) {
    const Index to = first + lane;
    const bool real = from < real_inputs && to < real_outputs;
    const float* source = weight + (adjoint ? from * inputs + to : to * inputs + from) * 9;
    for (Index k = 0; k < 9; ++k) buffer[k][lane] = real ? source[adjoint ? 8 - k : k] : 0;
  }
  for (Index k = 0; k < 9; ++k) taps[k] = load(buffer[k]);
}

static void transform_weight(const float* weight, Index outputs, Index inputs, bool adjoint,
                             float* transformed) {
  const Index from_channels = round_up(adjoint ? outputs : inputs, kChannelStep);
  const Index to_channels = round_up(adjoint ? inputs : outputs, kChannelStep);
  for (Index from = 0; from < from_channels; ++from) {
    for (Index to = 0; to < to_channels; to += kLanes) {
      const Index panel = to / kPanel * kPanel;
      const Index width = smaller(kPanel, to_channels - panel);
      float* out = transformed + panel * kPositions * from_channels + from * width + (to - panel);
      Vec taps[9];
      gather_taps(weight, outputs, inputs, adjoint, from, to, taps);
      Vec half[6][3];
#pragma GCC unroll 3
      for (int j = 0; j < 3; ++j) {
        const Vec column[3] = {taps[j], taps[3 + j], taps[6 + j]};
        Vec result[6];
        weight_transform(column, result);
#pragma GCC unroll 6
        for (int i = 0; i < 6; ++i) half[i][j] = result[i];
      }
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) {
        Vec result[6];
        weight_transform(half[i], result);
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) store(out + (i * 6 + j) * from_channels * width, result[j]);
      }
    }
  }
}

static void finish_weight_gradient(const float* transformed, Index outputs, Index inputs,
                                   float* gradient) {
  const Index from_channels = round_up(inputs, kChannelStep);
  const Index to_channels = round_up(outputs, kChannelStep);
  for (Index from = 0; from < inputs; ++from) {
    for (Index to = 0; to < to_channels; to += kLanes) {
      const Index panel = to / kPanel * kPanel;
      const Index width = smaller(kPanel, to_channels - panel);
      const float* in =
          transformed + panel * kPositions * from_channels + from * width + (to - panel);
      Vec half[3][6];
#pragma GCC unroll 6
      for (int j = 0; j < 6; ++j) {
        Vec column[6];
        Vec result[3];
#pragma GCC unroll 6
        for (int i = 0; i < 6; ++i) column[i] = load(in + (i * 6 + j) * from_channels * width);
        weight_gradient_transform(column, result);
#pragma GCC unroll 3
        for (int i = 0; i < 3; ++i) half[i][j] = result[i];
      }
#pragma GCC unroll 3
      for (int i = 0; i < 3; ++i) {
        Vec result[3];
        weight_gradient_transform(half[i], result);
        for (Index j = 0; j < 3; ++j) {
          alignas(64) float taps[kLanes];
          store(taps, result[j]);
          for (Index lane = 0; lane < kLanes && to + lane < outputs; ++lane) {
            gradient[((to + lane) * inputs + from) * 9 + i * 3 + j] = taps[lane];
          }
        }
      }
    }
  }
}

static Index convolve_scratch(Index in_channels, Index out_channels) {
  const Index most = in_channels > out_channels ? in_channels : out_channels;
  return most + kPositions * position_stride(in_channels) +
         round_up(out_channels, kPanel) / kPanel * panel_size();
}

static void clear(float* values, Index count) {
  for (Index i = 0; i < count; ++i) values[i] = 0;
}

static void convolve(const float* x, const MapShape& shape, const float* transformed,
                     const float* bias, Index out_channels, float* y, float* scratch) {
  const Tiling in(shape, shape.channels);
  const Tiling out(shape, out_channels);
  const Index stride = position_stride(in.channels);
  float* zeros = scratch;
  float* v = zeros + in.channels;
  float* m = v + kPositions * stride;
  clear(zeros, in.channels);
  for (Index first = 0; first < in.count; first += kTileBlock) {
    const Index last = smaller(in.count, first + kTileBlock);
    transform_inputs(x, in, first, last, zeros, v, stride);
    for (Index panel = 0; panel < out_channels; panel += kPanel) {
      const Index width = smaller(kPanel, out_channels - panel);
      const float* u = transformed + panel * kPositions * in.channels;
      const Index m_stride = position_stride(width);
      for (Index p = 0; p < kPositions; ++p) {
        product_panel<false>(last - first, width, in.channels, v + p * stride, in.channels,
                             u + p * in.channels * width, width, nullptr, 0, m + p * m_stride,
                             width);
      }
      transform_outputs(m, out, first, last, width, bias ? bias + panel : nullptr, y + panel);
    }
  }
}

// Adds the products over the first `rows` tiles of v and q, which have room for `tiles`.
static void add_tile_products(const float* v, const float* q, Index rows, Index tiles,
                              Index in_channels, Index out_channels, float* transformed) {
  for (Index p = 0; p < kPositions; ++p) {
    for (Index panel = 0; panel < out_channels; panel += kPanel) {
      const Index width = smaller(kPanel, out_channels - panel);
      float* u = transformed + (panel * kPositions + p * width) * in_channels;
      const float* b = q + panel / kPanel * panel_size(tiles) + p * position_stride(width, tiles);
      product_panel<true>(in_channels, width, rows, v + p * position_stride(in_channels, tiles),
                          in_channels, b, width, u, width, u, width);
    }
  }
}

static void convolve_weight_gradient(const float* x, const MapShape& shape, const float* gy,
                                     Index out_channels, float* transformed, float* scratch) {
  const Tiling in(shape, shape.channels);
  const Tiling out(shape, out_channels);
  const Index stride = position_stride(in.channels);
  const Index most = in.channels > out_channels ? in.channels : out_channels;
  float* zeros = scratch;
  float* v = zeros + most;
  float* q = v + kPositions * stride;
  clear(zeros, most);
  for (Index first = 0; first < in.count; first += kTileBlock) {
    const Index last = smaller(in.count, first + kTileBlock);
    transform_inputs(x, in, first, last, zeros, v, stride);
    transform_gradients(gy, out, first, last, zeros, q, 0, kTileBlock);
    add_tile_products(v, q, last - first, kTileBlock, in.channels, out_channels, transformed);
  }
}

// Tiles of values meet those of tangents: behind each other they are one product of twice the
// depth, and the sums are fetched once.
static void convolve_weight_gradient_tangent(const MapTangent& x, const MapShape& shape,
                                             const MapTangent& gy, Index out_channels,
                                             float* transformed, float* scratch) {
  constexpr Index kTiles = 2 * kTileBlock;
  const Tiling in(shape, shape.channels, x.stride);
  const Tiling out(shape, out_channels, gy.stride);
  const Index stride = position_stride(in.channels, kTiles);
  const Index most = in.channels > out_channels ? in.channels : out_channels;
  float* zeros = scratch;
  float* v = zeros + most;
  float* q = v + kPositions * stride;
  clear(zeros, most);
  for (Index first = 0; first < in.count; first += kTileBlock) {
    const Index last = smaller(in.count, first + kTileBlock);
    Index rows = last - first;
    transform_inputs(x.value, in, first, last, zeros, v, stride);
    transform_gradients(gy.tangent, out, first, last, zeros, q, 0, kTiles);
    if (x.tangent) {
      transform_inputs(x.tangent, in, first, last, zeros, v + rows * in.channels, stride);
      transform_gradients(gy.value, out, first, last, zeros, q, rows, kTiles);
      rows *= 2;
    }
    add_tile_products(v, q, rows, kTiles, in.channels, out_channels, transformed);
  }
}
