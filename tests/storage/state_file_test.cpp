#include "lib/storage/state_file.h"

#include <cstring>

#include "lib/core/error.h"
#include "lib/storage/hdf5.h"
#include "tests/storage/support.h"
#include "tests/support/catch.h"

using namespace retort;
using storage::StateReader;
using storage::StateWriter;
using testing::TemporaryFolder;

namespace {

StateWriter example() {
  StateWriter state;
  state.tensor("images", at::arange(8, at::kFloat).reshape({2, 4}).div(3));
  state.tensor("images/momentum", at::full({3}, 0.1, at::kDouble));
  state.tensor("mask", at::tensor({1, 0, 1}, at::kByte).to(at::kBool));
  state.tensors("net", {at::ones({2}), at::zeros({0}), at::tensor(5, at::kLong).squeeze()});
  state.tensors("nothing", {});
  state.integer("iteration", -7);
  state.number("best", 0.1);
  state.text("rng", "line 1\nline 2");
  state.text("empty", "");
  return state;
}

void check_example(const StateReader& state) {
  CHECK(at::equal(state.tensor("images"), at::arange(8, at::kFloat).reshape({2, 4}).div(3)));
  CHECK(at::equal(state.tensor("images/momentum"), at::full({3}, 0.1, at::kDouble)));
  CHECK(state.tensor("mask").scalar_type() == at::kBool);
  const Tensors net = state.tensors("net");
  REQUIRE(net.size() == 3);
  CHECK(net[1].numel() == 0);
  CHECK(net[2].dim() == 0);
  CHECK(net[2].item<std::int64_t>() == 5);
  CHECK(state.tensors("nothing").empty());
  CHECK(state.integer("iteration") == -7);
  CHECK(state.number("best") == 0.1);
  CHECK(state.text("rng") == "line 1\nline 2");
  CHECK(state.text("empty").empty());
  CHECK(state.has("net"));
  CHECK(state.has("images"));
  CHECK_FALSE(state.has("image"));
}

}  // namespace

TEST_CASE("a state comes back to the bit, from a file and from memory", "[storage][state]") {
  const TemporaryFolder folder("state");
  example().save(folder / "a.h5");
  check_example(StateReader(folder / "a.h5"));
  check_example(StateReader(example()));
}

TEST_CASE("a state comes back from a group of a file that holds more", "[storage][state]") {
  const TemporaryFolder folder("state-group");
  storage::H5Writer::create(folder / "a.h5", [](storage::H5Writer& file) {
    file.tensor("tensors/0", at::zeros({1}));
    example().write(file, "run/state");
  });
  const storage::H5Reader file(folder / "a.h5");
  check_example(StateReader(storage::StateWriter::read(file, "run/state")));
  CHECK_THROWS_WITH_TEXT(storage::StateWriter::read(file, "state"), StorageError,
                         "a.h5': 'state/tensors/names': is missing");
}

TEST_CASE("a state is a copy: later changes of either side do not show", "[storage][state]") {
  Tensor weights = at::ones({3});
  StateWriter state;
  state.tensor("w", weights);
  weights.fill_(2);
  const StateReader reader(state);
  reader.tensor("w").fill_(3);
  CHECK(at::equal(reader.tensor("w"), at::ones({3})));
}

TEST_CASE("an empty state is a state", "[storage][state]") {
  const TemporaryFolder folder("state-empty");
  StateWriter().save(folder / "a.h5");
  CHECK_FALSE(StateReader(folder / "a.h5").has("x"));
}

TEST_CASE("what a state lacks is named with its file", "[storage][state]") {
  const TemporaryFolder folder("state-missing");
  example().save(folder / "a.h5");
  const StateReader state(folder / "a.h5");
  CHECK_THROWS_WITH_TEXT(state.tensor("x"), StorageError, "a.h5': tensor 'x' is missing");
  CHECK_THROWS_WITH_TEXT(state.tensors("x"), StorageError, "tensor list 'x' is missing");
  CHECK_THROWS_WITH_TEXT(state.integer("x"), StorageError, "integer 'x' is missing");
  CHECK_THROWS_WITH_TEXT(state.number("x"), StorageError, "number 'x' is missing");
  CHECK_THROWS_WITH_TEXT(state.text("x"), StorageError, "text 'x' is missing");
  StateWriter writer;
  CHECK_THROWS_WITH_TEXT(writer.tensor("w", Tensor()), StorageError,
                         "'w': the tensor is undefined");
}

TEST_CASE("a file of another schema, a newer version or a damaged one is no state",
          "[storage][state]") {
  const TemporaryFolder folder("state-foreign");
  const auto write = [&](const std::string& schema, std::int64_t major) {
    storage::H5Writer::create(folder / "a.h5", [&](storage::H5Writer& file) {
      file.attribute("", "schema", schema);
      file.attribute("", "version_major", major);
    });
  };
  write("retort.set", 1);
  CHECK_THROWS_WITH_TEXT(StateReader(folder / "a.h5"), StorageError,
                         "expected schema 'retort.state', found 'retort.set'");
  write("retort.state", 2);
  CHECK_THROWS_WITH_TEXT(StateReader(folder / "a.h5"), StorageError, "found 2");

  StateWriter state;
  state.tensor("values", at::full({4}, 1.5, at::kDouble));
  state.save(folder / "b.h5");
  std::string bytes = testing::slurp(folder / "b.h5");
  const double value = 1.5;
  const std::string pattern(reinterpret_cast<const char*>(&value), sizeof value);
  const std::size_t position = bytes.find(pattern + pattern);
  REQUIRE(position != std::string::npos);
  bytes[position] = 1;
  testing::spit(folder / "b.h5", bytes);
  CHECK_THROWS_WITH_TEXT(StateReader(folder / "b.h5"), StorageError, "b.h5': is damaged: ");
  CHECK_THROWS_WITH_TEXT(StateReader(folder / "b.h5"), StorageError, "'tensors/0'");
}
