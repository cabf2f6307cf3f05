// %% [markdown]
// # An own method in some forty lines
//
// A method is one class. Whatever surrounds it, the *driver* brings: the loop, metrics, pictures,
// checkpoints, Ctrl-C, resume, the result file. This page writes a method from nothing, runs it,
// stops it in its middle and resumes it, and compares it with random images.
//
// The idea is old: a good set of $k$ images is one to which every real image of the class has
// somebody near. Batch after batch, every real image pulls the nearest synthetic image of its class
// a little towards itself, by $1/n$ for the $n$-th that an image attracts: an image is the mean of
// what it has attracted (MacQueen 1967, *k-means* as a stream). No network takes part, and no
// gradient.

// %% [globals]
#include <filesystem>

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
// ## The method
//
// The interface is `methods/method.h`. Three of its functions do the work: `initialize`, `update`,
// which is one iteration, and `snapshot`, the set as it is now. Two more write and read what has to
// survive an interruption.
//
// Randomness comes from the run's stream by name and number: what is drawn for class `c` in
// iteration `i` depends on nothing else. So a resumed run needs no state of a generator.

// %% [globals]
/// Different training images of a class, preprocessed: [count,C,H,W].
Tensor class_batch(const data::ImageDataset& dataset, std::int64_t c, std::int64_t count, Rng rng) {
  const Tensor& all = dataset.class_indices(c);
  const Tensor chosen = at::tensor(rng.sample(all.size(0), count), at::kLong);
  return dataset.batch(data::Split::Train, all.index_select(0, chosen));
}

// %% [globals]
class StreamingMeans : public methods::DistillationMethod {
 public:
  explicit StreamingMeans(std::int64_t iterations) : iterations_(iterations) {}
  std::int64_t iterations() const override { return iterations_; }
  methods::Work work(const methods::RunContext&) const override { return {}; }

  void initialize(methods::RunContext& run) override {
    run_ = &run;
    for (std::int64_t c = 0; c < run.dataset.num_classes(); ++c) {
      images_.push_back(class_batch(run.dataset, c, run.ipc, run.rng.child("start", c)));
      counts_.push_back(at::ones({run.ipc, 1}));
    }
  }
  methods::UpdateReport update(std::int64_t iteration) override {
    double distance = 0;
    for (std::size_t c = 0; c < images_.size(); ++c) {
      const Rng rng = run_->rng.child("batch", iteration).child(std::int64_t(c));
      const Tensor real = class_batch(run_->dataset, std::int64_t(c), 16, rng).flatten(1);
      const Tensor mine = images_[c].flatten(1);  // the same memory
      const auto [nearest, whose] = at::cdist(real, mine).min(1);
      const Tensor attracted = at::one_hot(whose, run_->ipc).to(at::kFloat).t();  // [ipc,16]
      counts_[c] += attracted.sum(1, true);
      mine.add_((attracted.mm(real) - attracted.sum(1, true) * mine) / counts_[c]);
      distance += nearest.mean().item<double>() / double(images_.size());
    }
    return {distance, {}};
  }
  data::SyntheticSet snapshot() const override {
    data::SyntheticSet set;
    set.images = at::cat(images_);
    set.class_index = at::arange(run_->dataset.num_classes()).repeat_interleave(run_->ipc);
    set.labels = data::HardLabels{set.class_index};
    return set;
  }
  void save_state(storage::StateWriter& out) const override {
    out.tensors("images", images_);
    out.tensors("counts", counts_);
  }
  void load_state(methods::RunContext& run, const storage::StateReader& in) override {
    run_ = &run;
    images_ = in.tensors("images");
    counts_ = in.tensors("counts");
  }

 private:
  std::int64_t iterations_;
  methods::RunContext* run_ = nullptr;
  Tensors images_;  // per class [ipc,C,H,W]
  Tensors counts_;  // per class [ipc,1], what every image has attracted
};

// %% [markdown]
// ## A run
//
// `nb::folder()` is a folder of this page alone. The driver wants to know where to work, and which
// configuration to write into the set, so that whoever finds it can repeat it.

// %% [globals]
/// @param settings "option = value" lines
methods::DriverOptions in_folder(const std::string& name, const std::string& settings) {
  methods::DriverOptions options;
  options.run_dir = std::filesystem::path(nb::folder()) / name;
  options.config_text = str("method = ", name, "\n", settings);
  options.provenance.method = name;
  options.provenance.dataset = "shapes";
  return options;
}

// %%
const data::ImageDataset dataset = datasets::open_dataset("shapes", {});
const std::int64_t iterations = nb::fast() ? 40 : 400;
const std::int64_t ipc = 3;
const std::string settings = str("iterations = ", iterations, "\n");
const StopFlag never;

StreamingMeans method(iterations);
methods::RunContext run{.dataset = dataset, .ipc = ipc, .rng = Rng(0)};
const auto outcome = methods::run(method, run, in_folder("means", settings), no_progress(), never);
nb::png(synth::draw_set(outcome.set, {.real = 3}, &dataset).pixels,
        "Streaming means of every class, and real images beside them");

// %%
const auto metrics =
    report::read_csv(std::filesystem::path(nb::folder()) / "means" / "metrics.csv");
const report::Curve distance{.name = "distance",
                             .x = metrics.numbers(metrics.column("iteration")),
                             .y = metrics.numbers(metrics.column("loss")),
                             .spread = {}};
nb::chart({.title = "Distance of real images from their nearest synthetic one",
           .x_title = "iteration",
           .y_title = "mean distance",
           .curves = {report::thinned(distance, 80)}});

// %% [markdown]
// ## Stopped in its middle, resumed to the same bits
//
// The method knows nothing of Ctrl-C. Whoever presses it raises a flag; the driver saves and
// leaves. Here the flag goes up as soon as the driver reports its first progress; a new method
// object, as a new process would have, then goes on from the checkpoint.

// %% [globals]
/// Asks for a stop when the first iterations are done.
class Impatient : public ProgressSink {
 public:
  explicit Impatient(StopFlag& stop) : stop_(stop) {}
  void update(const Progress& progress) override {
    if (progress.done >= 7) stop_.request();
  }

 private:
  StopFlag& stop_;
};

// %%
methods::DriverOptions options = in_folder("stopped", settings);
options.go_on = "another object and `resume`";
StopFlag stop;
Impatient impatient(stop);
try {
  StreamingMeans first(iterations);
  methods::run(first, run, options, impatient, stop);
  throw Error("the run was not stopped");
} catch (const Interrupted& e) {
  nb::out(e.what());
}
options.resume = true;
StreamingMeans second(iterations);
const auto resumed = methods::run(second, run, options, no_progress(), never);
if (!at::equal(resumed.set.images, outcome.set.images)) throw Error("other bits than at once");
nb::out("the same bits as the run that never stopped");

// %% [markdown]
// ## Better than chance?
//
// Random real images stand beside it, judged by the same protocol with the same seeds. `random` is
// in the registry of methods; so would this one be, once it has a line in `methods/registry.cpp`.
// Then the command line, `--help`, sweeps and the contract tests know it too: `methods/README.md`
// tells the steps.

// %%
eval::Protocol protocol = experiments::load_protocol("quick");
if (nb::fast()) protocol = eval::changed(protocol, {"epochs=5"});
const std::vector<std::uint64_t> seeds =
    nb::fast() ? std::vector<std::uint64_t>{0} : std::vector<std::uint64_t>{0, 1, 2};
const eval::Evaluator evaluator(dataset, protocol);
const std::string net = protocol.network_for(dataset.shape());

const auto factory = methods::find_method("random").factory();
const auto random = factory->create();
const auto chosen = methods::run(*random, run, in_folder("random", ""), no_progress(), never);
std::vector<std::vector<std::string>> judged;
for (const auto* of : {&outcome.set, &chosen.set}) {
  const auto result = evaluator.evaluate(synth::decode(*of), net, seeds);
  judged.push_back({of->provenance.method, std::to_string(of->images.size(0)),
                    str(fixed(result.mean, 1), " ± ", fixed(result.std, 1))});
}
nb::out("protocol ", protocol.name, ", network ", net, ", ", seeds.size(),
        " seed(s), mean ± population standard deviation");
nb::table({"trained on", "images", "accuracy %"}, judged);
