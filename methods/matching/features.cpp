#include "methods/matching/features.h"

#include <algorithm>

namespace retort::methods::matching {

void forward_real(
    const Lens& lens, const Tensor& images, double attention_power,
    const std::function<void(std::int64_t first, const nn::ForwardResult& result)>& consume) {
  // On a processor, activations of 16 to 32 images stay in cache; a device wants all at once.
  constexpr std::int64_t kChunk = 32;
  const at::NoGradGuard no_grad;
  const std::int64_t total = images.size(0);
  const bool cut = images.is_cpu() && lens.network.per_sample(nn::Mode::Train);
  const std::int64_t chunk = cut ? kChunk : total;
  const nn::ForwardOptions options{
      .mode = nn::Mode::Train, .logits = false, .attention_power = attention_power};
  for (std::int64_t first = 0; first < total; first += chunk) {
    const Tensor part = images.slice(0, first, std::min(first + chunk, total));
    consume(first, lens.network.forward(lens.state, part, options));
  }
}

void refresh_statistics(const nn::Network& network, nn::NetworkState& state, const Tensor& images) {
  const at::NoGradGuard no_grad;
  network.forward(state, images, {.mode = nn::Mode::Train, .logits = false});
}

}  // namespace retort::methods::matching
