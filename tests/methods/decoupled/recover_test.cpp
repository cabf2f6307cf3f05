#include "methods/decoupled/recover.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/data/pixels.h"
#include "lib/storage/set_file.h"
#include "lib/storage/teacher_file.h"
#include "lib/synth/parametrization.h"
#include "lib/train/teachers.h"
#include "lib/vision/vision.h"
#include "methods/decoupled/curriculum.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"
#include "tests/support/threads.h"

using namespace retort;
using namespace retort::methods;
using namespace retort::methods::decoupled;
using retort::testing::shapes;
using retort::testing::small_method;

namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;

RunContext context(std::int64_t ipc, const data::ImageDataset& dataset = shapes()) {
  return {.dataset = dataset, .ipc = ipc, .rng = Rng(3)};
}

std::unique_ptr<DistillationMethod> begun(const std::string& name, std::int64_t ipc,
                                          const Settings& settings = {}) {
  auto method = small_method(name, "4", settings);
  RunContext run = context(ipc);
  method->initialize(run);
  return method;
}

data::SyntheticSet run_whole(const std::string& name, std::int64_t ipc,
                             const Settings& settings = {}) {
  const auto method = begun(name, ipc, settings);
  for (std::int64_t i = 0; i < method->iterations(); ++i) method->update(i);
  data::SyntheticSet set = method->snapshot();
  set.preprocessing = shapes().preprocessing();
  return set;
}

void check_refused(const std::string& name, const Settings& settings, const std::string& reason,
                   std::int64_t ipc = 2, const data::ImageDataset& dataset = shapes()) {
  const auto method = small_method(name, "4", settings);
  RunContext run = context(ipc, dataset);
  CHECK_THROWS_WITH_TEXT(method->check(run), ConfigError, reason);
}

const std::vector<std::string> kPixelMethods = {"sre2l", "cda", "sc-dd", "lpld", "cv-dd"};
const Settings kEverything = {{"crop-area", "0.3"}, {"curriculum", "cosine"}, {"flip", "coin"},
                              {"roll", "2"},        {"tv", "1e-3"},           {"l2", "1e-3"}};

}  // namespace

TEST_CASE("images of a run are those of runs of their own", "[methods][decoupled]") {
  Settings settings = kEverything;
  settings.emplace_back("batch-images", "3");
  const Tensor many = run_whole("sre2l", 3, settings).images;
  const Tensor one = run_whole("sre2l", 1, settings).images;
  const std::int64_t classes = shapes().num_classes();
  CHECK(at::equal(many.view({classes, 3, -1}).select(1, 0), one.view({classes, -1})));
}

TEST_CASE("recovered images do not depend on the number of threads", "[methods][decoupled]") {
  for (const std::string name : {"sre2l", "cv-dd", "infer"}) {
    // Of 5 images and more one thread asks about some batches after the others.
    for (const std::int64_t ipc : {1, 2, 5}) {
      if (name == "infer" && ipc == 1) continue;  // has no room
      INFO(name << ", " << ipc);
      const auto bits = [&](int threads) {
        const testing::WithThreads with(threads);
        const auto set = run_whole(name, ipc, kEverything);
        return at::cat({synth::decode(set).images.flatten(), set.images.flatten()});
      };
      const Tensor one = bits(1);
      CHECK(at::equal(one, bits(2)));
      CHECK(at::equal(one, bits(5)));
    }
  }
}

TEST_CASE("recovered images are those of 8-bit pixels and are stored as such",
          "[methods][decoupled]") {
  const testing::TemporaryFolder folder("retort-recover");
  for (const std::string& name : kPixelMethods) {
    INFO(name);
    const auto set = run_whole(name, 2);
    CHECK(set.from_bytes);
    CHECK(at::equal(set.preprocessing.apply(data::exact_bytes(set.preprocessing, set.images)),
                    set.images));
    const auto path = folder.path() / (name + ".h5");
    storage::write_set(path, set);
    CHECK(at::equal(storage::read_set(path).images, set.images));
    CHECK(storage::stored_bytes(path).images == std::uint64_t(set.images.numel()));
  }
}

TEST_CASE("recovering makes its losses smaller", "[methods][decoupled]") {
  for (const std::string name : {"sre2l", "cda", "lpld", "cv-dd", "infer"}) {
    INFO(name);
    const auto method = begun(name, 2, {{"iterations", "40"}, {"lr-images", "0.1"}});
    std::vector<double> losses;
    for (std::int64_t i = 0; i < 40; ++i) losses.push_back(method->update(i).loss);
    CHECK(losses.back() < 0.8 * losses.front());
  }
}

TEST_CASE("metrics name the losses, the step size and the smallest crop", "[methods][decoupled]") {
  const auto method = begun("cda", 1);
  const UpdateReport report = method->update(0);
  const std::map<std::string, double> columns(report.columns.begin(), report.columns.end());
  CHECK(columns.at("smallest_area") == 1);
  CHECK(columns.at("lr") == Approx(0.1));
  CHECK(columns.at("prior") == 0);
  CHECK(report.loss == Approx(columns.at("cross_entropy") + 0.05 * columns.at("batch_norm")));
  const auto later = method->update(3).columns;
  CHECK(std::map<std::string, double>(later.begin(), later.end()).at("smallest_area") ==
        Approx(Curriculum{.lowest = 0.08, .milestone = 1}.smallest_area(3, 4)));
}

TEST_CASE("a committee of one teacher is that teacher", "[methods][decoupled]") {
  const Settings alone = {{"teacher-names", "1"}};
  Settings all = alone;
  all.emplace_back("committee", "all");
  Settings in_turn = alone;
  in_turn.emplace_back("committee", "round-robin");
  const Tensor expected = run_whole("sre2l", 2, alone).images;
  CHECK(at::equal(run_whole("sre2l", 2, all).images, expected));
  CHECK(at::equal(run_whole("sre2l", 2, in_turn).images, expected));
}

TEST_CASE("every teacher of a committee counts, by its prior", "[methods][decoupled]") {
  const auto images = [](const std::string& priors) {
    return run_whole("cv-dd", 1, {{"committee", "all"}, {"priors", priors}}).images;
  };
  CHECK_FALSE(at::equal(images("90,50,50"), images("50,90,50")));
  // So far ahead that the others say nothing.
  const Tensor alone =
      run_whole("cv-dd", 1, {{"committee", "single"}, {"teacher-names", "2"}}).images;
  CHECK(at::equal(
      run_whole("cv-dd", 1,
                {{"committee", "all"}, {"priors", "0,0,100"}, {"vote-temperature", "0.1"}})
          .images,
      alone));
}

TEST_CASE("priors that nobody gave are measured on training images, before the first step",
          "[methods][decoupled]") {
  const auto committee = train::load_committee(testing::small_committee(), {}, shapes());
  const auto known = train::measured_knowledge(committee, shapes());
  const Settings all = {{"committee", "all"}};
  Settings given = all;
  given.emplace_back("priors", join(known.percent, ","));
  CHECK(at::equal(run_whole("cv-dd", 1, all).images, run_whole("cv-dd", 1, given).images));
  CHECK_THAT(begun("cv-dd", 1, all)->assets().at(0).note,
             Catch::Matchers::Contains("; priors " + join(known.percent) + " measured on " +
                                       std::to_string(known.images) + " training images"));
  CHECK_THAT(begun("cv-dd", 1, given)->assets().at(0).note, !Catch::Matchers::Contains("measured"));
}

TEST_CASE("what teachers reach on the test split decides nothing", "[methods][decoupled]") {
  const testing::TemporaryFolder folder("retort-recover-accuracy");
  const auto images = [&](const std::vector<double>& accuracies) {
    const storage::TeacherReader reader(testing::small_committee());
    std::vector<storage::Teacher> teachers;
    for (std::int64_t i = 0; i < reader.count(); ++i) {
      teachers.push_back(reader.teacher(i));
      teachers.back().accuracy = accuracies[std::size_t(i)];
    }
    const auto path = (folder.path() / "t.h5").string();
    storage::write_teachers(path, storage::TrainedOn::of(shapes()), teachers);
    return run_whole("cv-dd", 1, {{"teachers", path}}).images;
  };
  const Tensor expected = images({90, 50, 10});
  CHECK(at::equal(images({10, 50, 90}), expected));
  CHECK(at::equal(images({std::nan(""), 50, 90}), expected));
}

TEST_CASE("a run goes on with the priors that it measured", "[methods][decoupled][resume]") {
  const Settings settings = {{"committee", "all"}, {"vote-temperature", "0.5"}};
  const Tensor expected = run_whole("cv-dd", 1, settings).images;
  const auto first = begun("cv-dd", 1, settings);
  first->update(0);
  storage::StateWriter state;
  first->save_state(state);
  const storage::StateReader saved(state);
  const auto committee = train::load_committee(testing::small_committee(), {}, shapes());
  const auto known = train::measured_knowledge(committee, shapes());
  CHECK(at::equal(saved.tensor("knowledge/percent"), at::tensor(known.percent, at::kDouble)));

  const auto second = small_method("cv-dd", "4", settings);
  RunContext run = context(1);
  second->load_state(run, saved);
  for (std::int64_t i = 1; i < 4; ++i) second->update(i);
  CHECK(at::equal(second->snapshot().images, expected));
  CHECK(second->assets().at(0).note == first->assets().at(0).note);
  // The state's, not new ones.
  state.tensor("knowledge/percent", at::tensor({1.0, 2.0, 3.0}, at::kDouble));
  const auto third = small_method("cv-dd", "4", settings);
  third->load_state(run, storage::StateReader(state));
  CHECK_THAT(third->assets().at(0).note, Catch::Matchers::Contains("; priors 1, 2, 3 measured on"));
}

TEST_CASE("balanced statistics are as far from every teacher at the start",
          "[methods][decoupled]") {
  const auto batch_norm = [](const std::string& priors, bool balanced) {
    // So far ahead that one teacher says all.
    const auto columns = begun("sre2l", 1,
                               {{"teacher-names", "0,1,2"},
                                {"committee", "all"},
                                {"priors", priors},
                                {"vote-temperature", "0.1"},
                                {"roll", "0"},
                                {"balance-statistics", balanced ? "true" : "false"}})
                             ->update(0)
                             .columns;
    return std::map<std::string, double>(columns.begin(), columns.end()).at("batch_norm");
  };
  const double first = batch_norm("100,0,0", false);
  CHECK(batch_norm("100,0,0", true) == Approx(first));
  CHECK(batch_norm("0,100,0", false) != Approx(first).epsilon(0.05));
  CHECK(batch_norm("0,100,0", true) == Approx(first));
  CHECK(batch_norm("0,0,100", true) == Approx(first));
}

TEST_CASE("a run with balanced statistics goes on with its scales",
          "[methods][decoupled][resume]") {
  const Settings settings = {{"balance-statistics", "true"}};
  const Tensor expected = run_whole("cv-dd", 2, settings).images;
  const auto first = begun("cv-dd", 2, settings);
  first->update(0);
  storage::StateWriter state;
  first->save_state(state);
  const auto second = small_method("cv-dd", "4", settings);
  RunContext run = context(2);
  second->load_state(run, storage::StateReader(state));
  for (std::int64_t i = 1; i < 4; ++i) second->update(i);
  CHECK(at::equal(second->snapshot().images, expected));
}

TEST_CASE("mosaics that are stored as JPEG files start as such", "[methods][decoupled]") {
  const auto start = [](const std::string& store) {
    storage::StateWriter state;
    begun("cv-dd", 2, {{"store", store}})->save_state(state);
    return data::exact_bytes(shapes().preprocessing(),
                             storage::StateReader(state).tensor("values"));
  };
  const Tensor lossless = start("lossless");
  const Tensor jpeg = start("jpeg75");
  CHECK_FALSE(at::equal(jpeg, lossless));
  CHECK(at::equal(jpeg, vision::through_jpeg(lossless, 75)));
}

TEST_CASE("what excludes each other is refused with the reason", "[methods][decoupled]") {
  check_refused("sre2l", {{"statistics", "class"}}, "needs images of that class alone");
  check_refused("lpld", {{"committee", "pairs"}}, "pairs belong to places in a class");
  check_refused("sre2l", {{"teacher-names", ""}},
                "found 3: 0 (ConvNet-2-BN-w8), 1 (ConvNet-1-BN-w8), 2 (ConvNet-2-BN-w4)");
  check_refused("cv-dd", {{"priors", "50,60"}}, "expected one per teacher, 3, found 50, 60");
  check_refused("cv-dd", {{"teacher-names", "0"}}, "needs 2 teachers or more, found 1");
  check_refused("cv-dd", {{"pair", "0,1"}}, "is of one image per class, found ipc 2");
  check_refused("cv-dd", {{"pair", "0"}}, "expected two teachers, found 0", 1);
  check_refused("cv-dd", {{"pair", "0,R18m"}}, "no teacher of this run is 'R18m'", 1);
  check_refused("cda", {{"crop-area", "0.4"}, {"curriculum-start", "0.3"}},
                "curriculum-start 0.3 with crop-area 0.4");
  check_refused("infer", {}, "ipc 1 of 4 classes has no room for the 3 compensators", 1);
  check_refused("sre2l", {}, "whitened ones do not have", 2,
                shapes().with_preprocessing(data::Preprocessing::zca(
                    data::fit_zca(shapes().batch(data::Split::Train, at::arange(50)).sigmoid()))));
}

TEST_CASE("whoever has no teachers is told how to make them", "[methods][decoupled]") {
  check_refused("sc-dd", {{"teachers", ""}, {"teacher-names", ""}},
                "--nets ConvNet-3-BN --dataset shapes --out teachers.h5");
  const auto method = small_method("sre2l", "4", {{"teachers", ""}, {"teacher-names", ""}});
  RunContext run = context(2);
  CHECK_NOTHROW(method->check(run));  // somebody may make them
  CHECK_THROWS_WITH_TEXT(
      method->initialize(run), ConfigError,
      "retort teachers --recipe sgd --nets ConvNet-3-BN --dataset shapes --out teachers.h5");
  check_refused("sre2l", {{"teachers", "nowhere.h5"}}, "there is no file 'nowhere.h5'");
}

TEST_CASE("teachers need what is asked of them", "[methods][decoupled]") {
  const testing::TemporaryFolder folder("retort-recover-teachers");
  const auto write = [&](const std::string& name, storage::Teacher teacher) {
    const auto path = (folder.path() / name).string();
    storage::write_teachers(path, storage::TrainedOn::of(shapes()), {teacher});
    return path;
  };
  storage::Teacher known = storage::TeacherReader(testing::small_committee()).teacher(0);
  known.class_statistics.clear();
  const std::string bare = write("bare.h5", known);
  check_refused(
      "lpld", {{"teachers", bare}},
      "has none of every class; `retort teachers --dataset NAME --out FILE --statistics-only "
      "--class-statistics ema`");

  const auto network = nn::make_network("ConvNet-2-w4", shapes().shape(), shapes().num_classes());
  const std::string plain =
      write("plain.h5", train::as_teacher(*network, network->initialize(Rng(1))));
  check_refused("sre2l", {{"teachers", plain}}, "has no BatchNorm whose statistics");
  const auto method = small_method("sre2l", "4", {{"teachers", plain}, {"r-bn", "0"}});
  RunContext run = context(1);
  CHECK_NOTHROW(method->check(run));
}

TEST_CASE("a run goes on with the teachers that it began with", "[methods][decoupled][resume]") {
  const auto first = begun("sre2l", 1);
  storage::StateWriter state;
  first->save_state(state);
  const auto other = small_method("sre2l", "4", {{"teacher-names", "1"}});
  RunContext run = context(1);
  CHECK_THROWS_WITH_TEXT(other->load_state(run, storage::StateReader(state)), ConfigError,
                         "this run began with others");
}

TEST_CASE("statistics of classes that were taken again are named where a run goes by them",
          "[methods][decoupled][resume]") {
  const testing::TemporaryFolder folder("retort-recover-statistics");
  const auto path = (folder.path() / "t.h5").string();
  storage::Teacher teacher = storage::TeacherReader(testing::small_committee()).teacher(0);
  const auto write = [&] {
    storage::write_teachers(path, storage::TrainedOn::of(shapes()), {teacher});
  };
  const Settings settings = {{"teachers", path}, {"teacher-names", ""}};
  const auto state_of = [&](const std::string& name) {
    const auto method = begun(name, 1, settings);
    storage::StateWriter state;
    method->save_state(state);
    return storage::StateReader(state);
  };
  const auto resume = [&](const std::string& name, const storage::StateReader& state) {
    RunContext run = context(1);
    small_method(name, "4", settings)->load_state(run, state);
  };
  write();
  const auto by_class = state_of("lpld");
  const auto by_all = state_of("sre2l");
  CHECK_NOTHROW(resume("lpld", by_class));
  teacher.class_statistics[0].value = teacher.class_statistics[0].value + 1;
  write();
  CHECK_THROWS_WITH_TEXT(resume("lpld", by_class), ConfigError,
                         "this run began with other statistics of classes of the same networks");
  CHECK_NOTHROW(resume("sre2l", by_all));
}

TEST_CASE("a stopped iteration has not happened", "[methods][decoupled][resume]") {
  StopFlag stop;
  auto method = small_method("sre2l");
  RunContext run = context(2);
  run.stop = &stop;
  method->initialize(run);
  const Tensor before = method->snapshot().images;
  stop.request();
  CHECK_THROWS_AS(method->update(0), Interrupted);
  CHECK(at::equal(method->snapshot().images, before));
}

TEST_CASE("a set names the teachers it was recovered from", "[methods][decoupled]") {
  const auto assets = begun("cv-dd", 1)->assets();
  REQUIRE(assets.size() == 1);
  CHECK(assets[0].role == "teachers");
  CHECK(assets[0].count == 3);
}

TEST_CASE("what recovering costs follows teachers, images and copies", "[methods][decoupled]") {
  const auto cost = [](const std::string& name, const Settings& settings, std::int64_t ipc) {
    const testing::WithThreads with(1);
    const Flops work = small_method(name, "4", settings)->work(context(ipc)).per_iteration;
    return work.fused + work.layered + work.plain;
  };
  const double one = cost("sre2l", {}, 2);
  CHECK(one > 0);
  CHECK(cost("sre2l", {}, 4) == Approx(2 * one));
  CHECK(cost("sre2l", {{"flip", "both"}}, 2) == Approx(2 * one));
  const double second = cost("sre2l", {{"teacher-names", "1"}}, 2);
  CHECK(cost("cv-dd", {{"teacher-names", "0,1"}}, 2) == Approx(one + second));
  CHECK(cost("cv-dd", {{"teacher-names", "0,1"}, {"committee", "round-robin"}}, 2) ==
        Approx((one + second) / 2));
  // Without a file networks may be named, as in presets.
  const Settings named = {{"teachers", ""}, {"teacher-names", "ConvNet-2-BN-w8"}};
  CHECK(cost("sre2l", named, 2) == Approx(one));
  const Settings made = {
      {"teachers", ""}, {"teacher-names", "1"}, {"make-teachers", "R18m,ConvNet-2-BN-w8"}};
  CHECK(cost("sre2l", made, 2) == Approx(one));
}

TEST_CASE("an image more takes memory for itself, its moments and its gradient",
          "[methods][decoupled]") {
  const auto memory = [](const std::string& name, std::int64_t ipc, const Settings& settings) {
    const testing::WithThreads with(1);
    return small_method(name, "4", settings)->work(context(ipc)).memory_bytes;
  };
  const data::ImageShape shape = shapes().shape();
  const double image = 4.0 * double(shape.channels * shape.height * shape.width);
  const double classes = double(shapes().num_classes());
  // However many batches there are, teachers are asked about some at a time.
  CHECK(memory("sre2l", 30, {}) - memory("sre2l", 20, {}) == Approx(4 * 10 * classes * image));
  CHECK(memory("cv-dd", 30, {}) - memory("cv-dd", 20, {}) == Approx(4 * 10 * classes * image));
}

TEST_CASE("the preparation of a committee is to look for crops, and for priors that are open",
          "[methods][decoupled]") {
  const auto setup = [](Settings settings) {
    settings.emplace_back("teacher-names", "0,1");
    const Flops work = small_method("cv-dd", "4", settings)->work(context(2)).setup;
    return work.fused + work.layered + work.plain;
  };
  const double first = setup({{"priors", "2,1"}});
  const double second = setup({{"priors", "1,2"}});
  CHECK(first != second);
  const Settings plain = {{"init", "gaussian"}};
  CHECK(setup({{"init", "gaussian"}, {"priors", "1,2"}}) == 0);
  CHECK(setup(plain) > 0);
  CHECK(setup({}) == Approx(setup(plain) + std::max(first, second)));
}

TEST_CASE("threads without a batch and a teacher make recovering no faster",
          "[methods][decoupled]") {
  const auto cost = [](const std::string& name, const Settings& settings, std::int64_t ipc,
                       int threads) {
    const testing::WithThreads with(threads);
    const Flops work = small_method(name, "4", settings)->work(context(ipc)).per_iteration;
    return work.fused + work.layered + work.plain;
  };
  // One batch of all classes, two of two, one per class, and three teachers with two places each.
  CHECK(cost("sre2l", {}, 1, 4) == Approx(4 * cost("sre2l", {}, 1, 1)));
  CHECK(cost("sre2l", {{"batch-images", "2"}}, 1, 4) ==
        Approx(2 * cost("sre2l", {{"batch-images", "2"}}, 1, 1)));
  CHECK(cost("lpld", {}, 2, 4) == Approx(cost("lpld", {}, 2, 1)));
  // What each of three teachers says of the one batch of all classes.
  const Settings all = {{"committee", "all"}};
  CHECK(cost("cv-dd", all, 1, 3) == Approx(cost("cv-dd", all, 1, 1)));
  CHECK(cost("cv-dd", all, 1, 6) == Approx(2 * cost("cv-dd", all, 1, 1)));
  CHECK(cost("infer", {}, 4, 12) == Approx(2 * cost("infer", {}, 4, 1)));
}

TEST_CASE("teachers that nobody gave are asked for, by the recipe of the method",
          "[methods][decoupled]") {
  const auto needed = [](const std::string& name, Settings settings) {
    settings.insert(settings.begin(), {{"teachers", ""}, {"teacher-names", ""}});
    return small_method(name, "4", settings)->prerequisites().teachers;
  };
  CHECK_FALSE(small_method("sre2l", "4")->prerequisites().teachers);
  CHECK_FALSE(needed("sc-dd", {}));
  const auto one = needed("sre2l", {{"make-epochs", "3"}, {"make-settings", "lr=0.2"}});
  REQUIRE(one);
  CHECK(one->recipe == "sgd");
  CHECK(one->nets == std::vector<std::string>{"ConvNet-3-BN"});
  CHECK(one->epochs == 3);
  CHECK(one->settings == std::vector<std::string>{"lr=0.2"});
  CHECK(one->batch_norm);
  CHECK(one->class_statistics == "none");
  CHECK(needed("lpld", {})->class_statistics == "ema");
  CHECK(needed("lpld", {{"r-bn", "0"}})->class_statistics == "none");
  CHECK(needed("cv-dd", {})->recipe == "adam");
  CHECK(needed("cv-dd", {})->nets.size() == 2);
  CHECK(needed("rded", {{"teacher-names", "R18m"}})->nets == std::vector<std::string>{"R18m"});

  CHECK_THROWS_WITH_TEXT(needed("sre2l", {{"make-teachers", "R18m,R50m"}}), ConfigError,
                         "to be made are 2: R18m, R50m; choose one by --teacher-names");
  CHECK_THROWS_WITH_TEXT(needed("rded", {{"make-teachers", "R18m,R50m"}}), ConfigError,
                         "one teacher looks at the crops, to be made are 2");
  CHECK_THROWS_WITH_TEXT(needed("cv-dd", {{"make-teachers", "R18m"}}), ConfigError,
                         "needs 2 teachers or more, to be made are 1");
  CHECK_THROWS_WITH_TEXT(needed("sre2l", {{"make-teachers", "R18m"}, {"teacher-names", "R50m"}}),
                         ConfigError, "expected some of the teachers to be made, R18m");
  CHECK_THROWS_WITH_TEXT(needed("sre2l", {{"make-settings", "momentun=1"}}), ConfigError,
                         "option 'make-settings': ");
}
