#include <map>

#include "experiments/cross_arch/pools.h"
#include "lib/core/error.h"
#include "lib/nn/network.h"
#include "tests/support/catch.h"

using namespace retort;
using Catch::Matchers::Contains;
using experiments::find_pool;
using experiments::networks_of;

namespace {

using Sizes = std::vector<std::pair<std::string, std::int64_t>>;

/// Canonical names and parameters for 10 classes.
Sizes sizes_of(const std::string& pool, nn::ImageShape shape) {
  Sizes sizes;
  for (const auto& name : networks_of(find_pool(pool), shape)) {
    const auto network = nn::make_network(name, shape, 10);
    sizes.emplace_back(network->name(), network->parameter_count());
  }
  return sizes;
}

}  // namespace

TEST_CASE("pools hold the papers' networks with the published number of parameters",
          "[experiments][cross-arch]") {
  constexpr nn::ImageShape kRgb{3, 32, 32};
  constexpr nn::ImageShape kGray{1, 28, 28};
  CHECK(sizes_of("dc", kRgb) == Sizes{{"MLP", 411146},
                                      {"ConvNet-3", 320010},
                                      {"LeNet", 62006},
                                      {"AlexNet", 1872202},
                                      {"VGG-11", 9231114},
                                      {"ResNet-18", 11173962}});
  CHECK(sizes_of("dc", kGray) == Sizes{{"MLP", 118282},
                                       {"ConvNet-3", 317706},
                                       {"LeNet", 61706},
                                       {"AlexNet", 1865802},
                                       {"VGG-11", 9229962},
                                       {"ResNet-18", 11172810}});
  CHECK(sizes_of("dm", kRgb) == Sizes{{"ConvNet-3-BN", 320010},
                                      {"ConvNet-3-BN-swish", 320010},
                                      {"AlexNet-BN", 1874122},
                                      {"VGG-11-BN", 9231114},
                                      {"ResNet-18-BN", 11173962}});
  CHECK(sizes_of("mtt", kGray) == Sizes{{"ConvNet-3", 317706},
                                        {"AlexNet", 1865802},
                                        {"VGG-11", 9229962},
                                        {"ResNet-18-AP", 11213770},
                                        {"ResNet-18", 11172810}});
}

TEST_CASE("the ConvNets of a pool are as deep as the image size asks",
          "[experiments][cross-arch]") {
  CHECK(networks_of(find_pool("mtt"), {3, 64, 64}).front() == "ConvNet-4");
  CHECK(networks_of(find_pool("dm"), {3, 128, 128})[1] == "ConvNet-5-BN-swish");
}

TEST_CASE("an unknown pool is refused with the known ones", "[experiments][cross-arch]") {
  CHECK_THROWS_AS(find_pool("mt"), ConfigError);
  CHECK_THROWS_WITH(find_pool("mt"), Contains("unknown pool of networks 'mt'") &&
                                         Contains("'mtt'") && Contains("dc, dm, mtt"));
}
