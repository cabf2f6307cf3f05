#pragma once
// The inner loops of the processor kernels, compiled once per instruction set and chosen at run
// time. Nothing here sees LibTorch or the standard library's templates: an inline function compiled
// for AVX-512 could otherwise be the one the linker keeps for everybody.
//
// Maps are channels-last: [count][height][width][channels], float, channels a multiple of
// kChannelStep (callers pad with zeros).

#include <cstdint>

namespace retort::kernels {

inline constexpr std::int64_t kChannelStep = 16;
inline constexpr std::int64_t kWinogradPositions = 36;
/// 4x4 output tiles transformed together: convolutions of a multiple of this many waste nothing.
inline constexpr std::int64_t kWinogradTiles = 48;

struct MapShape {
  std::int64_t count = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;

  std::int64_t pixels() const { return height * width; }
  std::int64_t image_size() const { return height * width * channels; }
  std::int64_t size() const { return count * image_size(); }
};

/// Some channels of one map, [height][width][channels], and their derivative along a direction (the
/// tangent), with what their norm needs. A pixel of z begins z_stride floats after the one before
/// it.
struct NormTangent {
  std::int64_t height, width, channels;
  const float* z;
  std::int64_t z_stride;
  const float* tz;  ///< the tangent
  std::int64_t tz_stride;
  /// All channels of which these are some: from one pixel of a pooled map to the next, and from one
  /// row of numbers per channel to the next.
  std::int64_t channel_stride;
  const float *weight, *bias, *tweight, *tbias;  ///< [channels]
  const float *mean, *rstd;                      ///< [channels], a channel's own or its group's
  bool fixed_statistics = false;  ///< they do not answer to the map (BatchNorm in evaluation)
};

/// What of the gradients of a norm's weight and bias is summed over images, [channels] each.
struct NormTangentSums {
  float* tgweight;  ///< derivative of the weight's gradient
  float* tgbias;    ///< of the bias's
  float* gbias;     ///< the bias's gradient itself
};

/// A stack of maps and their derivatives along a direction. A pixel begins `stride` floats after
/// the one before it.
struct MapTangent {
  const float* value;
  const float* tangent;  ///< nullptr: zero
  std::int64_t stride;
};

/// A norm whose statistics are known: (z - mean) scale + bias, [channels] each.
struct Affine {
  const float* mean;
  const float* scale;
  const float* bias;
};

/// One channel of maps [count][channels][pixels], which lie `stride` floats apart.
struct ChannelPlanes {
  std::int64_t count, stride, pixels;
};

struct Loops {
  const char* name;

  /// in [channels][pixels] -> out [pixels][padded]; channels up to `padded` become zero.
  void (*to_channels_last)(const float* in, std::int64_t channels, std::int64_t pixels,
                           std::int64_t padded, float* out);
  /// in [pixels][padded] -> out [channels][pixels]
  void (*to_channels_first)(const float* in, std::int64_t padded, std::int64_t channels,
                            std::int64_t pixels, float* out);

  /// c[m][n] = init + a[m][k] b[k][n], n a multiple of kChannelStep. Row i of init starts at
  /// init + i * init_stride: c itself, one row for all (stride 0), or nullptr for zero.
  void (*product)(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t lda,
                  const float* b, std::int64_t ldb, const float* init, std::int64_t init_stride,
                  float* c, std::int64_t ldc);
  /// The same with a[k][m] transposed.
  void (*product_transposed)(std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                             std::int64_t lda, const float* b, std::int64_t ldb, const float* init,
                             std::int64_t init_stride, float* c, std::int64_t ldc);

  /// Weights [outputs][inputs][3][3] into the transformed domain, kWinogradPositions * padded
  /// inputs * padded outputs floats. `adjoint`: for the data gradient, where the roles of inputs
  /// and outputs change and the taps are mirrored.
  void (*transform_weight)(const float* weight, std::int64_t outputs, std::int64_t inputs,
                           bool adjoint, float* transformed);
  /// Floats of scratch memory for the two convolution loops.
  std::int64_t (*convolve_scratch)(std::int64_t in_channels, std::int64_t out_channels);
  /// 3x3, stride 1, padding 1: x -> y of the same height and width, by Winograd F(4x4,3x3)
  /// (Lavin and Gray 2015). @param bias [out_channels] or nullptr
  void (*convolve)(const float* x, const MapShape& shape, const float* transformed,
                   const float* bias, std::int64_t out_channels, float* y, float* scratch);
  /// Adds the weight gradient in the transformed domain, laid out as by transform_weight.
  void (*convolve_weight_gradient)(const float* x, const MapShape& shape, const float* gy,
                                   std::int64_t out_channels, float* transformed, float* scratch);
  /// Adds the derivative of that along the direction, x * tgy + tx * gy.
  /// @param shape    of x, without its tangent
  /// @param scratch  twice as many floats as convolve_scratch says
  void (*convolve_weight_gradient_tangent)(const MapTangent& x, const MapShape& shape,
                                           const MapTangent& gy, std::int64_t out_channels,
                                           float* transformed, float* scratch);
  /// From the transformed domain back to [outputs][inputs][3][3].
  void (*finish_weight_gradient)(const float* transformed, std::int64_t outputs,
                                 std::int64_t inputs, float* gradient);

  /// Instance norm, affine, ReLU and 2x2 average pooling of one image (`shape.count` is ignored);
  /// a last odd row or column enters the statistics but no pool.
  /// @param y [height/2][width/2][channels]  @param mean,rstd [channels], written
  void (*norm_relu_pool)(const float* z, const MapShape& shape, const float* weight,
                         const float* bias, float eps, float* y, float* mean, float* rstd);
  /// Its gradient: gz [height][width][channels] (may be z itself, or nullptr); gweight and gbias
  /// [channels] are added to.
  void (*norm_relu_pool_gradient)(const float* z, const MapShape& shape, const float* weight,
                                  const float* bias, const float* mean, const float* rstd,
                                  const float* gy, float* gz, float* gweight, float* gbias);

  /// M[tz] and -rstd^3 M[(z - mean) tz], M the mean over a channel's own pixels; zero of fixed
  /// statistics. They are the derivatives of a channel's own mean and rstd; of a group's, only
  /// their means over the group are.
  /// @param tmean,trstd [channels], written
  void (*norm_tangent_statistics)(const NormTangent& in, float* tmean, float* trstd);
  /// norm_relu_pool of a map and its tangent.
  /// @param tmean,trstd [channels], derivatives of mean and rstd
  /// @param y [height/2][width/2][2 channel_stride], of each pixel the value and then the tangent
  void (*norm_relu_pool_tangent)(const NormTangent& in, const float* tmean, const float* trstd,
                                 float* y);
  /// norm_relu_pool_gradient and its derivative along the same direction, of channels with
  /// statistics of their own or fixed ones.
  /// @param gy,tgy [height/2][width/2][channel_stride], cotangent of the value and its derivative
  /// @param gz    [height][width][2 channels], of each pixel the gradient and then its derivative
  /// @param sums  added to, or nullptr
  void (*norm_relu_pool_gradient_tangent)(const NormTangent& in, const float* tmean,
                                          const float* trstd, const float* gy, const float* tgy,
                                          float* gz, const NormTangentSums* sums);

  // The same of a group's statistics, for which the caller takes the means over the group in
  // between.
  /// With h = weight g, g the gradient after the affine map, and d = z - mean: the means over a
  /// channel's own pixels of h, h d, and the derivatives of both.
  /// @param gy,tgy as above  @param means [4][channel_stride], written  @param sums as above
  void (*norm_gradient_tangent_means)(const NormTangent& in, const float* tmean, const float* trstd,
                                      const float* gy, const float* tgy, float* means,
                                      const NormTangentSums* sums);
  /// @param means [4][channel_stride], those over the group
  /// @param gz as above  @param sum_tgz [channels], sums over pixels of the derivative added to, or
  /// nullptr
  void (*norm_relu_pool_group_gradient_tangent)(const NormTangent& in, const float* tmean,
                                                const float* trstd, const float* gy,
                                                const float* tgy, const float* means, float* gz,
                                                float* sum_tgz);

  // All of one image; `shape.count` is ignored.
  /// Mean, and sum of squared deviations from it.  @param mean,squares [channels], written
  void (*image_statistics)(const float* z, const MapShape& shape, float* mean, float* squares);
  /// Affine map, ReLU and 2x2 average pooling, and the attention of every pixel: the sum over
  /// channels of the ReLU's output to the power `power`: 1, 2, 4, or 0 for none.
  /// @param y [height/2][width/2][channels]  @param attention [height][width], or nullptr with 0
  void (*affine_relu_pool)(const float* z, const MapShape& shape, const Affine& affine, int power,
                           float* y, float* attention);
  /// Sums over pixels of g, the gradient after the affine map, and of g (z - mean).
  /// @param gattention [height][width], or nullptr for zero  @param sum_g,sum_gd [channels],
  /// written
  void (*affine_relu_pool_sums)(const float* z, const MapShape& shape, const Affine& affine,
                                int power, const float* gy, const float* gattention, float* sum_g,
                                float* sum_gd);
  /// gz = scale g - shift - slope (z - mean); may be z itself.
  /// @param shift,slope [channels]  @param sum_gz [channels], sums over pixels added to, or nullptr
  void (*affine_relu_pool_gradient)(const float* z, const MapShape& shape, const Affine& affine,
                                    int power, const float* gy, const float* gattention,
                                    const float* shift, const float* slope, float* gz,
                                    float* sum_gz);

  // One channel of a batch, as LibTorch lays it out.
  double (*channel_sum)(const float* x, const ChannelPlanes& planes);
  /// y = scale x + shift.  @return sum of (x - center)^2
  double (*channel_affine)(const float* x, const ChannelPlanes& planes, float center, float scale,
                           float shift, float* y);
  /// gx = scale gy + slope x + shift.  @param gy nullptr: zero
  void (*channel_affine_gradient)(const float* x, const float* gy, const ChannelPlanes& planes,
                                  float scale, float slope, float shift, float* gx);
};

/// The same source for whatever the compiler takes for granted: on any processor.
const Loops& loops_portable();
#if defined(__x86_64__)
const Loops& loops_avx2();  // with FMA
const Loops& loops_avx512();
#endif

/// The best the processor runs, or what `use_loops` said; nullptr: none, LibTorch computes.
const Loops* best_loops();
/// For tests, which run every instruction set the processor has, and none: nullptr. Not between a
/// forward pass and its gradient.
void use_loops(const Loops* loops);
/// The best again.
void use_best_loops();
/// All that the processor runs, worst first.
struct AvailableLoops {
  const Loops* loops[3];
  int count;
};
AvailableLoops available_loops();

}  // namespace retort::kernels
