// Samples that come field by field, each some bytes under a name, as in the tars of
// WebDataset and the shards of MDS: which columns the fields make, and how a field's
// bytes become an element.
//
// Columns are fixed by the first sample. The label becomes "y", the last one; a single
// other column, or a single image among others, becomes "x"; the rest keep their names.

#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "array/column.h"
#include "base/result.h"
#include "image/image.h"
#include "source/block_builder.h"

namespace dnc::source {

inline constexpr std::size_t kFieldCountMax = 1024;

// How the bytes of a field are read.
enum class FieldForm {
  kPlain,        // The elements of an array, or bytes.
  kText,         // UTF-8.
  kImage,        // A whole JPEG, PNG or WebP file.
  kIntegerText,  // "-12" as int64.
  kNumberText,   // "1.5e3" as float64.
  kNpy,          // A whole .npy file, in C order.
  kMdsArray,     // An MDS array that states its dtype, its shape or both.
  kMdsRawImage,  // Raw pixels behind width, height and mode, as MDS keeps PIL's images.
};

struct Field {
  std::string name;
  FieldForm form = FieldForm::kPlain;
  array::ColumnSpec column;  // Dtype and shape of arrays may follow from the first sample.
  // Of kMdsArray: whether the bytes state them.
  bool states_dtype = false;
  bool states_shape = false;
};

// Completes `field.column` by the field's bytes in the first sample.
// Errors: kCorrupt, kUnsupported, kTooLarge, bytes that are not of the form.
Status CompleteColumn(ByteSpan bytes, Field* field);

// The columns that fields make, and which field is which column.
struct FieldColumns {
  std::vector<array::ColumnSpec> columns;
  std::vector<std::size_t> field_of;  // One a column.
};

// `label` names the field of the label; empty: y, label, labels, class, cls or target, if
// it is a number or text. Errors: kInvalidArgument, no field `label`, or two columns of
// one name.
Result<FieldColumns> ArrangeColumns(const std::vector<Field>& fields, const std::string& label);

// Turns the fields of samples into elements of a block. Not thread-safe.
class FieldConverter {
 public:
  FieldConverter(std::vector<Field> fields, FieldColumns arranged);

  const std::vector<array::ColumnSpec>& columns() const { return arranged_.columns; }
  const std::vector<Field>& fields() const { return fields_; }

  // Adds a sample, whose fields have these bytes, or nothing after an error.
  // Requires: one a field, in their order.
  // Errors: kCorrupt, kUnsupported, kTooLarge, bytes that do not fit the column, which
  // is named.
  Status Add(const std::vector<ByteSpan>& bytes, BlockBuilder* block);

 private:
  Result<ByteSpan> Convert(const Field& field, ByteSpan bytes, Bytes* scratch);

  std::vector<Field> fields_;
  FieldColumns arranged_;
  std::mutex large_images_;
  image::ImageDecoder decoder_;
  std::vector<Bytes> scratch_;  // One a field; likewise:
  std::vector<ByteSpan> elements_;
};

}  // namespace dnc::source
