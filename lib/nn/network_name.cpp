#include "lib/nn/network_name.h"

#include "lib/nn/network.h"

namespace retort::nn {

config::Rule<std::string> network_name() {
  return {"a name from `retort list networks`", [](const std::string& name) {
            // Large enough for every depth; its message spells out the known names.
            make_network(name, {3, 1024, 1024}, 10);
            return true;
          }};
}

}  // namespace retort::nn
