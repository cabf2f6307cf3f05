#include "tests/golden/golden.h"

namespace retort::testing::golden {

// A plain list: greppable, ordered, and a kind that is missing here is reported by name.
const std::vector<Handler>& handlers() {
  static const std::vector<Handler> all = {
      {"convnet_variants", check_convnet_variants},
      {"networks_large", check_networks_large},
      {"dsa", check_dsa},
      {"dsa_siamese_pair", check_dsa_siamese_pair},
      {"idc_diffaug", check_idc_diffaug},
      {"pixel_operations", check_pixel_operations},
      {"idc_decode", check_idc_decode},
      {"fyi_flip", check_fyi_flip},
      {"zca_metrics_herding", check_zca_metrics_herding},
      {"dm", check_dm},
      {"datadam", check_datadam},
      {"dc", check_dc},
      {"dc_outer_loop", check_dc_outer_loop},
      {"idc_matchloss", check_idc_matchloss},
      {"idc_class_loop", check_idc_class_loop},
      {"mtt", check_mtt},
      {"datm", check_datm},
      {"tesla", check_tesla},
      {"fyi_mtt", check_fyi_mtt},
      {"datm_labels_schedule", check_datm_labels_schedule},
      {"eval_protocol", check_eval_protocol},
      {"ftd", check_ftd},
      {"guard", check_guard},
      {"recover", check_recover},
      {"cvdd", check_cvdd},
      {"infer", check_infer},
      {"fkd_mix_kl", check_fkd_mix_kl},
      {"cda_schedule", check_cda_schedule},
      {"rded", check_rded},
      {"bn_loss", check_bn_loss},
  };
  return all;
}

}  // namespace retort::testing::golden
