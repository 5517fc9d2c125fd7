// What delimiter a csv has, and whether its first line names the columns: found
// from its first bytes.

#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"

namespace dnc::source {

// The delimiter that splits every record of the sample into the same number of
// fields, more than one; where several do, the rarer in other text: tab, ";", "|",
// ",". Without any, the one that gives the first record the most fields.
// `is_whole`: the sample is all there is, so that its last record is complete.
char FindDelimiter(ByteSpan sample, bool is_whole);

// Whether `first` are names and not values, judged by the records `below` it, but
// for the column `skipped` (the label, given by number; or none). A name is text
// above numbers or dates; an empty field is one in the first column, as pandas
// leaves the index unnamed. Where all is text, a first record whose fields are all
// different and appear nowhere below is taken as names.
bool LooksLikeHeader(const std::vector<std::string>& first,
                     const std::vector<std::vector<std::string>>& below, std::size_t skipped);

// The first records of the sample, those that are surely complete.
std::vector<std::vector<std::string>> SampleRecords(ByteSpan sample, bool is_whole, char delimiter);

}  // namespace dnc::source
