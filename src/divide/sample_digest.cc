#include "divide/sample_digest.h"

#include <xxhash.h>

#include "base/assert.h"
#include "base/prng.h"

namespace dnc::divide {

struct SampleDigest::Impl {
  struct State {
    State() { DNC_ASSERT(value != nullptr && XXH3_64bits_reset(value) == XXH_OK); }
    ~State() { XXH3_freeState(value); }
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    void Update(const void* bytes, std::size_t size) { XXH3_64bits_update(value, bytes, size); }

    XXH3_state_t* value = XXH3_createState();
  };
  struct Column {
    bool is_array = true;
    State bytes;
    State lengths;  // Where samples have a length each.
  };

  explicit Impl(const std::vector<array::ColumnSpec>& specs) {
    for (const array::ColumnSpec& spec : specs) {
      columns.push_back(std::make_unique<Column>());
      columns.back()->is_array = spec.is_array();
    }
  }

  std::vector<std::unique_ptr<Column>> columns;
  std::vector<std::uint32_t> lengths;
};

SampleDigest::SampleDigest(const std::vector<array::ColumnSpec>& columns)
    : impl_(std::make_unique<Impl>(columns)) {}
SampleDigest::~SampleDigest() = default;

void SampleDigest::Add(const array::SampleBlock& block) {
  for (std::size_t c = 0; c < impl_->columns.size(); ++c) {
    Impl::Column& column = *impl_->columns[c];
    column.bytes.Update(block.columns[c].data(), block.columns[c].size());
    if (column.is_array) continue;
    impl_->lengths.clear();
    std::uint32_t begin = 0;
    for (const std::uint32_t end : block.ends[c]) {
      impl_->lengths.push_back(end - begin);
      begin = end;
    }
    column.lengths.Update(impl_->lengths.data(), impl_->lengths.size() * sizeof(std::uint32_t));
  }
}

std::uint64_t SampleDigest::Finish() {
  std::uint64_t digest = 0;
  for (const auto& column : impl_->columns) {
    for (Impl::State* state : {&column->bytes, &column->lengths}) {
      digest = DeriveSeed(digest, XXH3_64bits_digest(state->value));
      XXH3_64bits_reset(state->value);
    }
  }
  return digest;
}

}  // namespace dnc::divide
