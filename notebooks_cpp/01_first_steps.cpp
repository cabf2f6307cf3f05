// %% [markdown]
// # First steps: condense, look, judge
//
// A dataset is *condensed* when a few synthetic images take its place: a network that trains on
// them alone should classify real test images almost as well as one that saw everything.
//
// This page does by library calls what three commands of the program do, and says what happens in
// between:
//
// ```
// retort condense --method dm --dataset shapes --ipc 3 --out set.h5
// retort show set.h5 --out grid.png
// retort evaluate set.h5 --protocol quick --baselines random
// ```
//
// The images are those of `shapes`, which are generated: nothing is downloaded. With the Debian
// package `dataset-fashion-mnist` installed the same cells run on Fashion-MNIST: change the name in
// the second cell, and have more patience.

// %% [globals]
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "datasets/dataset.h"
#include "experiments/protocols.h"
#include "lib/core/text.h"
#include "lib/eval/evaluator.h"
#include "lib/report/csv.h"
#include "lib/synth/parametrization.h"
#include "lib/synth/picture.h"
#include "methods/driver.h"

using namespace retort;

// %% [markdown]
// ## The data
//
// A dataset knows its two splits, its classes and the preprocessing that networks expect: here the
// mean and the standard deviation of all training pixels.

// %%
const data::ImageDataset dataset = datasets::open_dataset("shapes", {});
const auto names = dataset.info().class_names;
nb::out(dataset.info().name, ": ", dataset.size(data::Split::Train), " images to train on, ",
        dataset.size(data::Split::Test), " to test on, ", names.size(), " classes");
nb::out("preprocessing: ", dataset.preprocessing().description());

// %%
std::vector<vision::GridRow> real;
for (std::int64_t c = 0; c < dataset.num_classes(); ++c) {
  const Tensor first = dataset.class_indices(c).slice(0, 0, 8);
  real.push_back({names[c], dataset.pixels(data::Split::Train, first)});
}
nb::grid(real, "Eight training images of every class");

// %% [markdown]
// ## Condensing
//
// Every method is in one registry, and its options are a table: names, help, ranges, defaults. A
// *driver* runs the method and takes care of the rest: the loop, a run folder with metrics,
// checkpoints and pictures, interruption and resume. A run has one seed, split by name into
// independent streams, so the same call gives the same bits.

// %% [globals]
using Settings = std::vector<std::pair<std::string, std::string>>;

/// Runs a method of the registry and returns the set that it made.
data::SyntheticSet condensed(const data::ImageDataset& dataset, const std::string& method,
                             std::int64_t ipc, const Settings& settings) {
  const auto factory = methods::find_method(method).factory();
  config::OptionTable options = factory->options();
  for (const auto& [name, value] : settings) options.set(name, value, config::Origin::Flag);
  factory->settle(ipc);

  methods::DriverOptions driver;
  driver.run_dir = std::filesystem::path(nb::folder()) / method;
  driver.config_text = config::config_text(options);
  driver.provenance.method = method;
  driver.provenance.dataset = dataset.info().name;

  const auto made = factory->create();
  methods::RunContext run{.dataset = dataset, .ipc = ipc, .rng = Rng(0)};
  const StopFlag never;
  return methods::run(*made, run, driver, no_progress(), never).set;
}

// %% [markdown]
// *Distribution matching* (`dm`; Zhao and Bilen, WACV 2023) looks at real and synthetic images
// through fresh random networks and pulls their mean embeddings together, class by class. Three
// images per class start as real ones.

// %%
const std::int64_t ipc = 3;
const std::string iterations = nb::fast() ? "10" : "300";
const data::SyntheticSet set =
    condensed(dataset, "dm", ipc, {{"iterations", iterations}, {"net", "ConvNet-2-w64"}});
nb::out(set.images.size(0), " images from ", set.provenance.iterations, " iterations in ",
        duration_text(set.provenance.wall_seconds));

// %% [markdown]
// The run folder holds `metrics.csv`, one row an iteration. Every iteration looks through another
// network, so the loss is noisy.

// %%
const auto metrics = report::read_csv(std::filesystem::path(nb::folder()) / "dm" / "metrics.csv");
const report::Curve loss{.name = "loss",
                         .x = metrics.numbers(metrics.column("iteration")),
                         .y = metrics.numbers(metrics.column("loss")),
                         .spread = {}};
nb::chart({.title = "Distribution matching: distance of mean embeddings",
           .x_title = "iteration",
           .y_title = "loss",
           .curves = {report::thinned(loss, 100)}});

// %% [markdown]
// ## Looking
//
// Stored images are floating-point numbers in the space that networks see. To show them the
// preprocessing is undone and values are cut off at black and white; to the right stand real images
// of the same class.

// %%
const synth::Picture picture = synth::draw_set(set, {.real = 3}, &dataset);
nb::png(picture.pixels, "The synthetic images of every class, and real ones beside them");
nb::out(fixed(100 * picture.clipped_fraction, 1), " % of the values were beyond black or white");

// %% [markdown]
// ## Judging
//
// A set is worth what fresh networks learn from it. How they train is a *protocol*, a named text
// file: an accuracy without one means nothing. `quick` trains for a hundred epochs; its last
// accuracy counts, nothing is chosen on the test images. Random real images, as many as there are
// synthetic ones, are judged in the same way: whoever condenses has to beat them.

// %%
eval::Protocol protocol = experiments::load_protocol("quick");
if (nb::fast()) protocol = eval::changed(protocol, {"epochs=5"});
const std::vector<std::uint64_t> seeds =
    nb::fast() ? std::vector<std::uint64_t>{0} : std::vector<std::uint64_t>{0, 1, 2};
const eval::Evaluator evaluator(dataset, protocol);
const std::string net = protocol.network_for(dataset.shape());

std::vector<std::vector<std::string>> judged;
const auto judge = [&](const std::string& name, const data::SyntheticSet& of) {
  const auto result = evaluator.evaluate(synth::decode(of), net, seeds);
  judged.push_back({name, std::to_string(of.images.size(0)),
                    str(fixed(result.mean, 1), " ± ", fixed(result.std, 1))});
};
judge("dm", set);
judge("random", condensed(dataset, "random", ipc, {}));
nb::out("protocol ", protocol.name, ", network ", net, ", ", seeds.size(),
        " seed(s), mean ± population standard deviation");
nb::table({"trained on", "images", "accuracy %"}, judged);

// %% [markdown]
// ## Where to go from here
//
// - `02_attention_maps` looks into a matching loss.
// - `03_exact_sweep` differentiates through the training of a student.
// - `04_own_method` adds a method of your own.
