// The tars of WebDataset: consecutive files of one name up to its first dot are a
// sample, and the rest of the name, the extension, says which field of it they are.
//   .jpg .jpeg .png .webp  an image     .cls .id .index .count  a whole number
//   .txt .text .json       text         .npy                    an array
// Anything else is bytes. "a.b.npy" is the field "a.b", and ".npy" alone "npy".
// Every sample must have the fields of the first one; pickles (.pyd, .pickle, .pt...)
// are refused. Source: https://github.com/webdataset/webdataset, "The WebDataset Format".

#pragma once

#include <memory>
#include <string>

#include "source/input.h"
#include "source/sample_source.h"

namespace dnc::source {

inline constexpr std::size_t kTarCountMax = 1 << 20;

// One tar, perhaps compressed or from a pipe.
// Errors: kCorrupt, kUnsupported, kTooLarge, of the tar and its fields; kInvalidArgument,
// no samples, or options that do not fit.
Result<std::unique_ptr<SampleSource>> OpenTar(const Input& input, const SourceOptions& options);

// "shards-{000..009}.tar", "{a,b}.tar", or a folder with files *.tar (*.tar.gz, *.tgz,
// *.tar.zst), in the order of their names.
bool IsTarPlace(const std::string& location);
// Errors: as above; kNotFound; kInvalidArgument, a pattern that cannot be read.
Result<std::unique_ptr<SampleSource>> OpenTars(const std::string& location,
                                               const SourceOptions& options);

// Every name that a pattern with braces stands for, in order. Errors: kInvalidArgument.
Result<std::vector<std::string>> ExpandBraces(const std::string& pattern);

}  // namespace dnc::source
