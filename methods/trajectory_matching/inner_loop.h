#pragma once
// One student: N steps on the synthetic set, and the derivatives of where they end.

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "lib/core/stop.h"
#include "lib/core/tensor.h"
#include "methods/trajectory_matching/step_pass.h"

namespace retort::methods::trajectory_matching {

/// Where a student should be after some of its steps.
struct Waypoint {
  std::int64_t step = 0;  ///< 1 .. N-1
  Tensor target;          ///< tau_j [P]
  double weight = 1;      ///< beta_j
};

/// What is asked for: with v_0 = 0, for i = 0 .. N-1
///   v_{i+1} = momentum v_i + g_i,  theta_{i+1} = theta_i - alpha v_{i+1},
/// g_i the gradient of step i at theta_i, the loss is
///   L = |theta_N - target|^2 / |theta_0 - target|^2
///     + sum_j weight_j |theta_(m_j) - target_j|^2 / |theta_0 - target_j|^2.
struct InnerProblem {
  Student student;
  std::vector<InnerStep> steps;
  Tensor start;   ///< theta_0 [P]
  Tensor target;  ///< tau [P]
  std::vector<Waypoint> waypoints = {};
  double alpha = 0.01;
  double momentum = 0;
};

/// How the derivatives are found. The first three agree to rounding.
enum class Engine {
  Sweep,     ///< steps backwards, each computed again: memory for one step's graph
  Hybrid,    ///< the same, but as many last steps as fit keep their graphs; the last one always
  Unrolled,  ///< LibTorch's autograd through all steps: memory for all graphs
  Tesla      ///< Cui et al. 2023: as Sweep, but parameters of earlier steps count as constant
};
/// "sweep", "hybrid", "unrolled", "tesla"  @throws ConfigError for another
Engine parse_engine(const std::string& text);

struct EngineOptions {
  Engine engine = Engine::Sweep;
  std::int64_t graph_bytes = 0;  ///< Hybrid: of all graphs held at a time
  std::int64_t micro_batch = 0;  ///< images of one pass; 0: all. Not for Unrolled
  /// Tesla: half the gradient of the images, as in the authors' code
  bool halved_images = false;
  /// No derivatives where L is above it or not a number.
  double threshold = std::numeric_limits<double>::infinity();
  const StopFlag* stop = nullptr;  ///< polled before every step
};

struct InnerResult {
  double loss = 0;  ///< L; summed in float64
  Tensor end;       ///< theta_N [P]
  bool differentiated = false;
  Tensor images;     ///< dL/dimages [M,C,H,W]
  Tensor labels;     ///< dL/dlogits [M,K]; undefined for constant labels
  double alpha = 0;  ///< dL/dalpha
};

/// @throws Interrupted when a stop was requested
InnerResult solve(const InnerProblem& problem, const EngineOptions& options);

}  // namespace retort::methods::trajectory_matching
