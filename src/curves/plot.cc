#include "curves/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace dnc::curves {
namespace {

struct Range {
  double low = 0;
  double high = 0;
};

// Never empty, so that a flat curve is a line in the middle.
Range RangeOf(const Panel& panel) {
  Range range{INFINITY, -INFINITY};
  for (const Series& series : panel.series) {
    for (const double value : series.values) {
      range.low = std::min(range.low, value);
      range.high = std::max(range.high, value);
    }
  }
  if (range.high - range.low < 1e-12) {
    range.low -= 0.5;
    range.high += 0.5;
  }
  return range;
}

std::size_t LengthOf(const Panel& panel) {
  return panel.series.empty() ? 0 : panel.series.front().values.size();
}

std::string Text(const char* format, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

// The value at a column: the points in between lie on lines.
double At(const std::vector<double>& values, double position) {
  const auto left = static_cast<std::size_t>(position);
  if (left + 1 >= values.size()) return values.back();
  const double share = position - static_cast<double>(left);
  return values[left] * (1 - share) + values[left + 1] * share;
}

std::string Escaped(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '<') {
      escaped += "&lt;";
    } else if (c == '&') {
      escaped += "&amp;";
    } else if (c == '"') {
      escaped += "&quot;";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

// Of one panel; colours that most eyes tell apart (Okabe and Ito, 2008).
constexpr std::array<const char*, 4> kColours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7"};
constexpr double kPanelWidth = 420;
constexpr double kPanelHeight = 280;
constexpr double kLeft = 62;
constexpr double kTop = 34;
constexpr double kPlotWidth = kPanelWidth - kLeft - 18;
constexpr double kPlotHeight = kPanelHeight - kTop - 52;

// A step of 1, 2 or 5 times a power of ten, of which about five fit.
double TickStep(const Range& range) {
  const double rough = (range.high - range.low) / 5;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

class SvgPanel {
 public:
  SvgPanel(const Panel& panel, double x) : panel_(panel), range_(RangeOf(panel)), x_(x) {}

  std::string Draw() {
    out_ = "<g transform=\"translate(" + Text("%.0f", x_) + ",0)\">\n";
    Label(kLeft + kPlotWidth / 2, 20, "middle", panel_.title);
    const double step = TickStep(range_);
    const double last = range_.high + step * 1e-9;
    for (double tick = std::ceil(range_.low / step) * step; tick <= last; tick += step) {
      const double y = Y(tick);
      Line(kLeft, y, kLeft + kPlotWidth, y, "#ddd");
      Label(kLeft - 6, y + 4, "end", Text("%.4g", std::abs(tick) < step * 1e-9 ? 0 : tick));
    }
    Line(kLeft, kTop + kPlotHeight, kLeft + kPlotWidth, kTop + kPlotHeight, "#444");
    Label(kLeft, kTop + kPlotHeight + 16, "middle", "1");
    Label(kLeft + kPlotWidth, kTop + kPlotHeight + 16, "middle", std::to_string(LengthOf(panel_)));
    Label(kLeft + kPlotWidth / 2, kTop + kPlotHeight + 16, "middle", "epoch");
    for (std::size_t i = 0; i < panel_.series.size(); ++i) Curve(i);
    return out_ + "</g>\n";
  }

 private:
  double X(std::size_t index) const {
    const auto count = static_cast<double>(std::max<std::size_t>(LengthOf(panel_), 2));
    return kLeft + kPlotWidth * static_cast<double>(index) / (count - 1);
  }
  double Y(double value) const {
    return kTop + kPlotHeight * (range_.high - value) / (range_.high - range_.low);
  }
  void Label(double x, double y, const char* anchor, const std::string& text) {
    out_ += "<text x=\"" + Text("%.1f", x) + "\" y=\"" + Text("%.1f", y) + "\" text-anchor=\"" +
            anchor + "\">" + Escaped(text) + "</text>\n";
  }
  void Line(double x1, double y1, double x2, double y2, const char* colour) {
    out_ += "<line x1=\"" + Text("%.1f", x1) + "\" y1=\"" + Text("%.1f", y1) + "\" x2=\"" +
            Text("%.1f", x2) + "\" y2=\"" + Text("%.1f", y2) + "\" stroke=\"" + colour + "\"/>\n";
  }
  void Curve(std::size_t number) {
    const Series& series = panel_.series[number];
    const char* const colour = kColours[number % kColours.size()];
    out_ += "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"" + std::string(colour) +
            "\" points=\"";
    for (std::size_t i = 0; i < series.values.size(); ++i) {
      out_ += Text("%.1f,", X(i)) + Text("%.1f ", Y(series.values[i]));
    }
    out_ += "\"/>\n";
    const double x = kLeft + 120 * static_cast<double>(number);
    const double y = kPanelHeight - 8;
    Line(x, y - 4, x + 18, y - 4, colour);
    Label(x + 24, y, "start", series.name);
  }

  const Panel& panel_;
  Range range_;
  double x_;
  std::string out_;
};

}  // namespace

std::vector<Panel> PanelsOf(const std::vector<Figures>& rows) {
  const auto add = [&](const std::string& figure, const char* name, char mark, Panel* panel) {
    Series series{.name = name, .mark = mark, .values = {}};
    for (const Figures& row : rows) {
      const std::optional<double> value = row.Find(figure);
      if (!value) return;
      series.values.push_back(*value);
    }
    panel->series.push_back(std::move(series));
  };
  std::vector<Panel> panels;
  for (const std::string& name : NamesOf(rows)) {
    if (name.starts_with(kValidationPrefix)) continue;
    Panel panel{.title = name, .series = {}};
    add(name, "training", 't', &panel);
    add(kValidationPrefix + name, "validation", 'v', &panel);
    if (!panel.series.empty()) panels.push_back(std::move(panel));
  }
  return panels;
}

std::string PlotText(const Panel& panel, int width, int height) {
  const std::size_t length = LengthOf(panel);
  if (length < 2) return "";
  const Range range = RangeOf(panel);
  std::vector<std::string> rows(static_cast<std::size_t>(height),
                                std::string(static_cast<std::size_t>(width), ' '));
  for (const Series& series : panel.series) {
    for (int column = 0; column < width; ++column) {
      const double position = static_cast<double>(column) * static_cast<double>(length - 1) /
                              static_cast<double>(width - 1);
      const double share = (range.high - At(series.values, position)) / (range.high - range.low);
      const auto row = static_cast<std::size_t>(std::lround(share * (height - 1)));
      rows[row][static_cast<std::size_t>(column)] = series.mark;
    }
  }
  std::string text = panel.title;
  for (const Series& series : panel.series) {
    text += std::string(", ") + series.mark + " " + series.name;
  }
  text += "\n";
  for (int row = 0; row < height; ++row) {
    std::string label;
    if (row == 0) label = Text("%.4f", range.high);
    if (row == height - 1) label = Text("%.4f", range.low);
    std::string line = rows[static_cast<std::size_t>(row)];
    line.erase(line.find_last_not_of(' ') + 1);
    text += std::string(label.size() < 10 ? 10 - label.size() : 0, ' ') + label + " |" + line;
    text += "\n";
  }
  const std::string last = std::to_string(length);
  const auto gap = static_cast<std::size_t>(std::max(1, width - 8 - static_cast<int>(last.size())));
  text += std::string(11, ' ') + "+" + std::string(static_cast<std::size_t>(width), '-') + "\n";
  text += std::string(12, ' ') + "epoch 1 " + std::string(gap, ' ') + last + "\n";
  return text;
}

std::string PlotSvg(const std::string& title, const std::vector<Panel>& panels) {
  const double width = kPanelWidth * static_cast<double>(panels.size());
  std::string text =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + Text("%.0f ", width) +
      Text("%.0f", kPanelHeight) + "\" width=\"" + Text("%.0f", width) +
      "\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n<title>" + Escaped(title) +
      "</title>\n<rect width=\"100%\" height=\"100%\" "
      "fill=\"#fff\"/>\n";
  for (std::size_t i = 0; i < panels.size(); ++i) {
    text += SvgPanel(panels[i], kPanelWidth * static_cast<double>(i)).Draw();
  }
  return text + "</svg>\n";
}

}  // namespace dnc::curves
