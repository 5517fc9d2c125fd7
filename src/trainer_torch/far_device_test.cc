#include "trainer_torch/far_device_for_test.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/NativeFunctions.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <stdlib.h>
#include <torch/library.h>
#include <torch/version.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "base/assert.h"
#include "testing/testing.h"
#include "trainer_torch/device.h"

namespace dnc::trainer_torch {

#if TORCH_VERSION_MAJOR == 1

namespace {

constexpr c10::DeviceType kFarType = c10::DeviceType::PrivateUse1;
// No program has memory there.
constexpr std::uintptr_t kFarBit = std::uintptr_t{1} << 63;

void* NearAddress(void* address) {
  return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(address) & ~kFarBit);
}

void FreeFar(void* address) { ::free(NearAddress(address)); }

class FarAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) const override {
    void* const near = ::malloc(std::max<std::size_t>(bytes, 1));
    if (near == nullptr) throw std::bad_alloc();
    void* const far = reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(near) | kFarBit);
    return {far, far, FreeFar, c10::Device(kFarType, 0)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return FreeFar; }
};

FarAllocator* Allocator() {
  static FarAllocator allocator;
  return &allocator;
}

bool IsFar(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().type() == kFarType;
}

// The same memory as a tensor of the CPU.
at::Tensor Near(const at::Tensor& tensor) {
  if (!IsFar(tensor)) return tensor;
  return at::from_blob(NearAddress(tensor.data_ptr()), tensor.sizes(), tensor.strides(),
                       tensor.options().device(at::kCPU));
}

at::Tensor Empty(at::IntArrayRef size, c10::optional<at::ScalarType> dtype,
                 c10::optional<at::Layout>, c10::optional<at::Device>, c10::optional<bool>,
                 c10::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, Allocator(),
                                   c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   dtype.value_or(at::kFloat), format);
}

at::Tensor EmptyStrided(at::IntArrayRef size, at::IntArrayRef stride,
                        c10::optional<at::ScalarType> dtype, c10::optional<at::Layout>,
                        c10::optional<at::Device>, c10::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, Allocator(),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           dtype.value_or(at::kFloat));
}

at::Tensor CopyFrom(const at::Tensor& from, const at::Tensor& to, bool) {
  Near(to).copy_(Near(from));
  return to;
}

at::Tensor Far(const at::Tensor& near) { return near.defined() ? near.to(FarDevice()) : near; }

at::Tensor Convolution(const at::Tensor& input, const at::Tensor& weight,
                       const c10::optional<at::Tensor>& bias, at::IntArrayRef stride,
                       at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
                       at::IntArrayRef output_padding, std::int64_t groups) {
  const c10::optional<at::Tensor> near_bias = bias ? Near(*bias) : bias;
  return Far(at::convolution(Near(input), Near(weight), near_bias, stride, padding, dilation,
                             transposed, output_padding, groups));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> ConvolutionBackward(
    const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& weight,
    at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
    at::IntArrayRef output_padding, std::int64_t groups, std::array<bool, 3> wanted) {
  const std::vector<std::int64_t> bias_sizes{gradient.size(1)};
  const auto [by_input, by_weight, by_bias] = at::convolution_backward(
      Near(gradient), Near(input), Near(weight), at::IntArrayRef(bias_sizes), stride, padding,
      dilation, transposed, output_padding, groups, wanted);
  return {Far(by_input), Far(by_weight), Far(by_bias)};
}

// A GPU takes numbers from the CPU, and no tensors.
void CheckDevice(const c10::OperatorHandle& op, const at::Tensor& tensor) {
  TORCH_CHECK(!tensor.defined() || IsFar(tensor) || tensor.dim() == 0,
              "far device: ", op.schema().name(), " was given a tensor of another device");
}

// An argument whose far tensors are near. An empty one may be given the size of a result, which
// memory of another owner cannot be.
c10::IValue NearArgument(const c10::OperatorHandle& op, const c10::IValue& value) {
  if (value.isTensor()) {
    const at::Tensor tensor = value.toTensor();
    CheckDevice(op, tensor);
    if (!IsFar(tensor) || tensor.numel() > 0) return Near(tensor);
    return at::empty(tensor.sizes(), tensor.options().device(at::kCPU));
  }
  if (!value.isTensorList()) return value;
  c10::List<at::Tensor> near;
  for (const at::Tensor& tensor : value.toTensorVector()) {
    CheckDevice(op, tensor);
    near.push_back(Near(tensor));
  }
  return near;
}

c10::IValue FarResult(const c10::IValue& value) {
  if (value.isTensor()) return Far(value.toTensor());
  if (!value.isTensorList()) return value;
  c10::List<at::Tensor> far;
  for (const at::Tensor& tensor : value.toTensorVector()) far.push_back(Far(tensor));
  return far;
}

// `far` gets size and values of `near`, which was computed in its place.
void TakeResult(const at::Tensor& near, const at::Tensor& far) {
  if (near.sizes() == far.sizes()) return;  // In the same memory.
  const at::Tensor result = Far(near);
  far.unsafeGetTensorImpl()->set_storage_keep_dtype(result.storage());
  far.unsafeGetTensorImpl()->set_sizes_and_strides(result.sizes(), result.strides());
}

// Any operator: by the CPU's, on the same memory.
void Compute(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& arguments = op.schema().arguments();
  const auto& returns = op.schema().returns();
  const std::size_t begin = stack->size() - arguments.size();
  const std::vector<c10::IValue> given(stack->begin() + static_cast<std::ptrdiff_t>(begin),
                                       stack->end());
  // Kept until the results were taken: what an operator writes to is returned by reference, and
  // the stack is cleared before that.
  std::vector<c10::IValue> near;
  for (std::size_t i = 0; i < given.size(); ++i) {
    near.push_back(NearArgument(op, given[i]));
    (*stack)[begin + i] = near[i];
  }
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  for (std::size_t i = 0; i < returns.size(); ++i) {
    c10::IValue& result = (*stack)[begin + i];
    const auto* const alias = returns[i].alias_info();
    if (alias == nullptr) {
      result = FarResult(result);
      continue;
    }
    TORCH_CHECK(alias->isWrite(), "far device: ", op.schema().name(), " gives a view");
    for (std::size_t k = 0; k < given.size(); ++k) {
      const auto* const written = arguments[k].alias_info();
      if (written != nullptr && *written == *alias) {
        TakeResult(result.toTensor(), given[k].toTensor());
        result = given[k];
        break;
      }
    }
  }
}

using FarGuard = c10::impl::NoOpDeviceGuardImpl<kFarType>;
C10_REGISTER_GUARD_IMPL(PrivateUse1, FarGuard);

}  // namespace

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", Empty);
  library.impl("empty_strided", EmptyStrided);
  library.impl("_copy_from", CopyFrom);
  library.impl("as_strided", at::native::as_strided_tensorimpl);
  library.impl("view", at::native::view);
  library.impl("_reshape_alias", at::native::_reshape_alias);
  library.impl("unfold", at::native::unfold);
  library.impl("convolution_overrideable", Convolution);
  library.impl("convolution_backward_overrideable", ConvolutionBackward);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&Compute>());
}

TORCH_LIBRARY_IMPL(_, AutogradPrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFallthrough());
}

bool HasFarDevice() { return true; }
at::Device FarDevice() { return {kFarType, 0}; }

#else

bool HasFarDevice() { return false; }
at::Device FarDevice() {
  DNC_ASSERT(false);
  return at::kCPU;
}

#endif

std::optional<at::Device> TestDevice() {
  const char* const given = ::getenv("DNC_TEST_DEVICE");
  const std::string name = given == nullptr ? "" : given;
  if (name.empty()) return std::nullopt;
  if (name == "far") return FarDevice();
  const auto choice = trainer::ParseDeviceChoice(name);
  DNC_ASSERT(choice.ok());
  const Result<at::Device> device = ChooseDevice(*choice, /*gpu_allowed=*/true);
  if (!device.ok()) {
    // The words by which the test program's caller knows that there is nothing to test.
    ::printf("no device to test: %s\n", device.error().message.c_str());
    ::exit(1);
  }
  PrepareDevice(*device);
  return *device;
}

namespace {

TEST(FarDeviceTest, ComputesAndKeepsItsMemoryToItself) {
  if (!HasFarDevice()) GTEST_SKIP() << "written for libtorch 1";
  const at::Tensor near = at::arange(6, at::kFloat).view({2, 3});
  const at::Tensor far = near.to(FarDevice());
  EXPECT_EQ(far.device(), FarDevice());
  EXPECT_TRUE(at::equal((far.t() * 2 + 1).to(at::kCPU), near.t() * 2 + 1));
  EXPECT_EQ(far.sum().item<float>(), 15);
  EXPECT_ANY_THROW(far + near);
  EXPECT_ANY_THROW(at::mm(far, near.t()));
  EXPECT_DEATH(::exit(far.data_ptr<float>()[0] == 0 ? 0 : 1), "");
}

TEST(FarDeviceTest, Differentiates) {
  if (!HasFarDevice()) GTEST_SKIP() << "written for libtorch 1";
  const at::Tensor leaf = at::ones({2, 3}, at::TensorOptions().device(FarDevice()));
  leaf.set_requires_grad(true);
  (leaf * leaf * 3).sum().backward();
  EXPECT_TRUE(at::equal(leaf.grad().to(at::kCPU), at::full({2, 3}, 6.0f)));
}

}  // namespace
}  // namespace dnc::trainer_torch
