#include "tests/methods/small_teachers.h"

#include "lib/storage/teacher_file.h"
#include "lib/train/teachers.h"
#include "tests/methods/small.h"
#include "tests/support/process.h"

namespace retort::testing {
namespace {

class SmallTeachers {
 public:
  SmallTeachers() : folder_("retort-small-teachers") {
    const auto network =
        nn::make_network("ConvNet-2-BN-w8", shapes().shape(), shapes().num_classes());
    auto recipe = train::TeacherRecipe::defaults("adam");
    recipe.epochs = 6;
    recipe.lr = 0.01;
    recipe.batch_size = 16;
    const storage::Teacher teacher =
        train::train_teacher(*network, shapes(), recipe, 1, folder_.path() / "checkpoint.h5", {});
    path_ = (folder_.path() / "teachers.h5").string();
    storage::write_teachers(path_, storage::TrainedOn::of(shapes()), {teacher});
  }

  const std::string& path() const { return path_; }

 private:
  TemporaryFolder folder_;
  std::string path_;
};

}  // namespace

const std::string& small_teachers() {
  static const SmallTeachers teachers;
  return teachers.path();
}

}  // namespace retort::testing
