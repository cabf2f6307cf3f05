#include "lib/nn/chain.h"
#include "lib/nn/factories.h"

namespace retort::nn {

std::unique_ptr<Network> make_mlp(ImageShape input, std::int64_t num_classes) {
  return make_chain(
      {.name = "MLP", .blocks = {}, .hidden = {128, 128}, .linear_names = {"fc_1", "fc_2", "fc_3"}},
      input, num_classes);
}

std::unique_ptr<Network> make_lenet(ImageShape input, std::int64_t num_classes) {
  return make_chain({.name = "LeNet",
                     .blocks = {{.channels = 6, .kernel = 5, .padding = 0},
                                {.channels = 16, .kernel = 5, .padding = 0}},
                     .hidden = {120, 84},
                     .linear_names = {"fc_1", "fc_2", "fc_3"}},
                    input, num_classes);
}

std::unique_ptr<Network> make_alexnet(Norm norm, ImageShape input, std::int64_t num_classes) {
  return make_chain({.name = norm == Norm::Batch ? "AlexNet-BN" : "AlexNet",
                     .blocks = {{.channels = 128, .kernel = 5, .padding = 2},
                                {.channels = 192, .kernel = 5, .padding = 2},
                                {.channels = 256, .pool = false},
                                {.channels = 192, .pool = false},
                                {.channels = 192}},
                     .norm = norm,
                     .hidden = {},
                     .linear_names = {"fc"}},
                    input, num_classes);
}

std::unique_ptr<Network> make_vgg11(Norm norm, ImageShape input, std::int64_t num_classes) {
  return make_chain({.name = norm == Norm::Batch ? "VGG-11-BN" : "VGG-11",
                     .blocks = {{.channels = 64},
                                {.channels = 128},
                                {.channels = 256, .pool = false},
                                {.channels = 256},
                                {.channels = 512, .pool = false},
                                {.channels = 512},
                                {.channels = 512, .pool = false},
                                {.channels = 512}},
                     .norm = norm,
                     .hidden = {},
                     .linear_names = {"classifier"}},
                    input, num_classes);
}

}  // namespace retort::nn
