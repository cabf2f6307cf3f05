#include "experiments/protocols.h"

#include <algorithm>
#include <filesystem>

#include "experiments/texts.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace retort;
using experiments::load_protocol;

namespace {

bool has_flip(const augment::Strategy& strategy) {
  return strategy.text().find("flip") != std::string::npos;
}

class TemporaryFile {
 public:
  TemporaryFile(const std::string& name, const std::string& text)
      : folder_("retort-protocol-test"), path_(folder_.path() / name) {
    write_text(path_, text);
  }
  std::string path() const { return path_.string(); }

 private:
  testing::TemporaryFolder folder_;
  std::filesystem::path path_;
};

}  // namespace

TEST_CASE("every protocol of the program loads and says where it comes from",
          "[experiments][protocol]") {
  const auto names = experiments::protocol_names();
  for (const char* expected : {"dc", "dsa", "dm", "fyi", "datadam", "idc", "dsa-300", "quick"}) {
    CHECK(std::find(names.begin(), names.end(), expected) != names.end());
  }
  for (const auto& name : names) {
    const auto protocol = load_protocol(name);
    CHECK(protocol.name == name);
    CHECK_FALSE(protocol.source.empty());
    CHECK_FALSE(has_flip(protocol.train_options(true).augmentation));
  }
}

TEST_CASE("every protocol trains as long, in such batches and as many networks as it says",
          "[experiments][protocol]") {
  struct Row {
    std::string name;
    std::int64_t epochs;     // really run
    std::int64_t last_full;  // the last epoch, from 0, before the step size drops
    std::int64_t batch;
    std::int64_t networks;
    std::size_t operations;  // of the augmentation
    std::string net;         // for 32x32 images
  };
  const std::vector<Row> rows{
      {"dc", 301, 151, 256, 20, 0, "ConvNet-3"},
      {"dsa", 1001, 501, 256, 20, 6, "ConvNet-3"},
      {"dm", 1001, 501, 256, 5, 6, "ConvNet-3"},
      {"fyi", 1001, 501, 256, 5, 6, "ConvNet-3"},
      {"datadam", 1801, 901, 64, 10, 6, "ConvNet-3-BN"},
      {"idc", 1000, 665, 64, 3, 5, "ConvNet-3"},
      {"mtt", 1001, 501, 256, 5, 6, "ConvNet-3"},
      {"datm", 1001, 501, 128, 5, 6, "ConvNet-3"},
      {"ast", 1001, 501, 256, 5, 6, "ConvNet-3"},
      {"ddranking-lrs", 1000, 499, 128, 5, 6, "ConvNet-3"},
      {"ddranking-ars", 1000, 499, 128, 5, 6, "ConvNet-3"},
      {"dc-bench", 1001, 501, 256, 5, 6, "ConvNet-3"},
      {"dsa-300", 301, 151, 256, 5, 6, "ConvNet-3"},
      {"quick", 101, 51, 256, 1, 6, "ConvNet-3"},
  };
  std::size_t of_sets = 0;  // the others train on labels of teachers
  for (const auto& name : experiments::protocol_names()) {
    of_sets += load_protocol(name).taught() ? 0 : 1;
  }
  CHECK(rows.size() == of_sets);
  for (const Row& row : rows) {
    INFO(row.name);
    const auto protocol = load_protocol(row.name);
    CHECK(protocol.networks == row.networks);
    CHECK(protocol.network_for({3, 32, 32}) == row.net);
    const auto options = protocol.train_options(false);
    CHECK(options.epochs == row.epochs);
    CHECK(options.batch_size == row.batch);
    CHECK(options.augmentation.operations.size() == row.operations);
    REQUIRE_FALSE(options.drops.empty());
    CHECK(options.drops[0].after_epoch == row.last_full);
    CHECK(options.drops[0].factor == (row.name == "idc" ? 0.2 : row.name == "ast" ? 0.5 : 0.1));
    const bool new_optimizer = row.name != "idc" && !protocol.ranks();
    CHECK(options.drops[0].reset_optimizer == new_optimizer);
    CHECK(options.lr == 0.01);
    CHECK(options.momentum == 0.9);
    CHECK(options.weight_decay == (row.name == "ast" ? 1e-3 : 5e-4));
    CHECK(options.shuffle);
    CHECK_FALSE(options.mirrored);
    CHECK(options.cutmix_probability == (row.name == "idc" ? 0.5 : 0));
    // Digits: the same without the flip.
    const std::size_t flips = row.operations > 0 ? 1 : 0;
    CHECK(protocol.train_options(true).augmentation.operations.size() == row.operations - flips);
  }
}

TEST_CASE("the protocols hold the papers' numbers", "[experiments][protocol]") {
  const auto dsa = load_protocol("dsa");
  const auto options = dsa.train_options(false);
  CHECK(options.epochs == 1001);
  CHECK(options.batch_size == 256);
  CHECK(options.augmentation.operations.size() == 6);
  CHECK(options.drops.size() == 1);
  CHECK(options.drops[0].after_epoch == 501);
  CHECK(options.drops[0].reset_optimizer);

  CHECK(load_protocol("dc").train_options(false).augmentation.operations.empty());
  CHECK(load_protocol("quick").networks == 1);

  const auto datadam = load_protocol("datadam");
  CHECK(datadam.train_options(false).epochs == 1801);
  CHECK(datadam.batch_size == 64);
  CHECK(datadam.network_for({3, 32, 32}) == "ConvNet-3-BN");

  const auto fyi = load_protocol("fyi").train_options(false);
  CHECK(fyi.epochs == 1001);
  CHECK(fyi.augmentation.flip_first);
  CHECK(fyi.augmentation.align_corners);
  CHECK(fyi.augmentation.operations.size() == 6);

  const auto idc = load_protocol("idc");
  const auto steps = idc.train_options(false);
  CHECK(steps.epochs == 1000);
  CHECK(idc.test_every == 250);
  CHECK(steps.cutmix_probability == 0.5);
  CHECK(steps.augmentation.combined);
  REQUIRE(steps.drops.size() == 2);
  CHECK(steps.drops[0].after_epoch == 665);  // the 666th
  CHECK(steps.drops[1].after_epoch == 832);
  CHECK(steps.drops[0].factor == 0.2);
  CHECK_FALSE(steps.drops[0].reset_optimizer);
}

TEST_CASE("trajectory matching is judged at the step size its sets have learned",
          "[experiments][protocol]") {
  data::SyntheticSet plain;
  data::SyntheticSet learned;
  learned.learned_lr = 0.025;
  for (const auto* name : {"mtt", "datm", "ast"}) {
    INFO(name);
    const auto protocol = load_protocol(name);
    CHECK(protocol.for_set(learned).train_options(false).lr == 0.025);
    CHECK(protocol.for_set(plain).train_options(false).lr == 0.01);
    CHECK(protocol.train_options(false).augmentation.align_corners);
    CHECK(protocol.test_every == (protocol.name == "ast" ? 20 : 0));
    const auto drop = protocol.train_options(false).drops.at(0);
    CHECK(drop.momentum == (protocol.name == "ast" ? std::optional(0.8) : std::nullopt));
  }
  CHECK(load_protocol("dsa-300").for_set(learned).lr == 0.01);
}

TEST_CASE("students of teachers are trained as in the papers' code", "[experiments][protocol]") {
  using Kind = train::StudentLoss::Kind;
  using Method = train::TrainOptions::Method;
  struct Row {
    std::string name;
    std::string labels;
    std::int64_t epochs;
    std::int64_t batch;
    double temperature;
    double smoothing;
    data::Mix::Kind mix;  // drawn, not recorded
    std::size_t operations;
    bool weights_decay_alone;
  };
  const auto none = data::Mix::Kind::None;
  const auto cutmix = data::Mix::Kind::CutMix;
  const auto mixup = data::Mix::Kind::MixUp;
  const std::vector<Row> rows{
      {"fkd-300", "views", 300, 1024, 20, 1, none, 0, true},
      {"cda", "views", 300, 128, 20, 1, none, 0, true},
      {"cv-dd", "views", 300, 16, 20, 1, none, 0, true},
      {"rded", "teachers", 300, 100, 20, 2, cutmix, 0, true},
      {"rded-mosaic", "teachers", 300, 100, 20, 2, cutmix, 0, true},
      {"infer", "static", 400, 64, 30, 1, mixup, 2, false},
      {"infer-dyn", "teachers", 80, 64, 30, 1, mixup, 2, false},
      {"fkd-400-cifar", "teachers", 400, 128, 30, 1, mixup, 2, false},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const auto protocol = load_protocol(row.name);
    const auto options = protocol.train_options(false);
    const auto views = protocol.view_recipe(false);
    CHECK(protocol.labels == row.labels);
    CHECK(protocol.net == "R18m");
    CHECK(options.epochs == row.epochs);
    CHECK(options.batch_size == row.batch);
    CHECK(options.method == Method::AdamW);
    CHECK(options.lr == 1e-3);
    CHECK(options.weight_decay == 0.01);
    CHECK((options.decays == train::TrainOptions::Decays::Weights) == row.weights_decay_alone);
    CHECK(options.schedule == train::TrainOptions::Schedule::Cosine);
    CHECK(options.smoothing == row.smoothing);
    CHECK(options.loss.kind == Kind::Divergence);
    CHECK(options.loss.temperature == row.temperature);
    CHECK_FALSE(options.loss.temperature_squared);
    CHECK(options.batch_norm_group == (row.name == "cv-dd" ? 8 : 0));
    CHECK((protocol.teacher_batch_norm == "batch") == (row.name == "fkd-400-cifar"));
    CHECK(views.mix == row.mix);
    if (row.labels != "views") CHECK(views.augmentation.operations.size() == row.operations);
  }
  const auto mosaic = load_protocol("rded-mosaic").view_recipe(false);
  CHECK(mosaic.patches == 2);
  CHECK(mosaic.view.crop);
  CHECK(mosaic.view.smallest_area == 0.5);
  CHECK(mosaic.view.flip);
  CHECK_FALSE(load_protocol("rded-mosaic").view_recipe(true).view.flip);
  CHECK_FALSE(load_protocol("rded").view_recipe(false).view.crop);

  const auto tiny = load_protocol("fkd-100-tiny").train_options(false);
  CHECK(tiny.method == Method::Sgd);
  CHECK(tiny.lr == 0.2);
  CHECK(tiny.warmup_epochs == 5);
  CHECK(tiny.loss.temperature_squared);
  CHECK(load_protocol("fkd-100-tiny").view_recipe(false).view.smallest_area == 0.08);
}

TEST_CASE("batches of RDED are as large as the images per class ask", "[experiments][protocol]") {
  const auto rded = load_protocol("rded");
  const std::vector<std::pair<std::int64_t, std::int64_t>> sizes{
      {1, 10}, {9, 10}, {10, 50}, {50, 100}, {200, 100}};
  for (const auto& [ipc, batch] : sizes) {
    data::SyntheticSet set;
    set.images = at::zeros({4 * ipc, 1, 1, 1});
    set.labels = data::HardLabels{at::arange(4 * ipc, at::kLong).remainder(4)};
    CHECK(rded.for_set(set).batch_size == batch);
    CHECK(eval::changed(rded, {"batch-size=7"}).for_set(set).batch_size == 7);
  }
}

TEST_CASE("a protocol that is changed says so in its name", "[experiments][protocol]") {
  const auto fkd = load_protocol("fkd-300");
  const auto quick = eval::changed(fkd, {"epochs=200", "batch-size=16"});
  CHECK(quick.name == "fkd-300 (epochs = 200, batch-size = 16)");
  CHECK(quick.train_options(false).epochs == 200);
  CHECK(eval::changed(fkd, {"epochs=300"}).name == "fkd-300");
  CHECK(eval::changed(fkd, {}).name == "fkd-300");
  const auto drops = eval::changed(load_protocol("idc"), {"drop-epochs=10", "20", "lr=0.1"});
  CHECK(drops.drop_epochs == std::vector<std::int64_t>{10, 20});
  CHECK(drops.lr == 0.1);
  const auto change = [&](const std::string& text) { return eval::changed(fkd, {text}); };
  CHECK_THROWS_WITH_TEXT(change("epoch=3"), ConfigError, "did you mean 'epochs'?");
  CHECK_THROWS_WITH_TEXT(change("200"), ConfigError, "expected option=value, found '200'");
  CHECK_THROWS_WITH_TEXT(change("momentum=0.5"), ConfigError,
                         "'momentum' changes nothing while optimizer is adamw");
  CHECK_THROWS_WITH_TEXT(change("warmup-epochs=300"), ConfigError, "found 300 of 300");
  CHECK_THROWS_WITH_TEXT(change("labels=set"), ConfigError, "kl compares with teachers");
  CHECK_THROWS_WITH_TEXT(change("batch-size-by-ipc=10"), ConfigError, "as in 10:50, found '10'");
  CHECK_THROWS_WITH_TEXT(
      eval::changed(load_protocol("fkd-100-tiny"), {"optimizer=sgd", "decays=weights"}),
      ConfigError, "decays");
}

TEST_CASE("a protocol prints what changes something", "[experiments][protocol]") {
  const auto fkd = load_protocol("fkd-300").options_in_use();
  CHECK(fkd.at("temperature") == "20");
  for (const char* option :
       {"momentum", "drop-factor", "cutmix-probability", "mix", "augmentation", "hard-weight"}) {
    CHECK(fkd.count(option) == 0);
  }
  const auto dsa = load_protocol("dsa").options_in_use();
  CHECK(dsa.at("momentum") == "0.9");
  CHECK(dsa.at("cutmix-probability") == "0");
  for (const char* option : {"loss", "temperature", "beta1", "smoothing", "mix"}) {
    CHECK(dsa.count(option) == 0);
  }
}

TEST_CASE("a ConvNet without a depth is as deep as the images ask, any other network as named",
          "[experiments][protocol]") {
  eval::Protocol protocol;
  CHECK(protocol.network_for({3, 64, 64}) == "ConvNet-3");
  protocol.net = "ConvNet";
  CHECK(protocol.network_for({3, 32, 32}) == "ConvNet-3");
  CHECK(protocol.network_for({1, 28, 28}) == "ConvNet-3");
  CHECK(protocol.network_for({3, 64, 64}) == "ConvNet-4");
  const std::vector<std::pair<std::string, std::string>> at_64{
      {"ConvNet-BN", "ConvNet-4-BN"},   {"ConvNetBN", "ConvNet-4-BN"},
      {"ConvNet-w64", "ConvNet-4-w64"}, {"convnet_GN", "ConvNet-4_GN"},
      {"ConvNet-BN-2", "ConvNet-BN-2"}, {"ConvNetD3", "ConvNetD3"},
      {"ResNet-18", "ResNet-18"}};
  for (const auto& [net, expected] : at_64) {
    protocol.net = net;
    CHECK(protocol.network_for({3, 64, 64}) == expected);
    CHECK_NOTHROW(nn::make_network(protocol.network_for({3, 64, 64}), {3, 64, 64}, 10));
  }
  protocol.net = "ConvNet-BM";
  CHECK_THROWS_WITH_TEXT(protocol.network_for({3, 64, 64}), ConfigError, "part 'bm'");
}

TEST_CASE("a protocol can be a file of one's own", "[experiments][protocol]") {
  const TemporaryFile file("retort-own-protocol.cfg", "epochs = 7\nbatch-size = 3\n");
  const auto protocol = load_protocol(file.path());
  CHECK(protocol.name == "retort-own-protocol");
  CHECK(protocol.train_options(false).epochs == 8);
  CHECK(protocol.batch_size == 3);
  config::OptionTable table;
  auto copy = protocol;
  copy.describe(table);
  for (const auto& option : table.options()) CHECK_FALSE(option.help.empty());
}

TEST_CASE("a protocol's file name is fit for tables, and never passes for a protocol it is not",
          "[experiments][protocol]") {
  const TemporaryFile odd("my t\xC3\xA4st\n|v2.cfg", "epochs = 7\n");
  CHECK(load_protocol(odd.path()).name == "my_t__st__v2");
  std::string long_name(200, 'x');
  long_name += ".cfg";
  const TemporaryFile endless(long_name, "epochs = 7\n");
  CHECK(load_protocol(endless.path()).name == std::string(60, 'x'));
  const TemporaryFile impostor("dsa.cfg", "epochs = 7\n");
  CHECK_THROWS_WITH_TEXT(load_protocol(impostor.path()), ConfigError,
                         "would pass for those of the protocol 'dsa'");
  const auto& files = experiments::protocol_files();
  const auto dsa =
      std::find_if(files.begin(), files.end(), [](const auto& file) { return file.name == "dsa"; });
  REQUIRE(dsa != files.end());
  const TemporaryFile copy("dsa.cfg", "# the same recipe\n" + dsa->text);
  CHECK(load_protocol(copy.path()).options_in_use() == load_protocol("dsa").options_in_use());
}

TEST_CASE("a wrong protocol is refused with the reason", "[experiments][protocol][error]") {
  CHECK_THROWS_WITH_TEXT(load_protocol("dsa-30"), ConfigError, "did you mean 'dsa-300'");
  CHECK_THROWS_WITH_TEXT(load_protocol("missing/own.cfg"), StorageError, "missing/own.cfg");
  const TemporaryFile unknown("retort-unknown-key.cfg", "epochs = 7\nepocs = 8\n");
  CHECK_THROWS_WITH_TEXT(load_protocol(unknown.path()), ConfigError, "epochs");
  const TemporaryFile operation("retort-unknown-op.cfg", "augmentation = crop_blur\n");
  CHECK_THROWS_WITH_TEXT(load_protocol(operation.path()), ConfigError, "blur");
  const TemporaryFile late("retort-late-drop.cfg",
                           "schedule = steps\nepochs = 5\ndrop-epochs = 6\n");
  CHECK_THROWS_WITH_TEXT(load_protocol(late.path()), ConfigError, "expected 1 .. 5, found 6");
  const TemporaryFile mixed("retort-mixed-schedule.cfg", "drop-epochs = 6\n");
  CHECK_THROWS_WITH_TEXT(load_protocol(mixed.path()), ConfigError, "expected none");
}
