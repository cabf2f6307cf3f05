#include "lib/storage/trained_on.h"

#include "lib/storage/checks.h"
#include "lib/storage/hdf5.h"
#include "lib/storage/set_file.h"

namespace retort::storage {

TrainedOn TrainedOn::of(const data::ImageDataset& dataset) {
  return {.dataset = dataset.info().name,
          .dataset_sha256 = dataset.info().sha256,
          .dataset_note = dataset.info().note,
          .class_names = dataset.info().class_names,
          .image = dataset.shape(),
          .train_images = dataset.size(data::Split::Train),
          .preprocessing = dataset.preprocessing()};
}

void write_trained_on(H5Writer& out, const TrainedOn& data) {
  out.attribute("", "dataset", data.dataset);
  out.attribute("", "dataset_sha256", data.dataset_sha256);
  out.attribute("", "dataset_note", data.dataset_note);
  out.attribute("", "train_images", data.train_images);
  out.attribute("", "channels", data.image.channels);
  out.attribute("", "height", data.image.height);
  out.attribute("", "width", data.image.width);
  out.texts("class_names", data.class_names);
  write_preprocessing(out, "preprocessing", data.preprocessing);
}

TrainedOn read_trained_on(const H5Reader& in) {
  TrainedOn data;
  data.dataset = in.text_attribute("", "dataset");
  data.dataset_sha256 = in.text_attribute("", "dataset_sha256");
  data.dataset_note = in.text_attribute("", "dataset_note");
  data.train_images = in.int_attribute("", "train_images");
  data.image = {.channels = in.int_attribute("", "channels"),
                .height = in.int_attribute("", "height"),
                .width = in.int_attribute("", "width")};
  data.class_names = in.texts("class_names");
  data.preprocessing = read_preprocessing(in, "preprocessing");
  return data;
}

void check_trained_on(const TrainedOn& data, const std::string& source) {
  require(!data.class_names.empty(), source, "class names must be there, are missing");
  expect_preprocessing_of(data.preprocessing, data.image, source);
}

}  // namespace retort::storage
