#include "datasets/published.h"

#include <map>
#include <utility>
#include <vector>

namespace retort::datasets {

std::optional<data::Preprocessing> published_preprocessing(const std::string& dataset) {
  using Constants = std::pair<std::vector<double>, std::vector<double>>;  // mean and std
  static const std::map<std::string, Constants> published = {
      {"mnist", {{0.1307}, {0.3081}}},
      {"fashion-mnist", {{0.2861}, {0.3530}}},
      {"cifar10", {{0.4914, 0.4822, 0.4465}, {0.2023, 0.1994, 0.2010}}},
      {"cifar100", {{0.5071, 0.4866, 0.4409}, {0.2673, 0.2564, 0.2762}}},
      {"tiny-imagenet", {{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}}}};
  const auto found = published.find(dataset);
  if (found == published.end()) return std::nullopt;
  return data::Preprocessing::mean_std(found->second.first, found->second.second);
}

}  // namespace retort::datasets
