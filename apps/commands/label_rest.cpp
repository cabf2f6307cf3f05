#include "apps/commands/label_rest.h"

#include "apps/cli/signals.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/str.h"

namespace retort::commands {

void label_rest(train::Labelling& labelling, const std::string& name,
                const std::filesystem::path& out, cli::Program& program) {
  const std::string folder = train::PartsFolder::of(out).string();
  const std::int64_t earlier = labelling.views_done();
  if (earlier > 0) {
    log::info(str(earlier, " of ", labelling.views(), " views", name.empty() ? "" : " of ", name,
                  " have labels in ", folder));
  }
  const std::string phase = str("labelling", name.empty() ? "" : " ", name, ", views");
  cli::expect_polling();
  try {
    labelling.run(
        [&](std::int64_t done) {
          program.terminal.update({.phase = phase,
                                   .done = done,
                                   .total = labelling.views(),
                                   .earlier = earlier,
                                   .loss = {}});
        },
        &program.stop);
  } catch (const Interrupted& e) {
    throw Interrupted(
        str(e.what(), "; what is done is saved in ", folder, ", the same command goes on"));
  }
  program.terminal.finish();
}

}  // namespace retort::commands
