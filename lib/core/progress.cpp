#include "lib/core/progress.h"

namespace retort {

ProgressSink& no_progress() {
  static ProgressSink sink;
  return sink;
}

}  // namespace retort
