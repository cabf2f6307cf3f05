#include "lib/core/error.h"
#include "lib/train/committee.h"
#include "tests/support/catch.h"
#include "tests/train/small_committee.h"

using namespace retort;
using namespace retort::testing;

namespace {

constexpr const char* kTeacherNet = "ConvNet-1-BN-w8";

/// The bands, 30 images of each of 3 classes, and a teacher that knows them.
struct Known {
  data::ImageDataset dataset = separable_dataset(30, 1);
  train::Member teacher = trained_member(dataset, kTeacherNet, 1, 97);

  void expect(const train::Member& member) const {
    train::expect_knowing({teacher, member}, "folder/t.h5", dataset, Rng(7));
  }
};

/// The bands in red; in green is noise, in blue the bands of random classes.
data::ImageDataset red_bands() {
  const data::ImageDataset red = separable_dataset(30, 1);
  const auto colored = [&](data::Split split) {
    const std::int64_t count = red.size(split);
    const Tensor pixels = red.pixels(split, at::arange(count, at::kLong));
    Rng rng(3);
    const Tensor blue = pixels.index_select(0, rng.permutation_tensor(count));
    const Tensor green = rng.uniform_tensor(pixels.sizes(), 0, 120).to(at::kByte);
    return data::DataSplit{
        std::make_shared<data::MemoryStore>(at::cat({pixels, green, blue}, 1).contiguous()),
        red.labels(split)};
  };
  return {red.info(), colored(data::Split::Train), colored(data::Split::Test),
          data::Preprocessing::mean_std({0.4, 0.4, 0.4}, {0.2, 0.2, 0.2})};
}

/// What the teacher says about class c it now says about class order[c].
train::Member reordered(train::Member teacher, const std::vector<std::int64_t>& order) {
  teacher.state = teacher.state.detached_clone();
  // The linear layer comes last, weight before bias.
  const Tensor from = at::tensor(order, at::kLong).argsort();
  for (std::size_t i = teacher.state.parameters.size() - 2; i < teacher.state.parameters.size();
       ++i) {
    teacher.state.parameters[i] = teacher.state.parameters[i].index_select(0, from);
  }
  return teacher;
}

}  // namespace

TEST_CASE("a teacher that knows the dataset passes, one that is not trained does not",
          "[train][knowing]") {
  const Known known;
  CHECK_NOTHROW(known.expect(known.teacher));
  const train::Member fresh = fresh_member(known.dataset, kTeacherNet, 5);
  CHECK_THROWS_WITH_TEXT(known.expect(fresh), DataError,
                         "'folder/t.h5': teacher 5 (ConvNet-1-BN-w8) is right for ");
  CHECK_THROWS_WITH_TEXT(known.expect(fresh), DataError,
                         " of 90 training images of bands, expected at least 50.0 % (chance is "
                         "33.3 %); the probable reason is a teacher that is not trained");
  train::Member says_so = fresh;
  says_so.accuracy = 34;
  CHECK_THROWS_WITH_TEXT(known.expect(says_so), DataError,
                         "a teacher that is not trained: its file says 34.0 %");
  says_so.accuracy = 90;
  CHECK_THROWS_WITH_TEXT(known.expect(says_so), DataError,
                         " than those it was trained with: its file says 90.0 %, here nine of ten "
                         "answers name ");
}

TEST_CASE("classes in another order are told as such", "[train][knowing]") {
  const Known known;
  CHECK_THROWS_WITH_TEXT(known.expect(reordered(known.teacher, {1, 2, 0})), DataError,
                         "the probable reason is another order of the classes: put in its own "
                         "order it is right for ");
}

TEST_CASE("other preprocessing of a teacher is told as such", "[train][knowing]") {
  const Known known;
  // As if it had been trained on pixels from 0 to 255.
  train::Member teacher = known.teacher;
  teacher.state = teacher.state.detached_clone();
  Tensor& weight = teacher.state.parameters[0];
  const double mean = known.dataset.preprocessing().mean()[0];
  const double std = known.dataset.preprocessing().std()[0];
  teacher.state.parameters[1] -= weight.sum({1, 2, 3}) * (mean / std);
  weight = weight / (255 * std);
  CHECK_THROWS_WITH_TEXT(known.expect(teacher), DataError,
                         "the probable reason is other preprocessing: with pixels in 0 .. 255 it "
                         "is right for ");
}

TEST_CASE("a teacher for blue before red is told as such", "[train][knowing]") {
  const data::ImageDataset dataset = red_bands();
  train::Member teacher = trained_member(dataset, kTeacherNet, 1, 97);
  CHECK_NOTHROW(train::expect_knowing({teacher}, "t.h5", dataset, Rng(7)));
  teacher.state.parameters[0] = teacher.state.parameters[0].flip(1);
  CHECK_THROWS_WITH_TEXT(train::expect_knowing({teacher}, "t.h5", dataset, Rng(7)), DataError,
                         "other preprocessing: with blue before red it is right for ");
}

TEST_CASE("what members know is measured on training images alone", "[train][knowing]") {
  const Known known;
  train::Member teacher = known.teacher;
  teacher.accuracy = 12;  // of the test split
  const train::Member fresh = fresh_member(known.dataset, kTeacherNet, 5);
  const auto knowledge = train::measured_knowledge({teacher, fresh}, known.dataset);
  CHECK(knowledge.images == 90);
  const at::NoGradGuard no_grad;
  const auto right = [&](const train::Member& member) {
    const Tensor images = known.dataset.batch(data::Split::Train, at::arange(90, at::kLong));
    const Tensor logits = member.network->forward(member.state, images).logits;
    return logits.argmax(1).eq(known.dataset.labels(data::Split::Train)).sum().item<double>();
  };
  REQUIRE(knowledge.percent.size() == 2);
  CHECK(knowledge.percent[0] == Approx(100 * right(teacher) / 90));
  CHECK(knowledge.percent[1] == Approx(100 * right(fresh) / 90));
  CHECK(knowledge.percent[0] > 90);
}

TEST_CASE("of many training images as many of every class are asked about, always the same",
          "[train][knowing]") {
  const data::ImageDataset many = separable_dataset(1000, 1);
  const train::Member fresh = fresh_member(many, kTeacherNet, 5);
  const auto first = train::measured_knowledge({fresh}, many);
  CHECK(first.images == 1998);  // of 3 classes
  CHECK(train::measured_knowledge({fresh}, many).percent == first.percent);
  StopFlag stop;
  stop.request();
  CHECK_THROWS_AS(train::measured_knowledge({fresh}, many, &stop), Interrupted);
}

TEST_CASE("what a sample says of a teacher depends on its seed alone", "[train][knowing]") {
  const Known known;
  const train::Member fresh = fresh_member(known.dataset, kTeacherNet, 5);
  const auto message = [&](std::uint64_t seed) {
    try {
      train::expect_knowing({fresh}, "t.h5", known.dataset, Rng(seed));
    } catch (const DataError& e) {
      return std::string(e.what());
    }
    return std::string("passed");
  };
  CHECK(message(1) == message(1));
}
