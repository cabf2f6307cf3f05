#pragma once
// Results of a sweep's cells, joined over seeds.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "lib/sweep/grid.h"

namespace retort::sweep {

/// One finished evaluation of one cell.
struct Judgement {
  std::size_t group = 0;  ///< the same for cells that differ in the seed alone, and one evaluation
  std::string seed;       ///< of the cell; empty: not said
  Options labels;         ///< what the row says of the cell
  Options how{};          ///< and of how it was judged
  std::string run;        ///< folder of the cell
  std::string file;       ///< of the evaluation
  std::string version{};  ///< of the program that made the set
  double condense_seconds = 0;
  nlohmann::json document;  ///< retort.evaluation/1
};

/// Accuracies of networks under one attack, percent.
struct Robust {
  std::string attack;  ///< "pgd 8/255, 10 steps, 2 restarts"
  std::vector<double> runs;
};

/// Accuracies of the networks of one set, percent.
struct SetResult {
  std::string seed;
  std::string run;
  std::string file;
  double condense_seconds = 0;
  std::string version;
  double evaluate_seconds = 0;
  std::vector<double> runs;
  std::vector<double> best;  ///< of several tests each, chosen on what was tested on; may be empty
  std::vector<Robust> robust;

  double mean() const;
};

/// Mean and population std over networks.
struct Spread {
  double mean = 0;
  double std = 0;
};

/// One architecture under one protocol on the sets of all seeds; or on real images beside them.
struct Row {
  std::size_t group = 0;
  Options labels;      ///< of a baseline only what it shares with its set
  std::string beside;  ///< "random", "hard labels"; empty: the sets themselves
  std::string protocol;
  std::string network;
  std::string tested_on;  ///< "test" or "held-out training images"
  std::string dataset_sha256;
  std::vector<SetResult> sets;
  std::int64_t images = 0;
  std::uint64_t image_bytes = 0;
  std::uint64_t label_bytes = 0;

  std::size_t networks() const;
  double mean() const;                    ///< over all networks of all sets
  double spread() const;                  ///< population std over all networks of all sets
  std::optional<double> between() const;  ///< population std of the sets' means; none for one set
  std::optional<Spread> best() const;     ///< none if any network was tested but once
  std::vector<std::string> attacks() const;  ///< that networks of all sets were tested under
  /// Over all networks of all sets; none for an attack that is none of `attacks`.
  std::optional<Spread> under(const std::string& attack) const;
  double condense_seconds() const;  ///< mean over sets
  double evaluate_seconds() const;  ///< mean over sets
};

/// How much of the sweep the rows hold.
struct Table {
  std::vector<Row> rows;
  std::vector<std::string> notes{};  ///< what the rows do not show, a sentence each
  std::size_t cells = 0;
  std::size_t finished = 0;
};

/// Rows in the order of the groups. A baseline that came out the same beside several sets stands
/// once, behind the first of them. Results on other data, or on another part of it, stand apart.
/// @throws StorageError naming the file of a document that lacks what an evaluation has
std::vector<Row> join_results(const std::vector<Judgement>& judgements);

/// Of rows that stand apart because their datasets differ, and of sets that different versions of
/// the program made and one row joins.
std::vector<std::string> notes_on(const std::vector<Row>& rows);

/// Ways to write one.
std::string table_text(const Table& table);
std::string table_csv(const Table& table);
std::string table_latex(const Table& table);
nlohmann::json table_json(const Table& table);

}  // namespace retort::sweep
