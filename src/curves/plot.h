// Curves as a picture: as text for a terminal, and as SVG for a page.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "curves/figures.h"

namespace dnc::curves {

struct Series {
  std::string name;
  char mark = '*';             // In a terminal.
  std::vector<double> values;  // One for each x, from 1.
};

struct Panel {
  std::string title;
  std::vector<Series> series;  // Of the same length.
};

// One for each figure that all rows have, of training and of validation.
std::vector<Panel> PanelsOf(const std::vector<Figures>& rows);

// `width` and `height` in characters, without the axes; at least 2. Where two series
// meet the later one is seen. "" for fewer than two values.
std::string PlotText(const Panel& panel, int width = 60, int height = 10);

// All panels side by side, one after the other at small widths; it needs nothing else.
std::string PlotSvg(const std::string& title, const std::vector<Panel>& panels);

}  // namespace dnc::curves
