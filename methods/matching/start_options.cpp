#include "methods/matching/start_options.h"

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::methods::matching {

void StartOptions::describe_start(config::OptionTable& table, const FurtherStarts& further) {
  std::vector<std::string> starts = {"random",   "first",   "noise", "k-means",
                                     "k-center", "herding", "mosaic"};
  starts.insert(starts.end(), further.names.begin(), further.names.end());
  table
      .add("init", init, str("what the synthetic images start from", further.explained),
           config::one_of(starts))
      .only_with("init-set", {""});
  table.add("init-set", init_set, "start from this set file instead; same size and decoder",
            {"a set file, or nothing", [](const std::string&) { return true; }});
  features.describe(table);
  table.add("factor", factor, "multi-formation: each stored image holds factor x factor small ones",
            config::in_range(std::int64_t{1}, 5));
  table.add("decode-type", decode_type, "multi-formation: one factor, or all from 1 up to it",
            config::one_of({"single", "multi"}));
}

void StartOptions::check_start() const {
  if (init == "mosaic" && factor > 1) {
    throw ConfigError(str("init mosaic with factor ", factor,
                          ": a mosaic is optimised as plain pixels and needs factor 1; with a "
                          "larger factor every other init packs real images already"));
  }
  if (decode_type == "multi" && factor == 1) {
    throw ConfigError(
        "decode-type multi with factor 1: it joins the factors from 1 up to it, so it needs factor "
        "2 or more");
  }
}

bool StartOptions::needs_features() const {
  return init_set.empty() && (init == "k-means" || init == "k-center" || init == "herding");
}

std::unique_ptr<synth::ImageDecoder> StartOptions::decoder_for(
    const data::ImageDataset& dataset) const {
  return synth::make_decoder(factor, decode_type, dataset.preprocessing(), dataset.shape());
}

}  // namespace retort::methods::matching
