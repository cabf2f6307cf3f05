#include "methods/divergence.h"

#include <cmath>

#include "lib/core/rng.h"
#include "lib/core/str.h"
#include "lib/storage/state_file.h"
#include "tests/methods/scripted.h"

using namespace retort;
using namespace retort::methods;
using namespace retort::methods::scripted;
using data::Preprocessing;
using retort::testing::small_method;

namespace {

double largest(const Tensor& images) { return images.abs().max().item<double>(); }

}  // namespace

TEST_CASE("the largest pixel is black or white, whichever is further from the mean",
          "[methods][divergence]") {
  CHECK(largest_pixel(Preprocessing::mean_std({0.25}, {0.5})) == Approx(1.5));    // white
  CHECK(largest_pixel(Preprocessing::mean_std({0.75}, {0.125})) == Approx(6.0));  // black
  CHECK(largest_pixel(Preprocessing::mean_std({0.5, 0.5}, {0.25, 0.001})) == Approx(500));
  CHECK(largest_pixel(Preprocessing::identity(3)) == 1);
  CHECK(largest_pixel(Preprocessing::mean_std({0}, {100})) == 1);  // images that all but vanish
  const auto p = Preprocessing::mean_std({0.1, 0.6, 0.3}, {0.2, 0.3, 0.4});
  const Tensor extremes =
      at::tensor({0.0, 1.0}, at::kDouble).view({2, 1, 1, 1}).repeat({1, 3, 1, 1});
  CHECK(largest_pixel(p) == Approx(largest(p.apply(extremes))));
}

TEST_CASE("no image exceeds the largest pixel of whitening", "[methods][divergence]") {
  const Tensor images = Rng(1).uniform_tensor({40, 3, 2, 3}).to(at::kDouble);
  const auto p = Preprocessing::zca(data::fit_zca(images, 1e-3));
  CHECK(largest(p.apply(images)) <= largest_pixel(p));
  // The worst image for one value: white where the matrix is positive, black elsewhere.
  const Tensor whiten = p.zca_matrices().whiten;
  const Tensor worst = (whiten.t() > 0).to(at::kDouble).view({18, 3, 2, 3});
  CHECK(largest(p.apply(worst)) <= largest_pixel(p));
  CHECK(largest(p.apply(worst)) > largest_pixel(p) / 4);
}

TEST_CASE("the limit is 10000 times the largest pixel", "[methods][divergence]") {
  CHECK(divergence_limit(Preprocessing::identity(1)) == 10000);
  CHECK(divergence_limit(Preprocessing::mean_std({0.75}, {0.125})) == Approx(60000));
}

TEST_CASE("numbers that are not finite stop the run with what, when and the checkpoint kept",
          "[methods][driver]") {
  const Folder folder;
  Scripted method;
  DriverOptions options = folder.options();
  options.checkpoint_every = 2;
  std::string text;
  SECTION("a loss") {
    method.nan_at = 3;
    text = "the loss is nan at iteration 3; the checkpoint of iteration 2";
  }
  SECTION("another column of the metrics") {
    method.nan_column_at = 3;
    text = "sum is nan at iteration 3; the checkpoint of iteration 2";
  }
  SECTION("images at a checkpoint") {
    method.nan_images_at = 2;
    text = "the synthetic images are not finite after 4 iterations; the checkpoint of iteration 2";
  }
  SECTION("images at the end") {
    method.nan_images_at = 4;
    options.checkpoint_every = 4;
    text = "the synthetic images are not finite after 6 iterations; the checkpoint of iteration 4";
  }
  CHECK_THROWS_WITH_TEXT(drive(method, options), NumericalError, text);
  CHECK(std::filesystem::exists(folder.run.checkpoint()));
  CHECK_FALSE(std::filesystem::exists(folder.run.set()));
  CHECK(read_text(folder.run.log()).find("error: " + text) != std::string::npos);
}

TEST_CASE("images beyond the limit stop the run before they reach a file", "[methods][driver]") {
  const Folder folder;
  const double limit = divergence_limit(shapes().preprocessing());
  StopFlag stop;
  Scripted method;
  method.stop = &stop;
  DriverOptions options = folder.options();
  options.checkpoint_every = 2;
  std::string text;
  std::string kept = "the checkpoint of iteration 4 is kept in " + folder.run.checkpoint().string();
  SECTION("at the end") {
    method.unit = 1.01 * limit / 15;  // 0 + 1 + ... + 5
    text = "the synthetic images have diverged after 6 iterations: the largest preprocessed value";
    options.checkpoint_every = 4;
  }
  SECTION("at a checkpoint") {
    method.unit = 1.01 * limit / 6;  // 0 + 1 + 2 + 3
    text = "the synthetic images have diverged after 4 iterations: the largest preprocessed value";
    kept = "the checkpoint of iteration 2 is kept in " + folder.run.checkpoint().string();
  }
  SECTION("when it is asked to stop") {
    method.unit = 1.01 * limit / 10;  // 0 + 1 + ... + 4
    method.stop_at = 4;
    text = "the synthetic images have diverged after 5 iterations: the largest preprocessed value";
  }
  CHECK_THROWS_WITH_TEXT(drive(method, options, stop), NumericalError, text);
  const std::string log = read_text(folder.run.log());
  CHECK(log.find("error: " + text) != std::string::npos);
  CHECK(log.find(str(", the limit ", limit, ", ")) != std::string::npos);
  CHECK(log.find(kept) != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder.run.set()));
  const std::int64_t last_good = storage::StateReader(folder.run.checkpoint()).integer("sum");
  CHECK(method.unit * double(last_good) < limit);
}

TEST_CASE("images that are large but within the limit are no divergence", "[methods][driver]") {
  const Folder folder;
  const double limit = divergence_limit(shapes().preprocessing());
  SECTION("just below it") {
    Scripted method;
    method.unit = 0.99 * limit / 15;
    DriverOptions options = folder.options();
    options.checkpoint_every = 1;
    CHECK(first_pixel(drive(method, options).set) == Approx(0.99 * limit));
  }
  SECTION("noise at a step size a thousand times the published one") {
    const auto method = small_method("dm", "6", {{"lr-images", "1000"}, {"init", "noise"}});
    const data::SyntheticSet set = drive(*method, folder.options()).set;
    CHECK(set.images.abs().max().item<double>() > 2 * largest_pixel(shapes().preprocessing()));
  }
}

TEST_CASE("a step size that drives pixels away stops a run whose losses are all finite",
          "[methods][driver]") {
  const Folder folder;
  const auto wild = small_method("dm", "6", {{"lr-images", "1e10"}});
  DriverOptions options = folder.options();
  options.config_text = str(kConfig, "lr-images = 1e10\n");

  SECTION("nothing good was there") {
    CHECK_THROWS_WITH_TEXT(drive(*wild, options), NumericalError, "no checkpoint had been made");
    CHECK_FALSE(std::filesystem::exists(folder.run.checkpoint()));
    CHECK_FALSE(std::filesystem::exists(folder.run.set()));
  }
  SECTION("a good checkpoint and a good set stay to the byte") {
    options.out = folder.root / "copy.h5";
    options.time_budget_seconds = 1e-9;
    // A sound first iteration, then the same run at a step size that is not.
    REQUIRE(drive(*small_method("dm", "6"), options).iterations == 1);
    const std::vector<std::filesystem::path> good{folder.run.checkpoint(), folder.run.set(),
                                                  *options.out};
    std::vector<std::string> before;
    for (const auto& path : good) before.push_back(read_text(path));
    options.resume = true;
    options.time_budget_seconds = 0;
    SECTION("at the end") {}
    SECTION("at every checkpoint") { options.checkpoint_every = 1; }
    CHECK_THROWS_WITH_TEXT(drive(*wild, options), NumericalError, "the checkpoint of iteration 1");
    for (std::size_t i = 0; i < good.size(); ++i) {
      INFO(good[i].string());
      CHECK(read_text(good[i]) == before[i]);
    }
  }
  const std::string log = read_text(folder.run.log());
  CHECK(log.find("the synthetic images have diverged after ") != std::string::npos);
  CHECK(log.find("try a new run with a smaller --lr-images, it was 1e10") != std::string::npos);
}

TEST_CASE("what a set may not hold is named, and nothing of a sound one", "[methods][divergence]") {
  const auto sound = [] {
    data::SyntheticSet set;
    set.images = at::ones({2, 1, 2, 2});
    set.labels =
        data::SoftLabels{.classes = at::zeros({2}, at::kLong), .values = at::zeros({2, 3})};
    set.learned_lr = 0.01;
    return set;
  };
  CHECK(divergence(sound(), 10, 5).empty());
  auto set = sound();
  set.images[1][0][0][0] = 11;
  CHECK(divergence(set, 10, 5) ==
        "the synthetic images have diverged after 5 iterations: the largest preprocessed value is "
        "11, the limit 10, 10000 times what real pixels can have");
  set.images[1][0][0][0] = std::nan("");
  CHECK(divergence(set, 10, 5) == "the synthetic images are not finite after 5 iterations");
  set = sound();
  set.parameters = {{"canvas", at::full({1}, HUGE_VAL)}};
  CHECK(divergence(set, 10, 5) == "the canvas are not finite after 5 iterations");
  set = sound();
  std::get<data::SoftLabels>(set.labels).values[0][0] = HUGE_VAL;
  CHECK(divergence(set, 10, 5) == "the labels are not finite after 5 iterations");
  set = sound();
  set.learned_lr = std::nan("");
  CHECK(divergence(set, 10, 5) == "the learned step size is nan at iteration 5");
}
