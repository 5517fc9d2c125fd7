#include "trainer_torch/benchmark.h"

#include <ATen/ATen.h>
#include <stdio.h>
#include <sys/resource.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "base/prng.h"
#include "base/time.h"
#include "model/model.h"
#include "trainer_torch/device.h"
#include "trainer_torch/machine.h"
#include "trainer_torch/matrix_products.h"
#include "trainer_torch/torch_engine.h"

namespace dnc::trainer_torch {

namespace {

// Conv (`filters`) - pool - Conv (twice as many) - pool - Dense - Dense; without
// `filters` the two Dense layers alone, and without `hidden` the last. "demo" is
// examples/fashion_mnist/model.json.
struct Network {
  const char* name;
  std::int64_t filters;
  bool same_padding;
  std::int64_t side;  // Of the square image.
  std::int64_t channels;
  std::int64_t hidden;
  std::int64_t outputs;  // 1: binary cross-entropy; more: sparse categorical.
};

constexpr Network kNetworks[] = {
    {"cnn", 32, false, 198, 3, 64, 1},
    {"demo", 16, true, 28, 1, 64, 10},
    {"mlp", 0, false, 28, 1, 128, 10},
    {"linear", 0, false, 28, 1, 0, 10},
};

std::string Dense(const std::string& name, std::int64_t units, const char* activation) {
  return R"({"class_name":"Dense","config":{"name":")" + name + R"(","units":)" +
         std::to_string(units) + R"(,"activation":")" + activation + R"("}})";
}

std::string Conv(const std::string& name, std::int64_t filters, bool same_padding) {
  return R"({"class_name":"Conv2D","config":{"name":")" + name + R"(","filters":)" +
         std::to_string(filters) + R"(,"kernel_size":[3,3],"padding":")" +
         (same_padding ? "same" : "valid") +
         R"(","activation":"relu"}},)"
         R"({"class_name":"MaxPooling2D","config":{"name":")" +
         name + R"(_pool","pool_size":[2,2]}},)";
}

std::string ModelJson(const Network& network) {
  const std::string side = std::to_string(network.side);
  std::string json = R"({"class_name":"Sequential","config":{"name":"benchmark","layers":[)"
                     R"({"class_name":"InputLayer","config":{"name":"input","batch_input_shape":)"
                     "[null," +
                     side + "," + side + "," + std::to_string(network.channels) + "]}},";
  if (network.filters > 0) {
    json += Conv("conv_1", network.filters, network.same_padding) +
            Conv("conv_2", 2 * network.filters, network.same_padding);
  }
  json += R"({"class_name":"Flatten","config":{"name":"flatten"}},)";
  if (network.hidden > 0) json += Dense("hidden", network.hidden, "relu") + ",";
  json += Dense("output", network.outputs, network.outputs == 1 ? "sigmoid" : "softmax");
  json += R"(]},"compile":{"optimizer":{"class_name":"SGD","config":{"learning_rate":0.01}},)"
          R"("loss":")";
  json += network.outputs == 1 ? "binary_crossentropy" : "sparse_categorical_crossentropy";
  return json + R"(","metrics":["accuracy"]}})";
}

// The loop as one writes it with libtorch alone: NHWC batches of floats in memory,
// weights as libtorch keeps them, one in-place update a tensor.
class PlainLoop {
 public:
  PlainLoop(const Network& network, std::int64_t batch_size, at::Device device)
      : network_(network), device_(device) {
    std::int64_t features = network.side * network.side * network.channels;
    if (const std::int64_t filters = network.filters; filters > 0) {
      const std::int64_t cut = network.same_padding ? 0 : 2;
      const std::int64_t side = ((network.side - cut) / 2 - cut) / 2;
      features = side * side * 2 * filters;
      AddWeight({filters, network.channels, 3, 3});
      AddWeight({filters});
      AddWeight({2 * filters, filters, 3, 3});
      AddWeight({2 * filters});
    }
    if (network.hidden > 0) {
      AddWeight({features, network.hidden});
      AddWeight({network.hidden});
      features = network.hidden;
    }
    AddWeight({features, network.outputs});
    AddWeight({network.outputs});
    x_ = at::rand({batch_size, network.side, network.side, network.channels}).to(device);
    y_ = network.outputs == 1 ? at::ones({batch_size, 1}) : at::ones({batch_size}, at::kLong);
    y_ = y_.to(device);
  }

  void Step() {
    at::Tensor hidden = x_;
    std::size_t next = 0;
    if (network_.filters > 0) {
      const std::int64_t padding = network_.same_padding ? 1 : 0;
      hidden = x_.permute({0, 3, 1, 2});
      for (int layer = 0; layer < 2; ++layer, next += 2) {
        at::Tensor convolved = at::conv2d(hidden, weights_[next], weights_[next + 1], 1, padding);
        hidden = at::max_pool2d(convolved.relu_(), {2, 2});
      }
      hidden = hidden.permute({0, 2, 3, 1});
    }
    hidden = hidden.reshape({hidden.size(0), -1});
    if (network_.hidden > 0) {
      hidden = at::addmm(weights_[next + 1], hidden, weights_[next]).relu_();
      next += 2;
    }
    const at::Tensor out = at::addmm(weights_[next + 1], hidden, weights_[next]);
    const at::Tensor loss = network_.outputs == 1 ? at::binary_cross_entropy_with_logits(out, y_)
                                                  : at::cross_entropy_loss(out, y_);
    loss.backward();
    const at::NoGradGuard no_grad;
    for (at::Tensor& weight : weights_) {
      weight.add_(weight.grad(), -0.01);
      weight.mutable_grad().reset();
    }
    // Waits for the device, as whoever prints the loss does, and as the engine does.
    if (!device_.is_cpu()) static_cast<void>(loss.item<float>());
  }

 private:
  void AddWeight(const std::vector<std::int64_t>& sizes) {
    at::Tensor weight = (at::randn(sizes) * 0.01).to(device_);
    if (sizes.size() == 4) weight = weight.contiguous(at::MemoryFormat::ChannelsLast);
    weights_.push_back(weight.set_requires_grad(true));
  }

  const Network& network_;
  at::Device device_;
  std::vector<at::Tensor> weights_;
  at::Tensor x_, y_;
};

struct Speed {
  double best = 0;    // Samples/s of the fastest fifth of the time.
  double median = 0;  // Of the fifths.
};

Speed Measure(const BenchmarkOptions& options, const std::function<void()>& step) {
  for (int i = 0; i < 3; ++i) step();
  std::vector<double> speeds;
  const int parts = 5;
  for (int part = 0; part < parts; ++part) {
    const Instant start = MonotonicNow();
    std::uint64_t samples = 0;
    double elapsed = 0;
    do {
      step();
      samples += options.batch_size;
      elapsed = (MonotonicNow() - start).seconds();
    } while (elapsed < options.seconds / parts);
    speeds.push_back(static_cast<double>(samples) / elapsed);
  }
  std::sort(speeds.begin(), speeds.end());
  return {.best = speeds.back(), .median = speeds[parts / 2]};
}

void Print(const BenchmarkOptions& options, const char* loop, at::Device device,
           const Speed& speed) {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  ::printf(
      "{\"benchmark\":\"%s\",\"loop\":\"%s\",\"device\":\"%s\",\"threads\":%d,\"batch_size\":%u,"
      "\"samples_per_second\":%.1f,\"samples_per_second_best\":%.1f,"
      "\"peak_memory_mib\":%ld,\"forwarded_products\":%s}\n",
      options.name.c_str(), loop, device.str().c_str(), options.threads, options.batch_size,
      speed.median, speed.best, usage.ru_maxrss / 1024,
      ForwardedProductCount() > 0 ? "true" : "false");
  ::fflush(stdout);
}

// The engine on uint8 images and labels in memory, as a shard gives them.
Status MeasureEngine(const BenchmarkOptions& options, const Network& network, at::Device device,
                     Speed* speed) {
  DNC_ASSIGN(const model::Model model, model::ParseModel(ModelJson(network), "the benchmark"));
  trainer::TrainerOptions trainer_options;
  trainer_options.threads = options.threads;
  trainer_options.batch_size_max = options.batch_size;
  trainer_options.x = {{"x", array::DType::kUint8, model.input_shape(), {}}};
  trainer_options.y = {{"y", array::DType::kUint8, {}, {}}};
  DNC_TRY(model::CheckColumns(model, trainer_options.x, trainer_options.y, {}));
  const std::unique_ptr<DeviceEngine> engine = MakeTorchEngine();
  engine->UseDevice(device);
  DNC_TRY(engine->Configure(model, trainer_options));
  DNC_TRY(engine->SetWeights(model::InitialWeights(model, 1)));

  Prng prng(1);
  Bytes x(options.batch_size * trainer_options.x[0].sample_bytes());
  // Small values, so that unscaled pixels do not make the loss diverge.
  for (std::byte& value : x) value = static_cast<std::byte>(prng.Next() & 1);
  const Bytes y(options.batch_size, std::byte{1});
  Status failed;
  *speed = Measure(options, [&] {
    const auto result = engine->Run({.kind = trainer::BatchKind::kTrain,
                                     .x = {x},
                                     .y = {y},
                                     .samples = options.batch_size,
                                     .seed = 1},
                                    nullptr);
    if (!result.ok()) failed = result.error();
  });
  return failed;
}

}  // namespace

Status RunBenchmark(const BenchmarkOptions& options) {
  const auto* const network =
      std::find_if(std::begin(kNetworks), std::end(kNetworks),
                   [&](const Network& n) { return options.name == n.name; });
  if (network == std::end(kNetworks)) {
    return Error{ErrorCode::kInvalidArgument,
                 "unknown benchmark '" + options.name + "'; known are cnn, demo, mlp and linear"};
  }
  if (!options.loop.empty() && options.loop != "plain" && options.loop != "engine") {
    return Error{ErrorCode::kInvalidArgument,
                 "unknown loop '" + options.loop + "'; known are plain and engine"};
  }
  at::Device device = at::kCPU;
  try {
    SetThreads(options.threads);
    DNC_ASSIGN(device, ChooseDevice(options.device, /*gpu_allowed=*/true));
    PrepareDevice(device);
    if (options.loop != "engine") {
      PlainLoop plain(*network, options.batch_size, device);
      Print(options, "plain", device, Measure(options, [&] { plain.Step(); }));
    }
  } catch (const c10::Error& error) {
    return Error{ErrorCode::kInternal, std::string("libtorch: ") + error.what_without_backtrace()};
  } catch (const std::exception& error) {
    return Error{ErrorCode::kInternal, error.what()};
  }
  if (options.loop == "plain") return {};
  Speed speed;
  DNC_TRY(MeasureEngine(options, *network, device, &speed));
  Print(options, "engine", device, speed);
  return {};
}

}  // namespace dnc::trainer_torch
