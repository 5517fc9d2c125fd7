// The few XML messages of S3. They come from a server that nobody vouches for: the parser
// knows elements, text and the five entities, no DTD, and holds to limits.
// Source: the Amazon S3 API reference (ListObjectsV2, CreateMultipartUpload, error
// responses).

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dnc::store {

struct XmlElement {
  std::string name;  // Without its namespace's prefix.
  std::string text;  // All text directly within.
  std::vector<XmlElement> children;

  // The first child of that name; null if there is none.
  const XmlElement* Find(std::string_view child) const;
  // Its text, or an empty one.
  std::string TextOf(std::string_view child) const;
};

// Errors: kCorrupt, not well-formed, or with a DTD; kTooLarge, nested more than 16 deep or
// more than 100,000 elements.
Result<XmlElement> ParseXml(std::string_view text);

struct S3ListPage {
  std::vector<std::string> keys;  // Whole keys, the prefix included.
  std::string next_token;         // Empty: the last page.
};

// Errors: kCorrupt, not such a message, or one that says there is more but not where.
Result<S3ListPage> ParseS3ListPage(std::string_view text);

struct S3ErrorBody {
  std::string code;  // "NoSuchKey".
  std::string message;
  std::string region;  // Where the bucket lies, if it says so.
};

// nullopt: `text` is no such message.
std::optional<S3ErrorBody> ParseS3Error(std::string_view text);

// Of CreateMultipartUpload. Errors: kCorrupt.
Result<std::string> ParseS3UploadId(std::string_view text);

// The message that completes an upload of parts 1, 2, ... with these ETags.
std::string FormatS3Completion(const std::vector<std::string>& etags);

}  // namespace dnc::store
