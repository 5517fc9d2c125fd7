#include "stream/stream.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <mutex>

#include "batch_buffers.h"
#include "dataset.h"

namespace dnc::python {
namespace {

// How long a wait goes on before Ctrl-C is looked for.
constexpr Duration kSignalInterval = Duration::Milliseconds(100);

stream::StreamOptions ParseStreamOptions(const py::dict& values, std::uint64_t* first_epoch) {
  stream::StreamOptions parsed;
  Options options(values, "stream");
  options.Read("split", &parsed.split);
  options.Read("shuffle", &parsed.shuffle);
  options.Read("seed", &parsed.seed);
  options.Read("epochs", &parsed.epochs);
  options.ReadBytes("memory", &parsed.memory_bytes);
  options.ReadBytes("disk", &parsed.disk_bytes);
  options.Read("cache", &parsed.cache_folder);
  options.Read("rank", &parsed.worker);
  options.Read("world_size", &parsed.workers);
  options.Read("lanes", &parsed.lanes);
  options.Read("window_samples", &parsed.window_samples);
  options.Read("batch_size", &parsed.batch_samples);
  options.Read("batches_held", &parsed.batches_held);
  std::optional<std::pair<std::uint32_t, std::uint32_t>> resize;
  options.Read("resize", &resize);
  if (resize) parsed.resize = image::ImageSize{resize->first, resize->second};
  options.Read("decode_threads", &parsed.decode_threads);
  options.Read("connections", &parsed.connections);
  options.Read("reuse", &parsed.reuse_max);
  options.Read("first_epoch", first_epoch);
  std::string position;
  options.Read("position", &position);
  if (!position.empty()) parsed.resume = Take(stream::ParsePosition(position, "the state"));
  options.Finish();
  return parsed;
}

// A Stream whose batches are NumPy arrays and lists. Threads of Python may share it:
// calls take turns.
class BatchStream {
 public:
  BatchStream(std::shared_ptr<OpenedDataset> dataset, const py::dict& options,
              const std::vector<std::string>& columns)
      : dataset_(std::move(dataset)) {
    CheckNumPy();
    std::uint64_t first_epoch = 0;
    options_ = ParseStreamOptions(options, &first_epoch);
    stream_ = Take(Open());
    if (first_epoch > 0 && !options_.resume) {
      options_.resume = stream_->position();
      options_.resume->epoch = first_epoch;
      stream_ = Take(Open());
    }
    SelectColumns(columns);
    pools_.resize(stream_->columns().size());
    bytes_.resize(pools_.size());
    ends_.resize(pools_.size());
  }
  ~BatchStream() { Close(); }

  // Up to `samples` samples of the selected columns, or None at the end.
  py::object Next(std::uint64_t samples);
  void Close();
  std::string Position();
  py::dict Statistics();
  py::dict Plan();
  py::dict Foresee(double samples_per_second);
  py::list Columns();

 private:
  // Holds the stream for one caller; takes the lock that comes with it without the
  // interpreter's, so that a thread which waits for data does not stop the others.
  class Turn {
   public:
    explicit Turn(BatchStream* self) : lock_(self->mutex_, std::defer_lock) {
      {
        const py::gil_scoped_release unlocked;
        lock_.lock();
      }
      if (self->stream_ == nullptr) {
        Raise({ErrorCode::kInvalidArgument, "the stream is closed"});
      }
    }

   private:
    std::unique_lock<std::mutex> lock_;
  };

  Result<std::unique_ptr<stream::Stream>> Open() {
    const py::gil_scoped_release unlocked;
    stream_.reset();
    return stream::Stream::Open(&dataset_->manifest(), &dataset_->store(), options_);
  }
  void SelectColumns(const std::vector<std::string>& columns);
  // Gathers into the parts from sample `offset` on.
  std::uint64_t GatherPiece(std::uint64_t samples, std::uint64_t offset,
                            std::vector<py::object>* parts);
  Result<std::uint64_t> WaitAndGather(std::uint64_t samples,
                                      const std::vector<stream::Destination>& destinations);

  std::shared_ptr<OpenedDataset> dataset_;
  stream::StreamOptions options_;
  std::mutex mutex_;
  std::unique_ptr<stream::Stream> stream_;
  std::vector<std::size_t> selected_;
  std::vector<BufferPool> pools_;  // One a column; likewise the next two.
  std::vector<Bytes> bytes_;
  std::vector<std::vector<std::uint32_t>> ends_;
};

void BatchStream::SelectColumns(const std::vector<std::string>& columns) {
  const std::vector<array::ColumnSpec>& all = stream_->columns();
  std::string names;
  for (const array::ColumnSpec& column : all) names += (names.empty() ? "" : ", ") + column.name;
  for (const std::string& name : columns) {
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const auto& column) { return column.name == name; });
    if (found == all.end()) {
      Raise({ErrorCode::kNotFound,
             dataset_->location() + " has no column \"" + name + "\"; it has " + names});
    }
    selected_.push_back(static_cast<std::size_t>(found - all.begin()));
  }
  if (columns.empty()) {
    for (std::size_t c = 0; c < all.size(); ++c) selected_.push_back(c);
  }
}

py::object BatchStream::Next(std::uint64_t samples) {
  if (samples == 0) Raise({ErrorCode::kInvalidArgument, "a batch of no samples"});
  const Turn turn(this);
  const std::vector<array::ColumnSpec>& columns = stream_->columns();
  std::vector<py::object> parts(columns.size());  // A Buffer, or a list.
  for (const std::size_t c : selected_) {
    if (columns[c].is_array()) {
      parts[c] = pools_[c].Take(samples * columns[c].sample_bytes());
    } else {
      parts[c] = py::list();
    }
  }
  std::uint64_t done = 0;
  while (done < samples) {
    const std::uint64_t wanted = std::min(samples - done, options_.batch_samples);
    const std::uint64_t given = GatherPiece(wanted, done, &parts);
    done += given;
    if (given < wanted) break;  // The end of an epoch.
  }
  if (done == 0) return py::none();
  py::list batch(selected_.size());
  for (std::size_t i = 0; i < selected_.size(); ++i) {
    const std::size_t c = selected_[i];
    batch[i] = columns[c].is_array() ? ArrayOver(parts[c], columns[c], done) : parts[c];
  }
  return batch;
}

std::uint64_t BatchStream::GatherPiece(std::uint64_t samples, std::uint64_t offset,
                                       std::vector<py::object>* parts) {
  const std::vector<array::ColumnSpec>& columns = stream_->columns();
  std::vector<stream::Destination> destinations(columns.size());
  for (const std::size_t c : selected_) {
    if (columns[c].is_array()) {
      destinations[c].rows =
          (*parts)[c].cast<const Buffer&>().data() + offset * columns[c].sample_bytes();
    } else {
      destinations[c].bytes = &bytes_[c];
      destinations[c].ends = &ends_[c];
    }
  }
  const std::uint64_t given = Take(WaitAndGather(samples, destinations));
  for (const std::size_t c : selected_) {
    if (!columns[c].is_array() && given > 0) {
      AppendTo((*parts)[c].cast<py::list>(), columns[c], bytes_[c], ends_[c]);
    }
  }
  return given;
}

Result<std::uint64_t> BatchStream::WaitAndGather(
    std::uint64_t samples, const std::vector<stream::Destination>& destinations) {
  for (;;) {
    {
      const py::gil_scoped_release unlocked;
      if (stream_->WaitUntilReady(kSignalInterval)) return stream_->Next(samples, destinations);
    }
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }
}

void BatchStream::Close() {
  std::unique_ptr<stream::Stream> stream;
  const py::gil_scoped_release unlocked;
  {
    const std::lock_guard lock(mutex_);
    stream = std::move(stream_);
  }
}

std::string BatchStream::Position() {
  const Turn turn(this);
  return stream::FormatPosition(stream_->position());
}

py::dict BatchStream::Statistics() {
  const Turn turn(this);
  const stream::StreamStatistics statistics = stream_->statistics();
  py::dict dict;
  dict["samples"] = statistics.samples;
  dict["samples_repeated"] = statistics.samples_repeated;
  dict["fetched_bytes"] = statistics.fetched_bytes;
  dict["cache_bytes"] = statistics.cache_bytes;
  dict["decoded_bytes"] = statistics.decoded_bytes;
  dict["leaves_rejected"] = statistics.leaves_rejected;
  dict["memory_peak_bytes"] = statistics.memory_peak_bytes;
  dict["disk_bytes"] = statistics.disk_bytes;
  dict["waited_seconds"] = statistics.waited.seconds();
  dict["elapsed_seconds"] = statistics.elapsed.seconds();
  return dict;
}

py::dict BatchStream::Plan() {
  const Turn turn(this);
  const stream::StreamPlan& plan = stream_->plan();
  py::dict dict;
  dict["window_samples"] = plan.window_samples;
  dict["lanes"] = plan.lanes;
  dict["epoch_samples"] = plan.epoch_samples;
  dict["worker_samples"] = plan.worker_samples;
  dict["memory_needed_bytes"] = plan.memory_needed_bytes;
  dict["memory_text"] = plan.memory_text;
  return dict;
}

py::dict BatchStream::Foresee(double samples_per_second) {
  const Turn turn(this);
  auto result = [&] {
    const py::gil_scoped_release unlocked;
    return stream_->Foresee(samples_per_second);
  }();
  const stream::Forecast forecast = Take(std::move(result));
  py::dict dict;
  dict["epoch_bytes"] = forecast.epoch_bytes;
  dict["later_epoch_bytes"] = forecast.later_epoch_bytes;
  dict["link_bytes_per_second"] = forecast.link_bytes_per_second;
  dict["link_samples_per_second"] = forecast.link_samples_per_second;
  dict["epoch_download_seconds"] = forecast.epoch_download.seconds();
  dict["waiting_share"] = forecast.waiting_share;
  dict["text"] = forecast.Text();
  return dict;
}

py::list BatchStream::Columns() {
  const Turn turn(this);
  py::list columns;
  for (const std::size_t c : selected_) columns.append(ColumnToDict(stream_->columns()[c]));
  return columns;
}

}  // namespace

void BindStream(py::module_* module) {
  BindBuffer(module);
  py::class_<BatchStream>(*module, "BatchStream")
      .def(py::init<std::shared_ptr<OpenedDataset>, const py::dict&,
                    const std::vector<std::string>&>(),
           py::arg("dataset"), py::arg("options"), py::arg("columns"))
      .def("next", &BatchStream::Next, py::arg("samples"))
      .def("close", &BatchStream::Close)
      .def("position", &BatchStream::Position)
      .def("statistics", &BatchStream::Statistics)
      .def("plan", &BatchStream::Plan)
      .def("foresee", &BatchStream::Foresee, py::arg("samples_per_second"))
      .def("columns", &BatchStream::Columns);
}

}  // namespace dnc::python
