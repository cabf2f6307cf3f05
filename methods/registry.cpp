#include <algorithm>

#include "lib/core/error.h"
#include "lib/core/names.h"
#include "methods/attention_matching/attention_matching.h"
#include "methods/coresets/coresets.h"
#include "methods/decoupled/recover.h"
#include "methods/distribution_matching/distribution_matching.h"
#include "methods/gradient_matching/gradient_matching.h"
#include "methods/method.h"
#include "methods/random_selection/random_selection.h"
#include "methods/trajectory_matching/trajectory_matching.h"

namespace retort::methods {

const std::vector<MethodInfo>& all_methods() {
  static const std::vector<MethodInfo> methods = {
      random_selection::info(),
      coresets::herding_info(),
      coresets::k_center_info(),
      coresets::k_means_info(),
      distribution_matching::info(),
      attention_matching::info(),
      gradient_matching::info(),
      gradient_matching::dc_info(),
      gradient_matching::dsa_info(),
      gradient_matching::idc_info(),
      trajectory_matching::mtt_info(),
      trajectory_matching::ftd_info(),
      trajectory_matching::datm_info(),
      trajectory_matching::ast_info(),
      trajectory_matching::tesla_info(),
      decoupled::sre2l_info(),
      decoupled::cda_info(),
      decoupled::sc_dd_info(),
      decoupled::lpld_info(),
      decoupled::cv_dd_info(),
      decoupled::infer_info(),
  };
  return methods;
}

const MethodInfo& find_method(const std::string& name) {
  const auto& methods = all_methods();
  const auto found = std::find_if(methods.begin(), methods.end(),
                                  [&](const MethodInfo& info) { return info.name == name; });
  if (found != methods.end()) return *found;
  std::vector<std::string> known;
  for (const auto& info : methods) known.push_back(info.name);
  throw ConfigError(unknown_name_message("method", name, known));
}

}  // namespace retort::methods
