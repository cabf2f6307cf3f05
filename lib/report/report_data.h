#pragma once
// What a report is made of: plain values, collected by whoever knows the files.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/report/chart.h"

namespace retort::report {

/// A PNG file and what it shows in words.
struct Image {
  std::string png;
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::string alt;
};

/// The real training image that is nearest to a synthetic one in pixel space.
struct Neighbour {
  Image image;
  std::int64_t index = 0;  ///< in the training split
  std::string class_name;
  double distance = 0;  ///< root mean square of pixel differences, black 0 to white 1
};

struct Cell {
  Image image;
  std::optional<Neighbour> nearest;
};

struct ClassRow {
  std::string name;
  std::vector<Cell> cells;
  std::int64_t left_out = 0;  ///< images of the class that are not shown
};

/// Images by class: those stored, or those that networks see.
struct Gallery {
  std::string title;
  std::vector<ClassRow> rows;
};

/// One image of every class, as it was after so many iterations.
struct Evolution {
  std::vector<std::int64_t> iterations;
  struct Strip {
    std::string name;
    std::vector<Image> images;  ///< one per entry of `iterations`
  };
  std::vector<Strip> strips;
};

/// Networks of one architecture, trained on one thing and tested; accuracies in percent.
struct Judged {
  std::string subject;  ///< name of the set, or of a baseline
  bool baseline = false;
  std::string network;
  std::string augmentation{};  ///< that it trained under; empty: the protocol's
  double mean = 0;
  double std = 0;
  std::vector<double> runs;
  std::optional<double> best;  ///< selected on what it was tested on
  struct Attacked {
    std::string attack;
    double mean = 0;
    double std = 0;
  };
  std::vector<Attacked> attacked;
  std::int64_t images = 0;
  double image_bytes = 0;
  double label_bytes = 0;
  std::int64_t sgd_steps = 0;
  double seconds = 0;
  std::vector<double> per_class;                     ///< not finite: no test images
  std::vector<std::vector<std::int64_t>> confusion;  ///< rows: true classes
};

/// "ConvNet-3", or "ConvNet-3, autoaugment"
std::string network_text(const Judged& judged);

/// One result file of `retort evaluate`.
struct Evaluation {
  std::string file;
  std::string protocol;
  std::string dataset;
  std::string dataset_sha256{};
  std::int64_t subset_per_class = 0;  ///< training images that the set was made from; 0: all
  std::string tested_on;
  std::string seeds;
  std::string options;            ///< of the protocol, "epochs = 300, ..."
  std::string teachers;           ///< empty: none
  std::string teachers_sha256{};  ///< of their parameters
  std::string label_recipe{};     ///< how teachers labelled; empty: they did not
  std::vector<std::string> class_names;
  std::vector<Judged> judged;        ///< the set first, then what stands beside it
  std::vector<std::string> notes{};  ///< sentences on all of it: means over networks
};

/// One result file of a protocol that ends in a score.
struct Score {
  std::string file;
  std::string title;
  std::string how;                              ///< a sentence: network, seeds, dataset
  std::string note;                             ///< a sentence: what was chosen on what
  std::vector<std::string> header;              ///< of the trainings behind it
  std::vector<std::vector<std::string>> rows;   ///< one per training
  std::vector<std::vector<std::string>> parts;  ///< name, value, meaning; the score last
};

/// Part of a report that could not be filled, and what would fill it.
struct Gap {
  std::string section;
  std::string reason;   ///< a sentence
  std::string command;  ///< may be empty
};

using Fact = std::pair<std::string, std::string>;  ///< name, text

/// A set and the run that made it, as far as there are files of it.
struct SetReport {
  std::string name;
  std::vector<Fact> facts;  ///< of the set, for a table
  std::vector<Gallery> galleries;
  std::optional<Image> last_picture;  ///< of a run without a set yet
  Evolution evolution;
  std::vector<Curve> metrics;  ///< by iteration: the loss, then the method's own columns
  std::vector<Curve> checks;   ///< accuracy by iterations done, with the protocol in the name
  std::vector<Evaluation> evaluations;
  std::vector<Score> scores{};
  std::optional<Histogram> pixels;
  std::string pixels_note;
  std::vector<Fact> cost;
  std::string config;  ///< `key = value` lines; empty: not known
  std::string repeat;  ///< the command that makes the set again; empty: none
  std::string repeat_intro = "This command makes the set again:";
  std::vector<Gap> gaps;
};

struct ReportData {
  std::string title;
  std::string program;  ///< name and version
  std::vector<SetReport> sets;
};

/// Names of the sections that hold something of this set, in the order of the page.
std::vector<std::string> filled_sections(const SetReport& set);

}  // namespace retort::report
