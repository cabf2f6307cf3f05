#include "lib/train/recipe_settings.h"

#include <algorithm>

#include "lib/core/error.h"

namespace retort::train {

config::Rule<std::string> recipe_setting() {
  return {"name=value", [](const std::string& text) {
            const std::size_t equals = text.find('=');
            if (text.substr(0, equals) == "epochs") {
              throw ConfigError("option 'make-settings': epochs are said by --make-epochs");
            }
            return equals != std::string::npos && equals > 0 && equals + 1 < text.size();
          }};
}

void apply_settings(config::OptionTable& recipe, const std::vector<std::string>& settings) {
  for (const std::string& setting : settings) {
    const std::size_t equals = std::min(setting.find('='), setting.size());
    const std::size_t value = std::min(equals + 1, setting.size());
    recipe.set(setting.substr(0, equals), setting.substr(value), config::Origin::File);
  }
}

}  // namespace retort::train
