#include "lib/train/supervised.h"

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/train/cutmix.h"
#include "tests/support/catch.h"
#include "tests/support/distribution.h"
#include "tests/train/separable.h"

using namespace retort;
using namespace retort::testing;
using data::HardLabels;
using data::LabelledImages;
using data::SoftLabels;
using train::TensorData;

namespace {

struct Setup {
  std::unique_ptr<nn::Network> network;
  nn::NetworkState state;
  LabelledImages data;
};

/// float64, gray 8x8, 3 classes
Setup small_setup(std::int64_t images, const std::string& name = kTinyNet) {
  Setup s;
  s.network = nn::make_network(name, {1, 8, 8}, 3);
  s.state = s.network->initialize(Rng(1));
  for (auto* list : {&s.state.parameters, &s.state.buffers}) {
    for (auto& tensor : *list) tensor = tensor.to(at::kDouble);
  }
  Rng rng(2);
  s.data.images = rng.normal_tensor({images, 1, 8, 8}).to(at::kDouble);
  s.data.labels = HardLabels{at::arange(images, at::kLong).remainder(3)};
  return s;
}

/// Loss and gradients by autograd through the textbook formula, without chunks.
std::pair<double, Tensors> textbook_gradient(const Setup& s, const Tensor& images,
                                             const Tensor& targets) {
  const at::AutoGradMode gradients_on(true);
  nn::NetworkState leaves{{}, s.state.buffers};
  for (const auto& p : s.state.parameters) {
    leaves.parameters.push_back(p.detach().clone().requires_grad_());
  }
  const Tensor z = s.network->forward(leaves, images, {.mode = nn::Mode::Train}).logits;
  const Tensor loss = -(targets * z.log_softmax(1)).sum() / images.size(0);
  return {loss.item<double>(), torch::autograd::grad({loss}, leaves.parameters)};
}

std::vector<double> step_sizes(std::int64_t nominal_epochs) {
  const auto network = nn::make_network("MLP", {1, 4, 4}, 2);
  auto state = network->initialize(Rng(0));
  const TensorData data({at::ones({1, 1, 4, 4}), HardLabels{at::zeros({1}, at::kLong)}});
  std::vector<double> sizes;
  train::train(*network, state, data, train::dc_schedule({}, nominal_epochs), Rng(0),
               [&](const train::EpochReport& report) {
                 sizes.push_back(report.lr);
                 return true;
               });
  return sizes;
}

}  // namespace

TEST_CASE("the DC family trains E+1 epochs and drops after epoch E/2+1", "[train][schedule]") {
  for (const auto& [epochs, last_at_full] : {std::pair{300, 151}, std::pair{1000, 501}}) {
    const auto sizes = step_sizes(epochs);
    REQUIRE(sizes.size() == std::size_t(epochs + 1));
    CHECK(sizes[std::size_t(last_at_full)] == 0.01);
    CHECK(sizes[0] == 0.01);
    CHECK(sizes[std::size_t(last_at_full + 1)] == Approx(0.001).epsilon(1e-12));
    CHECK(sizes.back() == Approx(0.001).epsilon(1e-12));
  }
}

TEST_CASE("training equals a loop written out: partial batches, drop, new optimiser and momentum",
          "[train][loop]") {
  auto s = small_setup(5);
  train::TrainOptions options = train::dc_schedule({.lr = 0.05, .batch_size = 2}, 4);
  options.drops[0].momentum = 0.8;
  options.shuffle = false;
  auto trained = s.state.detached_clone();
  double last_loss = 0;
  const auto steps = train::train(*s.network, trained, TensorData(s.data), options, Rng(0),
                                  [&](const train::EpochReport& report) {
                                    last_loss = report.loss;
                                    return true;
                                  });
  CHECK(steps == 5 * 3);

  const auto& classes = data::hard_classes(s.data.labels);
  Tensors velocity;
  double loss = 0;
  for (int epoch = 0; epoch < 5; ++epoch) {
    const double lr = epoch <= 3 ? 0.05 : 0.005;
    const double momentum = epoch <= 3 ? 0.9 : 0.8;
    if (epoch == 4) velocity.clear();
    loss = 0;
    for (const auto& [begin, end] : {std::pair{0, 2}, std::pair{2, 4}, std::pair{4, 5}}) {
      const Tensor targets = at::one_hot(classes.slice(0, begin, end), 3).to(at::kDouble);
      const auto [value, g] = textbook_gradient(s, s.data.images.slice(0, begin, end), targets);
      loss += value * (end - begin) / 5.0;
      const bool first = velocity.empty();
      for (std::size_t i = 0; i < g.size(); ++i) {
        Tensor& w = s.state.parameters[i];
        const Tensor decayed = g[i] + 5e-4 * w;
        if (first)
          velocity.push_back(decayed);
        else
          velocity[i] = momentum * velocity[i] + decayed;
        w = w - lr * velocity[i];
      }
    }
  }
  CHECK_CLOSE(nn::flatten(trained.parameters), nn::flatten(s.state.parameters), 1e-12);
  CHECK(last_loss == Approx(loss).epsilon(1e-12));
}

TEST_CASE("a batch cut into chunks has the gradient of the whole", "[train][gradient]") {
  const auto s = small_setup(70);
  CHECK(train::gradient_chunks(70) == 4);
  CHECK(train::gradient_chunks(256) == 8);
  CHECK(train::gradient_chunks(24) == 2);
  CHECK(train::gradient_chunks(1) == 1);
  const auto cut = train::batch_gradient(*s.network, s.state, s.data.images, s.data.labels);
  const Tensor targets = at::one_hot(data::hard_classes(s.data.labels), 3).to(at::kDouble);
  const auto [loss, gradients] = textbook_gradient(s, s.data.images, targets);
  CHECK(cut.loss == Approx(loss).epsilon(1e-12));
  CHECK_CLOSE(nn::flatten(cut.gradients), nn::flatten(gradients), 1e-12);
  CHECK_CLOSE(cut.logits, s.network->forward(s.state, s.data.images).logits, 1e-12);
}

TEST_CASE("BatchNorm networks see the whole batch and move their statistics", "[train][gradient]") {
  const auto s = small_setup(70, "ConvNet-1-BN-w8");
  const auto before = s.state.detached_clone();
  const auto whole = train::batch_gradient(*s.network, s.state, s.data.images, s.data.labels);
  CHECK_FALSE(same_bits(before.buffers, s.state.buffers));
  const Tensor targets = at::one_hot(data::hard_classes(s.data.labels), 3).to(at::kDouble);
  const auto [loss, gradients] = textbook_gradient(s, s.data.images, targets);
  CHECK(whole.loss == Approx(loss).epsilon(1e-12));
  CHECK_CLOSE(nn::flatten(whole.gradients), nn::flatten(gradients), 1e-12);
}

TEST_CASE("soft labels: logits pass a softmax, probabilities are used as they are",
          "[train][labels]") {
  const auto s = small_setup(6);
  Rng rng(3);
  const Tensor logits = rng.normal_tensor({6, 3});
  const Tensor& classes = data::hard_classes(s.data.labels);
  const auto [loss, gradients] =
      textbook_gradient(s, s.data.images, logits.to(at::kDouble).softmax(1));
  const SoftLabels by_logit{classes, logits, SoftLabels::Kind::Logit};
  const auto a = train::batch_gradient(*s.network, s.state, s.data.images, by_logit);
  CHECK(a.loss == Approx(loss).epsilon(1e-12));
  CHECK_CLOSE(nn::flatten(a.gradients), nn::flatten(gradients), 1e-12);

  const SoftLabels by_probability{classes, logits.softmax(1), SoftLabels::Kind::Probability};
  const auto b = train::batch_gradient(*s.network, s.state, s.data.images, by_probability);
  CHECK_CLOSE(nn::flatten(b.gradients), nn::flatten(gradients), 1e-6);

  const Tensor sharp = at::one_hot(classes, 3).to(at::kFloat) * 100;
  const SoftLabels one_hot{classes, sharp, SoftLabels::Kind::Logit};
  const auto c = train::batch_gradient(*s.network, s.state, s.data.images, one_hot);
  const auto hard = train::batch_gradient(*s.network, s.state, s.data.images, s.data.labels);
  CHECK_CLOSE(nn::flatten(c.gradients), nn::flatten(hard.gradients), 1e-12);
}

TEST_CASE("same seed, same bits, whatever the number of threads", "[train][reproducible]") {
  const auto dataset = separable_dataset(15, 5);
  const TensorData data(training_images(dataset));
  const auto network = nn::make_network(kTinyNet, dataset.shape(), 3);
  train::TrainOptions options{.epochs = 3, .batch_size = 40};
  options.augmentation = augment::Strategy::parse("color_crop_cutout_flip_scale_rotate");
  options.cutmix_probability = 0.5;
  const auto trained = [&](std::uint64_t seed) {
    auto state = network->initialize(Rng(0));
    train::train(*network, state, data, options, Rng(seed));
    return state.parameters;
  };
  const auto reference = trained(7);
  CHECK(same_bits(trained(7), reference));
  CHECK_FALSE(same_bits(trained(8), reference));
  {
    const WithThreads two(2);
    CHECK(same_bits(trained(7), reference));
    std::vector<Tensors> together(3);
    parallel_tasks(3, [&](std::int64_t i) { together[std::size_t(i)] = trained(7); });
    for (const auto& parameters : together) CHECK(same_bits(parameters, reference));
  }
}

namespace {

/// Blank images; keeps the rows that were asked for, in order.
class RecordedRows : public train::TrainingData {
 public:
  explicit RecordedRows(std::int64_t size) : size_(size) {}
  std::int64_t size() const override { return size_; }
  LabelledImages batch(const Tensor& indices) const override {
    const auto* first = indices.const_data_ptr<std::int64_t>();
    asked_.insert(asked_.end(), first, first + indices.numel());
    return {at::zeros({indices.numel(), 1, 2, 2}),
            HardLabels{at::zeros({indices.numel()}, at::kLong)}};
  }
  const std::vector<std::int64_t>& asked() const { return asked_; }

 private:
  std::int64_t size_;
  mutable std::vector<std::int64_t> asked_;
};

}  // namespace

TEST_CASE("every epoch meets every row once, each row in every place equally often",
          "[train][shuffle]") {
  constexpr std::int64_t kRows = 80;
  constexpr std::int64_t kEpochs = 1250;
  const RecordedRows data(kRows);
  // With BatchNorm a batch is not cut into tasks, which makes this test faster.
  const auto network = nn::make_network("ConvNet-1-BN-w2", {1, 2, 2}, 2);
  auto state = network->initialize(Rng(0));
  train::train(*network, state, data, {.epochs = kEpochs, .batch_size = 50}, Rng(6));
  REQUIRE(data.asked().size() == kRows * kEpochs);
  std::vector<std::vector<std::int64_t>> places(kRows, std::vector<std::int64_t>(kRows));
  std::vector<std::int64_t> following(kRows);  // how far apart neighbours are, around the end
  for (std::int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    std::set<std::int64_t> met;
    for (std::int64_t place = 0; place < kRows; ++place) {
      const std::int64_t row = data.asked()[std::size_t(epoch * kRows + place)];
      met.insert(row);
      ++places[std::size_t(row)][std::size_t(place)];
    }
    REQUIRE(met.size() == kRows);
    const auto* order = data.asked().data() + epoch * kRows;
    ++following[std::size_t((order[1] - order[0] + kRows) % kRows)];
  }
  for (const auto& row : places) check_uniform(row);
  REQUIRE(following[0] == 0);
  check_uniform({following.begin() + 1, following.end()});
}

TEST_CASE("a training saved amid an epoch goes on with the same bits", "[train][resume]") {
  const auto dataset = separable_dataset(15, 1);  // 3 steps an epoch
  const auto network = nn::make_network(kTinyNet, dataset.shape(), dataset.num_classes());
  const train::DatasetData data(dataset, data::Split::Train);
  StopFlag stop;
  train::TrainOptions options{.epochs = 4, .lr = 0.05, .batch_size = 16};
  options.method = GENERATE(train::TrainOptions::Method::Sgd, train::TrainOptions::Method::AdamW);
  options.drops = {{.after_epoch = 1, .factor = 0.5, .reset_optimizer = true}, {.after_epoch = 2}};
  options.augmentation = augment::Strategy::parse("crop_flip");
  options.stop = &stop;

  auto whole = network->initialize(Rng(1));
  std::vector<train::EpochReport> reports;
  train::train(*network, whole, data, options, Rng(2), [&](const train::EpochReport& report) {
    reports.push_back(report);
    return true;
  });

  auto state = network->initialize(Rng(1));
  train::Training first(*network, data, options, Rng(2));
  first.epoch(state);
  std::int64_t steps = 0;
  CHECK_THROWS_AS(first.epoch(state,
                              [&](const train::StepReport&) {
                                if (++steps == 2) stop.request();
                              }),
                  Interrupted);
  CHECK(first.epochs_done() == 1);
  CHECK(first.steps_done() == 5);
  storage::StateWriter saved;
  first.save_state(saved);

  options.stop = nullptr;
  train::Training second(*network, data, options, Rng(2));
  second.load_state(storage::StateReader(saved), at::kCPU);
  while (!second.finished()) {
    const auto report = second.epoch(state);
    const auto& expected = reports[std::size_t(report.epoch)];
    CHECK(report.loss == expected.loss);
    CHECK(report.accuracy == expected.accuracy);
    CHECK(report.lr == expected.lr);
  }
  CHECK(second.steps_done() == 12);
  CHECK(same_bits(state.parameters, whole.parameters));
}

TEST_CASE("training stops when the caller says so", "[train][loop]") {
  auto s = small_setup(5);
  const auto steps =
      train::train(*s.network, s.state, TensorData(s.data), {.epochs = 10, .batch_size = 2}, Rng(0),
                   [](const train::EpochReport& r) { return r.epoch < 1; });
  CHECK(steps == 2 * 3);
}

TEST_CASE("a loss that is not finite is an error that says where", "[train][error]") {
  auto s = small_setup(5);
  s.data.images[4].fill_(std::numeric_limits<double>::quiet_NaN());
  const auto run = [&] {
    train::train(*s.network, s.state, TensorData(s.data),
                 {.epochs = 2, .batch_size = 2, .shuffle = false}, Rng(0));
  };
  CHECK_THROWS_WITH_TEXT(run(), NumericalError, "epoch 0, step 2: the training loss of ConvNet-1");
}

TEST_CASE("data that cannot be trained on is refused", "[train][error]") {
  auto s = small_setup(4);
  const HardLabels three{at::zeros({3}, at::kLong)};
  CHECK_THROWS_WITH_TEXT(TensorData({s.data.images, three}), ConfigError,
                         "found 4 images and 3 labels");
  const TensorData none({at::zeros({0, 1, 8, 8}), HardLabels{at::zeros({0}, at::kLong)}});
  CHECK_THROWS_WITH_TEXT(train::train(*s.network, s.state, none, {}, Rng(0)), ConfigError,
                         "holds 0 images");
  CHECK_THROWS_WITH_TEXT(
      train::train(*s.network, s.state, TensorData(s.data), {.batch_size = 0}, Rng(0)), ConfigError,
      "batch size >= 1, found 1 and 0");
  const HardLabels wrong_class{at::full({4}, 3, at::kLong)};
  CHECK_THROWS_WITH_TEXT(train::batch_gradient(*s.network, s.state, s.data.images, wrong_class),
                         ConfigError, "expected classes 0 .. 2, found 3");
  const SoftLabels narrow{at::zeros({4}, at::kLong), at::zeros({4, 2}), SoftLabels::Kind::Logit};
  CHECK_THROWS_WITH_TEXT(train::batch_gradient(*s.network, s.state, s.data.images, narrow),
                         ConfigError, "expected 3 values per image, found shape [4, 2]");
  CHECK_THROWS_WITH_TEXT(train::batch_gradient(*s.network, s.state, s.data.images, three),
                         ConfigError, "4 images and 3 targets");
  const auto dataset = separable_dataset(2, 0);
  CHECK_THROWS_WITH_TEXT(
      train::embed(*s.network, s.state, dataset, data::Split::Train, at::zeros({0}, at::kLong)),
      ConfigError, "at least one image");
}

TEST_CASE("CutMix boxes lie inside the image and weigh labels by what they replaced",
          "[train][cutmix]") {
  Rng rng(4);
  const Tensor images = rng.uniform_tensor({5, 2, 9, 6});
  const Tensor targets = at::eye(5);
  int with_box = 0;
  for (int i = 0; i < 200; ++i) {
    const auto mix = train::draw_cutmix(5, 9, 6, rng);
    REQUIRE(mix.row >= 0);
    REQUIRE(mix.col >= 0);
    REQUIRE(mix.row + mix.height <= 9);
    REQUIRE(mix.col + mix.width <= 6);
    const double replaced = double(mix.height * mix.width) / 54;
    CHECK(mix.kept == Approx(1 - replaced).epsilon(1e-12));
    with_box += replaced > 0 ? 1 : 0;
    Tensor mask = at::zeros({9, 6}, at::kBool);
    mask.narrow(0, mix.row, mix.height).narrow(1, mix.col, mix.width).fill_(true);
    const Tensor expected = at::where(mask, images.index_select(0, mix.partner), images);
    CHECK(train::mix_images(mix, images).equal(expected));
    const Tensor mixed = train::mix_targets(mix, targets);
    CHECK_CLOSE(mixed.sum(1), at::ones({5}), 1e-6);
  }
  CHECK(with_box > 100);
}

namespace {

constexpr std::int64_t kSide = 64;
constexpr std::int64_t kHalves = kSide / 2;

/// Probability of the half side `half` of a box in a square image: lambda ~ Beta(1,1), so
/// sqrt(1 - lambda) has the density 2 s, and int(64 s) / 2 takes the values 0 .. 31.
double share_of_half(std::int64_t half) {
  const double low = 2.0 * double(half) / kSide;
  const double high = 2.0 * double(half + 1) / kSide;
  return high * high - low * low;
}

/// First pixel and length of a side of the box, clipped to the image.
std::pair<std::int64_t, std::int64_t> clipped(std::int64_t half, std::int64_t center) {
  const std::int64_t begin = std::max<std::int64_t>(0, center - half);
  return {begin, std::min(kSide, center + half) - begin};
}

/// Cell of a side: every pair of first pixel and length has its own.
std::size_t cell_of_side(std::int64_t begin, std::int64_t length) {
  return std::size_t(begin * (kSide + 1) + length);
}
constexpr std::size_t kSideCells = kSide * (kSide + 1);

constexpr std::int64_t kAreaBins = 20;
std::size_t cell_of_area(std::int64_t area) {
  return std::size_t(area * kAreaBins / (kSide * kSide + 1));
}

/// Cell of the middle of a box: which of 8 x 8 fields of the image it lies in.
std::size_t cell_of_middle(const std::pair<std::int64_t, std::int64_t>& rows,
                           const std::pair<std::int64_t, std::int64_t>& cols) {
  const auto eighth = [](const auto& side) {
    return std::min<std::int64_t>(7, (side.first + side.second / 2) * 8 / kSide);
  };
  return std::size_t(eighth(rows) * 8 + eighth(cols));
}

/// What boxes have in common, by cells: shares of the law, or counts of draws.
template <class Number>
struct BoxCells {
  std::vector<Number> rows = std::vector<Number>(kSideCells);
  std::vector<Number> cols = std::vector<Number>(kSideCells);
  std::vector<Number> areas = std::vector<Number>(kAreaBins);
  std::vector<Number> middles = std::vector<Number>(64);

  void add(const std::pair<std::int64_t, std::int64_t>& row_side,
           const std::pair<std::int64_t, std::int64_t>& col_side, Number amount) {
    rows[cell_of_side(row_side.first, row_side.second)] += amount;
    cols[cell_of_side(col_side.first, col_side.second)] += amount;
    areas[cell_of_area(row_side.second * col_side.second)] += amount;
    middles[cell_of_middle(row_side, col_side)] += amount;
  }
};

/// All half sides and both centres, each with its probability.
BoxCells<double> law_of_boxes() {
  BoxCells<double> law;
  for (std::int64_t half = 0; half < kHalves; ++half) {
    const double share = share_of_half(half) / double(kSide * kSide);
    for (std::int64_t row = 0; row < kSide; ++row) {
      for (std::int64_t col = 0; col < kSide; ++col) {
        law.add(clipped(half, row), clipped(half, col), share);
      }
    }
  }
  return law;
}

}  // namespace

TEST_CASE("CutMix boxes follow Beta(1,1) in area and uniform centres, partners any permutation",
          "[train][cutmix]") {
  constexpr int kDraws = 100000;
  const BoxCells<double> law = law_of_boxes();
  BoxCells<std::int64_t> drawn;
  std::map<std::vector<std::int64_t>, std::int64_t> partners;
  Rng rng(5);
  for (int i = 0; i < kDraws; ++i) {
    const auto mix = train::draw_cutmix(3, kSide, kSide, rng);
    drawn.add({mix.row, mix.height}, {mix.col, mix.width}, 1);
    const auto* partner = mix.partner.const_data_ptr<std::int64_t>();
    ++partners[{partner, partner + 3}];
  }
  check_shares(drawn.rows, law.rows);
  check_shares(drawn.cols, law.cols);
  check_shares(drawn.areas, law.areas);
  check_shares(drawn.middles, law.middles);
  REQUIRE(partners.size() == 6);
  std::vector<std::int64_t> counts;
  for (const auto& [order, count] : partners) counts.push_back(count);
  check_uniform(counts);
}

TEST_CASE("with CutMix the loss is the mix of both labels' losses", "[train][cutmix]") {
  const auto s = small_setup(6);
  auto state = s.state.detached_clone();
  train::Sgd sgd(0, 0);
  train::TrainOptions options;
  options.cutmix_probability = 1;
  const Rng rng(9);
  const auto report = train::train_step(*s.network, state, sgd, 0.1, s.data, options, rng);

  Rng stream = rng.child("cutmix");
  stream.uniform();
  const auto mix = train::draw_cutmix(6, 8, 8, stream);
  REQUIRE(mix.kept < 1);
  const Tensor images = train::mix_images(mix, s.data.images);
  const Tensor own = at::one_hot(data::hard_classes(s.data.labels), 3).to(at::kDouble);
  const double loss_own = textbook_gradient(s, images, own).first;
  const double loss_partner = textbook_gradient(s, images, own.index_select(0, mix.partner)).first;
  CHECK(report.loss == Approx(mix.kept * loss_own + (1 - mix.kept) * loss_partner).epsilon(1e-12));
}

TEST_CASE("embeddings come in the order of the indices", "[train][embed]") {
  const auto dataset = separable_dataset(20, 1);
  const auto network = nn::make_network(kTinyNet, dataset.shape(), 3);
  const auto state = network->initialize(Rng(0));
  const Tensor rows = at::arange(40, at::kLong).flip(0);
  const Tensor features = train::embed(*network, state, dataset, data::Split::Test, rows);
  const Tensor images = dataset.batch(data::Split::Test, rows);
  CHECK_CLOSE(features, network->forward(state, images).embedding, 1e-5);
  CHECK_FALSE(features.requires_grad());
}

TEST_CASE("a tiny network learns separable images", "[train][learning]") {
  const auto dataset = separable_dataset(20, 3);
  const auto network = nn::make_network(kTinyNet, dataset.shape(), 3);
  auto state = network->initialize(Rng(0));
  train::EpochReport first;
  train::EpochReport last;
  train::train(*network, state, train::DatasetData(dataset, data::Split::Train),
               {.epochs = 15, .lr = 0.05, .batch_size = 16}, Rng(0),
               [&](const train::EpochReport& report) {
                 if (report.epoch == 0) first = report;
                 last = report;
                 return true;
               });
  CHECK(first.accuracy < 0.9);
  CHECK(last.accuracy > 0.95);
  CHECK(last.loss < 0.5 * first.loss);
}
