#pragma once
// Errors by who can put them right. Messages name the thing, the rule and what was found.

#include <stdexcept>
#include <string>
#include <typeinfo>
#include <utility>

namespace retort {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The user asked for something that cannot be: unknown names, values out of range. Exit code 2.
class ConfigError : public Error {
 public:
  using Error::Error;
};

/// A dataset or image file breaks its format's rules. Exit code 1.
class DataError : public Error {
 public:
  using Error::Error;
};

/// A file of Retort's own (set, checkpoint, experts) cannot be read or written. Exit code 1.
class StorageError : public Error {
 public:
  using Error::Error;
};

/// NaN, divergence, a computation that lost its meaning. Exit code 1.
class NumericalError : public Error {
 public:
  using Error::Error;
};

/// The run was asked to stop and has saved its state. Exit code 130.
class Interrupted : public Error {
 public:
  using Error::Error;
};

/// Runs `body`; a ConfigError, DataError, StorageError or NumericalError that leaves it keeps its
/// type and gets `context + ": "` in front. Whatever else leaves it passes as it is: Interrupted,
/// errors of other libraries, and classes derived from the four, which would lose what they say
/// beyond them.
template <class Body>
auto with_context(const std::string& context, Body&& body) -> decltype(body()) {
  try {
    return std::forward<Body>(body)();
  } catch (const Error& e) {
    const std::string text = context + ": " + e.what();
    if (typeid(e) == typeid(ConfigError)) throw ConfigError(text);
    if (typeid(e) == typeid(DataError)) throw DataError(text);
    if (typeid(e) == typeid(StorageError)) throw StorageError(text);
    if (typeid(e) == typeid(NumericalError)) throw NumericalError(text);
    throw;
  }
}

}  // namespace retort
