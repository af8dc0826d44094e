// How a load program is told when its measured part begins (--until-told). Until then it prints, at
// the end of each window, how many answers came in it; a line on its standard input, whatever it
// says, begins the measured part. So one rule outside decides for all load programs when a run is
// steady (compare_steady.py). End of file without a line: who started it is gone, and it ends.
#pragma once

#include <chrono>
#include <cstddef>
#include <iostream>

namespace txcoord::bench {

struct ToldSettings {
  bool until_told = false;
  double window_s = 0.5;
};

// Nobody is waited for longer than this.
inline constexpr std::chrono::minutes told_within{10};

inline void print_window(std::size_t answers) {
  std::cout << "{\"answers_in_window\": " << answers << "}" << std::endl;
}

}  // namespace txcoord::bench
