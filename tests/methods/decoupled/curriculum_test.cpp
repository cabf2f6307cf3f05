#include "methods/decoupled/curriculum.h"

#include "lib/core/error.h"
#include "tests/support/catch.h"

using namespace retort;
using methods::decoupled::Curriculum;
using Course = Curriculum::Course;

TEST_CASE("a curriculum goes from the whole image to the lowest area at its milestone",
          "[methods][decoupled]") {
  for (const Course course : {Course::Step, Course::Linear, Course::Cosine}) {
    Curriculum curriculum{.course = course, .lowest = 0.4, .milestone = 0.5};
    double before = curriculum.smallest_area(0, 200);
    CHECK(before == 1);
    for (std::int64_t t = 1; t < 200; ++t) {
      const double area = curriculum.smallest_area(t, 200);
      REQUIRE(area <= before);
      REQUIRE(area >= 0.4);
      if (t >= 100) REQUIRE(area == 0.4);
      before = area;
    }
    curriculum.milestone = 0;
    for (std::int64_t t = 0; t < 200; ++t) REQUIRE(curriculum.smallest_area(t, 200) == 0.4);
  }
}

TEST_CASE("a curriculum may begin with small crops, and never grows", "[methods][decoupled]") {
  for (const Course course : {Course::Step, Course::Linear, Course::Cosine}) {
    const Curriculum curriculum{.course = course, .lowest = 0.1, .milestone = 0.5, .highest = 0.5};
    CHECK(curriculum.smallest_area(0, 100) == 0.5);
    CHECK(curriculum.smallest_area(50, 100) == 0.1);
    if (course == Course::Step) continue;
    CHECK(curriculum.smallest_area(25, 100) == Approx(0.3).epsilon(1e-12));
  }
  const Curriculum grows{.lowest = 0.5, .milestone = 1, .highest = 0.4};
  CHECK_THROWS_WITH_TEXT(grows.smallest_area(0, 10), ConfigError,
                         "that at first not below that at the end");
}

TEST_CASE("halfway a linear and a cosine curriculum are halfway", "[methods][decoupled]") {
  for (const Course course : {Course::Linear, Course::Cosine}) {
    const Curriculum curriculum{.course = course, .lowest = 0.08, .milestone = 1};
    CHECK(curriculum.smallest_area(500, 1000) == Approx(0.54).epsilon(1e-12));
  }
  const Curriculum cosine{.course = Course::Cosine, .lowest = 0, .milestone = 1};
  CHECK_THROWS_WITH_TEXT(cosine.smallest_area(1, 10), ConfigError,
                         "expected areas above 0 and up to 1, that at first not below that at the "
                         "end, and a milestone "
                         "from 0 to 1, found 1, 0 and 1");
  const Curriculum late{.course = Course::Step, .lowest = 0.08, .milestone = 1.5};
  CHECK_THROWS_WITH_TEXT(late.smallest_area(1, 10), ConfigError, "found 1, 0.08 and 1.5");
}

TEST_CASE("curricula go by their names", "[methods][decoupled]") {
  const bool cosine = Curriculum::course_of("cosine") == Course::Cosine;
  CHECK(cosine);
  const bool step = Curriculum::course_of("step") == Course::Step;
  CHECK(step);
  CHECK_THROWS_WITH_TEXT(Curriculum::course_of("linaer"), ConfigError,
                         "unknown curriculum 'linaer'; did you mean 'linear'?");
}
