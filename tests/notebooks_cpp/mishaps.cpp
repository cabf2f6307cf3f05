// %% [markdown]
// # A notebook that comes to grief
//
// In the way that `RETORT_TEST_MISHAP` says.

// %% [globals]
#include <cstdlib>
#include <string>

#include "lib/core/error.h"

using namespace retort;

// %%
const char* const wanted = std::getenv("RETORT_TEST_MISHAP");
const std::string mishap = wanted == nullptr ? "" : wanted;
nb::out("so far ", 1 + 1);
nb::out(nb::fast() ? "in a hurry" : "at leisure");
nb::grid({{"black", at::zeros({2, 1, 4, 4}, at::kByte)}}, "Two black squares");
nb::table({"name", "value"}, {{"a < b", "1"}});
nb::chart({.title = "Nothing",
           .x_title = "x",
           .y_title = "y",
           .curves = {{.name = "y", .x = {0, 1}, .y = {0, 1}, .spread = {}}}});

// %% where it happens
if (mishap == "throw") throw DataError("it is <broken>");
if (mishap == "throw a number") throw 7;
if (mishap == "abort") std::abort();
if (mishap == "torch") at::ones({2}).view({3});

// %%
nb::out("the end");
