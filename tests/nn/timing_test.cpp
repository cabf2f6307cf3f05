#include <cstdio>
#include <chrono>
#include <algorithm>
#include "lib/core/parallel.h"
#include "lib/core/rng.h"
#include "lib/core/memory.h"
#include "lib/kernels/loops/loops.h"
#include "lib/nn/network.h"
#include "tests/support/catch.h"
using namespace retort;
namespace {
double cpu_now() { timespec t; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); return t.tv_sec * 1e3 + t.tv_nsec * 1e-6; }
double now() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
const kernels::Loops* real = nullptr;
double spent[32];
template <int kId, auto kMember, class... A> void timed(A... a) {
  const double t0 = cpu_now();
  (real->*kMember)(a...);
  spent[kId] += cpu_now() - t0;
}
template <int kId, auto kMember, class... A> void wrap(kernels::Loops& l, void (*kernels::Loops::*)(A...)) {
  l.*kMember = &timed<kId, kMember, A...>;
}
#define WRAP(id, m) wrap<id, &kernels::Loops::m>(l, &kernels::Loops::m)
const char* names[] = {"to_last","to_first","product","product_t","transform_weight","convolve","conv_wgrad","conv_wgrad_tangent","finish","norm","norm_grad","norm_tangent","norm_grad_tangent"};
}
TEST_CASE("profile", "[.profile]") {
  tune_allocator();
  set_thread_count(1);
  real = kernels::best_loops();
  static kernels::Loops l = *real;
  WRAP(0, to_channels_last); WRAP(1, to_channels_first); WRAP(2, product); WRAP(3, product_transposed);
  WRAP(4, transform_weight); WRAP(5, convolve); WRAP(6, convolve_weight_gradient); WRAP(7, convolve_weight_gradient_tangent);
  WRAP(8, finish_weight_gradient); WRAP(9, norm_relu_pool); WRAP(10, norm_relu_pool_gradient); WRAP(11, norm_relu_pool_tangent); WRAP(12, norm_relu_pool_gradient_tangent);
  kernels::use_loops(&l);
  const nn::ImageShape shape = nn::ImageShape{3, 32, 32};
  const auto net = nn::make_network("ConvNet-3", shape, 10);
  const auto state = net->initialize(Rng(3));
  const Tensor x = Rng(1).normal_tensor({100, shape.channels, shape.height, shape.width});
  const Tensor t = Rng(2).normal_tensor({100, 10}).softmax(1);
  Tensors v;
  for (auto& p : state.parameters) v.push_back(Rng(4).normal_tensor(p.sizes()));
  for (int round = 0; round < 4; ++round) {
    std::fill(spent, spent + 32, 0);
    double t0 = cpu_now();
    auto g = round % 2 ? net->loss_graph(state, x, t) : net->loss_graph_of_products(state, x, t);
    double t1 = cpu_now();
    std::printf("graph %.1f:", t1 - t0);
    for (int i = 0; i < 13; ++i) if (spent[i] > 0) std::printf(" %s %.1f", names[i], spent[i]);
    std::fill(spent, spent + 32, 0);
    t0 = cpu_now();
    auto p = g->products(v, {true, true, true});
    t1 = cpu_now();
    std::printf("\nproducts %.1f:", t1 - t0);
    for (int i = 0; i < 13; ++i) if (spent[i] > 0) std::printf(" %s %.1f", names[i], spent[i]);
    std::printf("\n");
  }
  kernels::use_best_loops();
}
TEST_CASE("timing", "[.timing]") {
  tune_allocator();
  for (const int threads : {1, 2}) {
    set_thread_count(threads);
    for (const bool gray : {true, false}) {
      const nn::ImageShape shape = gray ? nn::ImageShape{1, 28, 28} : nn::ImageShape{3, 32, 32};
      const auto net = nn::make_network("ConvNet-3", shape, 10);
      const auto state = net->initialize(Rng(3));
      const Tensor x = Rng(1).normal_tensor({100, shape.channels, shape.height, shape.width});
      const Tensor t = Rng(2).normal_tensor({100, 10}).softmax(1);
      Tensors v;
      for (auto& p : state.parameters) v.push_back(Rng(4).normal_tensor(p.sizes()));
      std::vector<double> a, b, c, d;
      for (int i = 0; i < 12; ++i) {
        double t0 = now();
        auto g = net->loss_graph(state, x, t);
        double t1 = now();
        auto p = g->products(v, {true, true, true});
        double t2 = now();
        auto g2 = net->loss_graph(state, x, t);
        double t3 = now();
        auto p2 = g2->products(v, {true, true, false});
        double t4 = now();
        auto p3 = g2->products(v, {false, false, false});
        double t5 = now();
        a.push_back(t1 - t0); b.push_back(t2 - t1); c.push_back(t4 - t3); d.push_back(t5 - t4);
      }
      const auto med = [](std::vector<double> q) { std::sort(q.begin(), q.end()); return q[q.size() / 2]; };
      const auto least = [](std::vector<double> q) { return *std::min_element(q.begin(), q.end()); };
      std::printf("threads %d %s: graph %.1f (%.1f), products %.1f (%.1f) (no parameters %.1f, forward only %.1f), ratio %.3f (%.3f)\n", threads, gray ? "gray" : "rgb", med(a), least(a), med(b), least(b), med(c), med(d), (med(a) + med(b)) / med(a), (least(a) + least(b)) / least(a));
    }
  }
  set_thread_count(1);
}
