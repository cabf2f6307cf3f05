#include "methods/real_images.h"

#include "lib/synth/real_selection.h"

namespace retort::methods {

void RealImagesOptions::describe(config::OptionTable& table) {
  table.add("factor", factor, "multi-formation: real images shrunk into factor x factor grids",
            config::in_range(std::int64_t{1}, 5));
}

void RealImages::prepare(RunContext& run) {
  run_ = &run;
  decoder_ =
      synth::make_decoder(factor_, "single", run.dataset.preprocessing(), run.dataset.shape());
}

void RealImages::initialize(RunContext& run) {
  prepare(run);
  stored_ = Tensor();
}

UpdateReport RealImages::update(std::int64_t) {
  const std::int64_t per_class = run_->ipc * decoder_->images_per_packed();
  const Tensor chosen = select(*run_, per_class);
  // Not on a device, whose roundings are others: unchanged pixels are stored as bytes.
  stored_ = synth::pack_real(run_->dataset.on(at::kCPU), chosen, per_class, *decoder_);
  return {};
}

data::SyntheticSet RealImages::snapshot() const {
  const synth::Parametrization all(
      stored_, run_->dataset.num_classes(),
      synth::make_decoder(decoder_->spec(), run_->dataset.preprocessing(), run_->dataset.shape()));
  data::SyntheticSet set;
  set.images = stored_.clone();
  set.from_bytes =
      factor_ == 1 && run_->dataset.preprocessing().kind() == data::Preprocessing::Kind::MeanStd;
  set.class_index = at::arange(run_->dataset.num_classes(), at::kLong).repeat_interleave(run_->ipc);
  set.labels = data::HardLabels{all.labels()};
  set.decoder = decoder_->spec();
  return set;
}

void RealImages::save_state(storage::StateWriter& out) const {
  if (stored_.defined()) out.tensor("stored", stored_);
}

void RealImages::load_state(RunContext& run, const storage::StateReader& in) {
  prepare(run);
  if (in.has("stored")) stored_ = in.tensor("stored");
}

}  // namespace retort::methods
