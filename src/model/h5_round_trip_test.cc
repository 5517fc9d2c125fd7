// What real versions of Keras wrote is saved again as it was: the same groups,
// attributes, weights and their bytes. HDF5's own interface compares. Skipped where the
// files are not there.

#include <hdf5.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "model/h5.h"
#include "testing/testing.h"

namespace dnc::model {
namespace {

using ::dnc::test::Succeeds;

// Everything in a file, as lines of text: "path: what it is".
class Listing {
 public:
  explicit Listing(const std::string& path) {
    file_ = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    EXPECT_GE(file_, 0) << path;
    AddAttributes(file_, "/");
    H5Ovisit(file_, H5_INDEX_NAME, H5_ITER_INC, &Listing::Visit, this);
    H5Fclose(file_);
    std::sort(lines_.begin(), lines_.end());
  }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  static herr_t Visit(hid_t root, const char* name, const H5O_info_t* info, void* self) {
    if (std::string_view(name) == ".") return 0;
    // How an optimizer is saved is another matter.
    if (std::string_view(name).starts_with("optimizer_weights")) return 0;
    auto* listing = static_cast<Listing*>(self);
    const hid_t object = H5Oopen(root, name, H5P_DEFAULT);
    listing->AddAttributes(object, name);
    listing->lines_.push_back(std::string(name) + ": " +
                              (info->type == H5O_TYPE_GROUP ? "group" : Elements(object)));
    H5Oclose(object);
    return 0;
  }

  static std::string TypeText(hid_t type) {
    std::string text = "class " + std::to_string(H5Tget_class(type)) + " size " +
                       std::to_string(H5Tget_size(type));
    if (H5Tget_class(type) == H5T_STRING) {
      text += " cset " + std::to_string(H5Tget_cset(type)) + " pad " +
              std::to_string(H5Tget_strpad(type)) + " variable " +
              std::to_string(H5Tis_variable_str(type));
    }
    return text;
  }

  static std::string Extent(hid_t space) {
    std::vector<hsize_t> dimensions(32);
    const int rank = H5Sget_simple_extent_dims(space, dimensions.data(), nullptr);
    std::string text = " (";
    for (int i = 0; i < rank; ++i) text += std::to_string(dimensions[i]) + ",";
    return text + ") ";
  }

  static std::string Elements(hid_t dataset) {
    const hid_t type = H5Dget_type(dataset);
    const hid_t space = H5Dget_space(dataset);
    const std::size_t count = static_cast<std::size_t>(H5Sget_simple_extent_npoints(space));
    std::string bytes(count * H5Tget_size(type), '\0');
    EXPECT_GE(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), 0);
    std::string text = TypeText(type) + Extent(space) + bytes;
    H5Sclose(space);
    H5Tclose(type);
    return text;
  }

  void AddAttributes(hid_t object, const std::string& path) {
    H5O_info_t info;
    H5Oget_info(object, &info);
    for (hsize_t i = 0; i < info.num_attrs; ++i) {
      const hid_t attribute =
          H5Aopen_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, i, H5P_DEFAULT, H5P_DEFAULT);
      std::string name(256, '\0');
      name.resize(static_cast<std::size_t>(H5Aget_name(attribute, name.size(), name.data())));
      const hid_t type = H5Aget_type(attribute);
      const hid_t space = H5Aget_space(attribute);
      const auto count = static_cast<std::size_t>(H5Sget_simple_extent_npoints(space));
      std::string value;
      if (count > 0 && H5Tis_variable_str(type) > 0) {
        std::vector<char*> texts(count, nullptr);
        EXPECT_GE(H5Aread(attribute, type, texts.data()), 0);
        for (const char* text : texts) value += std::string(text) + "\n";
        H5Dvlen_reclaim(type, space, H5P_DEFAULT, texts.data());
      } else if (count > 0) {
        value.resize(count * H5Tget_size(type));
        EXPECT_GE(H5Aread(attribute, type, value.data()), 0);
      }
      lines_.push_back(path + " @" + name + ": " + TypeText(type) + Extent(space) + value);
      H5Sclose(space);
      H5Tclose(type);
      H5Aclose(attribute);
    }
  }

  hid_t file_ = -1;
  std::vector<std::string> lines_;
};

std::string Start(const std::string& line) { return line.substr(0, 300); }

TEST(H5RoundTripTest, WhatKerasWroteIsSavedAgainAsItWas) {
  const char* data = std::getenv("DNC_SHARED_DATA");
  const std::string root =
      std::string(data != nullptr ? data : DNC_SOURCE_DIR "/../shared/data") + "/keras/";
  const ::dnc::test::TemporaryFolder folder;
  int saved_count = 0;
  for (const char* part : {"models", "reference"}) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(root + part, error)) {
      const std::string path = entry.path().string();
      if (path.ends_with("_inputs_and_outputs.h5")) continue;
      const Result<TrainedModel> loaded = LoadH5(path);
      // What Keras 1 wrote is saved as Keras 2 does.
      if (!loaded.ok() || path.find("_keras_1_model") != std::string::npos) continue;
      SCOPED_TRACE(path);
      ASSERT_THAT(SaveH5(*loaded, folder / "saved.h5"), Succeeds());
      ++saved_count;
      const Listing original(path);
      const Listing saved(folder / "saved.h5");
      ASSERT_EQ(saved.lines().size(), original.lines().size());
      for (std::size_t i = 0; i < saved.lines().size(); ++i) {
        ASSERT_TRUE(saved.lines()[i] == original.lines()[i])
            << "saved:    " << Start(saved.lines()[i])
            << "\noriginal: " << Start(original.lines()[i]);
      }
    }
  }
  if (saved_count == 0) GTEST_SKIP() << "no files in " << root;
  EXPECT_GE(saved_count, 258);
  std::cout << "conformance: " << saved_count << " files are saved as they were\n";
}

}  // namespace
}  // namespace dnc::model
