#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <unistd.h>

namespace retort::testing {

/// A folder of its own under the system's temporary folder, removed at the end.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& name)
      : path_(std::filesystem::temp_directory_path() /
              ("retort-" + name + "-" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ec;
    std::filesystem::remove_all(path_, ec);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

inline void spit(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// A Python interpreter that has these modules ("h5py, numpy"), or "".
inline std::string find_python(const std::string& modules) {
  for (const std::string interpreter : {"python3", "/usr/bin/python3"}) {
    const std::string command = interpreter + " -c 'import " + modules + "' >/dev/null 2>&1";
    if (std::system(command.c_str()) == 0) return interpreter;
  }
  return "";
}

/// The lines of Python in a Markdown text that read the file `name`, with `path` in its place; ""
/// if there are none.
inline std::string python_lines(const std::string& markdown, const std::string& name,
                                const std::string& path) {
  const std::string opening = "```python\n";
  for (std::size_t begin = markdown.find(opening); begin != std::string::npos;
       begin = markdown.find(opening, begin)) {
    begin += opening.size();
    std::string code = markdown.substr(begin, markdown.find("```", begin) - begin);
    const std::size_t quoted = code.find('"' + name + '"');
    if (quoted != std::string::npos) return code.replace(quoted + 1, name.size(), path);
  }
  return "";
}

/// Runs a Python program and returns what it printed; the exit status goes to `status`.
inline std::string run_python(const std::string& interpreter, const std::filesystem::path& script,
                              const std::string& arguments, int& status) {
  const std::string command = interpreter + " " + script.string() + " " + arguments + " 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  std::string output;
  char buffer[4096];
  while (pipe != nullptr && std::fgets(buffer, sizeof buffer, pipe) != nullptr) output += buffer;
  status = pipe == nullptr ? -1 : ::pclose(pipe);
  return output;
}

}  // namespace retort::testing
